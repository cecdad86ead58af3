"""Fetches the key set of `--jwks-url`: at the start, every few minutes, and when a token names a key that it lacks.

Only one task fetches. So if a request ends early, the other requests that wait for the same key still get it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from jobws.errors import ConfigurationError
from jobws.server.auto_reset_event import AutoResetEvent
from jobws.server.outbound import ExchangeError, check_url, exchange, too_slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.server.intervals import Intervals


class RemoteKeySet:
    """A key set behind a URL.

    Args:
        url: The URL.
        take: `run` calls it after each fetch, with the body of the answer, or with the error that prevented it.
        intervals: How often to fetch, and how long a fetch may take.

    Raises:
        ConfigurationError: The URL is neither https nor http of loopback.
    """

    def __init__(self, url: str, take: Callable[[bytes | ConfigurationError], None], intervals: Intervals) -> None:
        check_url("--jwks-url", url)
        self._url = url
        self._take = take
        self._intervals = intervals
        self._wanted = AutoResetEvent()
        self._fetched = anyio.Event()
        self._is_fetching = False
        self._begun = time.monotonic()

    def fetch(self) -> bytes | ConfigurationError:
        """Return the body of the server's answer, or an error that says why there is none. This blocks the thread."""
        try:
            answer = exchange("GET", self._url, self._intervals.fetch_seconds, headers={"Accept": "application/json"})
        except ExchangeError as error:
            return self._failure(error)
        if answer.status != 200:
            return self._failure(ExchangeError(f"the answer has status {answer.status}"))
        return answer.body

    async def run(self) -> None:
        """Fetch the set again and again, until cancelled."""
        # A thread that hangs longer than its fetch holds up the next fetch, so there is never more than one.
        one = anyio.CapacityLimiter(1)
        pause = self._intervals.jwks_seconds
        while True:
            with anyio.move_on_after(pause):
                await self._wanted.wait()
            self._begun, self._is_fetching = time.monotonic(), True
            try:
                content = await self._fetch(one)
                self._take(content)
            finally:
                self._is_fetching = False
                self._fetched.set()
                self._fetched = anyio.Event()
            failed = isinstance(content, ConfigurationError)
            pause = self._intervals.jwks_again_seconds if failed else self._intervals.jwks_seconds

    async def renew(self) -> bool:
        """Have the set fetched, and wait until the fetch has ended, for `fetch_seconds` at most.

        Returns:
            True if a fetch has ended meanwhile, also if it failed. False if it takes longer, or if there was none,
            since the last one began less than `jwks_again_seconds` ago.
        """
        fetched = self._fetched
        if not self._is_fetching:
            if time.monotonic() - self._begun < self._intervals.jwks_again_seconds:
                return False
            self._wanted.set()
        with anyio.move_on_after(self._intervals.fetch_seconds) as waiting:
            await fetched.wait()
        return not waiting.cancelled_caught

    async def _fetch(self, limiter: anyio.CapacityLimiter) -> bytes | ConfigurationError:
        try:
            with anyio.fail_after(self._intervals.fetch_seconds):
                return await anyio.to_thread.run_sync(self.fetch, abandon_on_cancel=True, limiter=limiter)
        except TimeoutError:
            return self._failure(too_slow(self._intervals.fetch_seconds))

    def _failure(self, error: ExchangeError) -> ConfigurationError:
        return ConfigurationError(f"cannot fetch {self._url}: {error}")
