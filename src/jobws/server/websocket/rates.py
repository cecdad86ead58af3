"""How much each payer may send a minute, over all connections: the holder of a token, or without keys an address."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from jobws.errors import RateLimitedError
from jobws.server.websocket.rate_limit import TokenBucket

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Hashable

    from jobws.server.settings import Settings

MAX_PAYERS: Final = 10_000
SECONDS: Final = 60.0


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
        # The payer that was charged last is at the end.
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

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
        bucket = self._buckets.get(payer)
        if bucket is None:
            bucket = self._buckets[payer] = TokenBucket(self._limit, self._limit / SECONDS, now)
            if len(self._buckets) > MAX_PAYERS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(payer)
        if wait := bucket.take_if_free(now):
            self._limited[self._setting] += 1
            limit = f"there may be {self._limit} {self._things} a minute by one holder or address ({self._setting})"
            raise RateLimitedError(limit, wait)
        bucket.take(now, amount - 1)


class Rates(NamedTuple):
    """What each payer may send a minute."""

    requests: Rate
    post_bytes: Rate
    log_lines: Rate


def rates_of(settings: Settings, limited: Counter[str]) -> Rates:
    """Return the rates of the settings. `limited` counts, by the name of the setting, what was refused."""
    return Rates(
        Rate("requests_per_minute", settings.requests_per_minute, "requests", limited),
        Rate("post_bytes_per_minute", settings.post_bytes_per_minute, "bytes of bodies", limited),
        Rate("log_lines_per_minute", settings.log_lines_per_minute, "lines of POST /logs", limited),
    )
