"""How fast a stream grows, as far as that decides how it is read."""

from __future__ import annotations

from typing import Final

# A stream that keeps fewer entries than this may be trimmed between two reads, however slowly it grew until now.
LEAST_LAZY_LENGTH: Final = 1000
# A stream is read now and then only while it keeps what comes in ten seconds.
REACH_SECONDS: Final = 10
# To be woken for so few entries a second costs no more than to look several times a second.
QUIET_ENTRIES: Final = 4


class Pace:
    """Counts a stream's entries by the second. Times are seconds on a clock that never goes back."""

    __slots__ = ("_before", "_entries", "_second")

    def __init__(self) -> None:
        self._second = 0.0
        self._entries = self._before = 0

    def note(self, entries: int, now: float) -> None:
        """Take note of entries that came."""
        age = now - self._second
        if age >= 1:
            self._before = self._entries if age < 2 else 0
            self._second, self._entries = now, 0
        self._entries += entries

    def outlasts(self, max_length: int, now: float) -> bool:
        """Whether a stream of so many entries keeps so much that nothing is trimmed between two reads."""
        return max_length >= LEAST_LAZY_LENGTH and self._per_second(now) * REACH_SECONDS <= max_length

    def is_quiet(self, now: float) -> bool:
        """Whether next to nothing came lately."""
        return self._per_second(now) <= QUIET_ENTRIES

    def _per_second(self, now: float) -> int:
        """How many entries came in this second, or in the one before if that had more."""
        age = now - self._second
        return 0 if age >= 2 else max(self._entries, self._before if age < 1 else 0)
