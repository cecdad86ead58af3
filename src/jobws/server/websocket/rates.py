"""How much each payer may send, and how fast: the holder of a token, or without keys an address."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from jobws.errors import RateLimitedError
from jobws.server.websocket.rate_limit import TokenBucket

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Hashable

    from jobws.server.settings import Settings

MAX_PAYERS: Final = 10_000
SECONDS: Final = 60.0
# For `Pace`, an HTTP request or a handshake counts as so many messages. A message with one job takes 0.17 ms of CPU, a
# handshake 0.5 ms, and an HTTP request up to 0.9 ms.
REQUEST_COST: Final = 3
# A 429 for a refused token counts as so many messages of its own kind: each address gets 10 a second, or waits.
GUESS_COST: Final = 60
# So many bytes count as one more message, since 4 KiB of JSON take up to 0.25 ms.
BYTES_PER_MESSAGE: Final = 2 * 1024
# So many items of a list count as one more message: each takes a fifth of what a message with one job takes.
ITEMS_PER_MESSAGE: Final = 5
# A payer may send what it may send in this time together. Meanwhile job events for others are late.
BURST_SECONDS: Final = 0.1
# Nobody waits for longer. Clients give up after 10 s, and come back.
MOST_SECONDS: Final = 5.0


class _Buckets:
    """The token buckets of the payers that were charged last. The arguments are those of each `TokenBucket`."""

    def __init__(self, burst: int, per_second: float, most_seconds: float = inf) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most_seconds = most_seconds
        # The payer that was charged last is at the end.
        self._by_payer: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def of(self, payer: Hashable, now: float) -> TokenBucket:
        bucket = self._by_payer.get(payer)
        if bucket is None:
            bucket = self._by_payer[payer] = TokenBucket(self._burst, self._per_second, now, self._most_seconds)
            if len(self._by_payer) > MAX_PAYERS:
                self._by_payer.popitem(last=False)
        else:
            self._by_payer.move_to_end(payer)
        return bucket


class Rate:
    """Limits how much of one thing each payer may send a minute.

    Args:
        setting: The name of the setting that has the limit.
        limit: How many things a payer may send in one burst, and after that in each minute.
        things: What the things are, for the error message, for instance `bytes of bodies`.
        limited: Counts, by the name of the setting, what was refused.
    """

    def __init__(self, setting: str, limit: int, things: str, limited: Counter[str]) -> None:
        self._setting = setting
        self._limit = limit
        self._things = things
        self._limited = limited
        self._buckets = _Buckets(limit, limit / SECONDS)

    def charge(self, payer: Hashable, amount: int, now: float) -> None:
        """Charge a payer, or raise an error and charge nothing.

        A payer is refused only if nothing of the limit is left. So `amount` may be more than what is left, and more
        than the limit. The payer is then refused for longer afterwards.

        Args:
            payer: The payer (see `payer_of`). None is not limited.
            amount: How many of the things that are limited the payer sends.
            now: Seconds on a clock that never goes back.

        Raises:
            RateLimitedError: The payer has sent too much.
        """
        if payer is None:
            return
        bucket = self._buckets.of(payer, now)
        if wait := bucket.take_if_free(now):
            self._limited[self._setting] += 1
            limit = f"there may be {self._limit} {self._things} a minute by one holder or address ({self._setting})"
            raise RateLimitedError(limit, wait)
        bucket.take(now, amount - 1)


class Pace:
    """Slows each payer down, so that what it asks for takes a part of the bridge's time, over however many connections.

    Args:
        per_second: How many messages a payer may send a second. HTTP requests and handshakes count as several.
        limited: Counts, by the name of the setting, how often somebody must wait.
    """

    def __init__(self, per_second: int, limited: Counter[str]) -> None:
        self._limited = limited
        self._buckets = _Buckets(max(1, round(per_second * BURST_SECONDS)), per_second, MOST_SECONDS)

    def charge(self, payer: Hashable, cost: float, now: float) -> float:
        """Charge a payer for `cost` messages. Return how many seconds must pass before more is taken from it.

        These are at most MOST_SECONDS. The payer None is not slowed down. `now` is seconds on a clock that never goes
        back.
        """
        wait = 0.0 if payer is None else self._buckets.of(payer, now).take(now, cost)
        if wait:
            self._limited["requests_per_second"] += 1
        return wait

    async def slow_down(self, payer: Hashable, cost: float) -> None:
        """Charge a payer for `cost` messages, and wait until more may be taken from it."""
        if wait := self.charge(payer, cost, anyio.current_time()):
            await anyio.sleep(wait)


class Rates(NamedTuple):
    """What each payer may send, and how fast."""

    pace: Pace
    requests: Rate
    post_bytes: Rate
    log_lines: Rate


def rates_of(settings: Settings, limited: Counter[str]) -> Rates:
    """Return the rates of the settings. `limited` counts, by the name of the setting, what was refused or must wait."""
    return Rates(
        Pace(settings.requests_per_second, limited),
        Rate("requests_per_minute", settings.requests_per_minute, "requests", limited),
        Rate("post_bytes_per_minute", settings.post_bytes_per_minute, "bytes of bodies", limited),
        Rate("log_lines_per_minute", settings.log_lines_per_minute, "lines of POST /logs", limited),
    )
