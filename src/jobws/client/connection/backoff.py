"""How long to wait before trying again: a random part of a time that doubles ("full jitter").

Many clients that lost the same bridge come back spread over that time, not all together. Pure: chance comes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 5.0


class Backoff:
    """Waits, one after the other. `chance` gives numbers from 0 to below 1."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._most = FIRST_SECONDS

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        most, self._most = self._most, min(2 * self._most, LONGEST_SECONDS)
        return self._chance() * most

    def reset(self) -> None:
        """An attempt worked: the next wait is a short one again."""
        self._most = FIRST_SECONDS
