"""Measures how fast a stream grows. The rate decides whether it is read with XREAD BLOCK or only now and then."""

from __future__ import annotations

from typing import Final

# A stream that keeps fewer entries may be trimmed between two reads, however slowly it grew before.
LEAST_LAZY_LENGTH: Final = 1000
# A stream is read now and then only if it keeps its entries for at least ten seconds, at the present rate.
REACH_SECONDS: Final = 10
# Entries a second. Up to this rate, being woken for each entry costs no more than reading several times a second.
QUIET_ENTRIES: Final = 4


class Pace:
    """Counts the new entries of one stream or several by the second. Times are in seconds on anyio's clock."""

    __slots__ = ("_before", "_entries", "_second")

    def __init__(self) -> None:
        self._second = 0.0
        self._entries = self._before = 0

    def note(self, entries: int, now: float) -> None:
        """Take note that so many new entries were read at the time `now`."""
        age = now - self._second
        if age >= 1:
            self._before = self._entries if age < 2 else 0
            self._second, self._entries = now, 0
        self._entries += entries

    def outlasts(self, max_length: int, now: float) -> bool:
        """Whether a stream that keeps `max_length` entries can be read only now and then without a loss.

        It can if it keeps at least 1,000 entries, and those of ten seconds at the present rate.
        """
        return max_length >= LEAST_LAZY_LENGTH and self._per_second(now) * REACH_SECONDS <= max_length

    def is_quiet(self, now: float) -> bool:
        """Whether at most `QUIET_ENTRIES` entries came in this second, and no more than that in the one before."""
        return self._per_second(now) <= QUIET_ENTRIES

    def _per_second(self, now: float) -> int:
        """Return how many entries came in this second or in the one before, whichever had more."""
        age = now - self._second
        return 0 if age >= 2 else max(self._entries, self._before if age < 1 else 0)
