"""Keeps a task alive: a crash is logged, counted and followed by another start; nobody else notices."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from jobws.redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONGEST_PAUSE_SECONDS: Final = 10.0
# After so long without a crash the next one counts as the first again.
HEALTHY_SECONDS: Final = 60.0

_log: Final = logging.getLogger(__name__)


class Health:
    """What is known of a supervised task.

    Attributes:
        crashes: How often it crashed.
    """

    def __init__(self) -> None:
        self.crashes = 0
        self._last = ""
        self._at = 0.0

    def note(self, problem: str, now: float) -> None:
        """Take note of a crash at `now`, in seconds on anyio's clock."""
        self.crashes += 1
        self._last = problem
        self._at = now

    def problem(self, now: float) -> str | None:
        """The last crash, until the task has been well for a minute after it; None: it is well."""
        return self._last if self.crashes and now - self._at < HEALTHY_SECONDS else None


async def supervise(name: str, run: Callable[[], Awaitable[None]], health: Health) -> None:
    """Run `run` for ever: when it crashes or returns, again after a pause, which grows (see `Retry`).

    Only cancellation ends it. `Exception` does not include it, nor a group that holds it.
    """
    retry = Retry(LONGEST_PAUSE_SECONDS)
    while True:
        started = anyio.current_time()
        try:
            await run()
            problem = "it returned, though it should run for ever"
            _log.error("%s ended: %s", name, problem)
        except Exception as error:  # noqa: BLE001 - keeping the others alive is what this is for
            problem = f"{type(error).__name__}: {error}"
            _log.exception("%s crashed and is started again", name)
        now = anyio.current_time()
        health.note(problem, now)
        if now - started >= HEALTHY_SECONDS:
            retry.reset()
        await anyio.sleep(retry.fail())
