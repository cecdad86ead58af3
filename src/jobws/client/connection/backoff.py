"""The pause before an attempt to reconnect: a random part of a time that doubles ("full jitter").

So clients that lost the same bridge do not all try at the same moment. Pure: the caller passes the random numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 5.0


class Backoff:
    """A series of pauses. `chance` returns random numbers from 0 to below 1."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._most = FIRST_SECONDS

    def next(self) -> float:
        """Return the next pause in seconds. The longest possible pause doubles with each call, up to 5 s."""
        most, self._most = self._most, min(2 * self._most, LONGEST_SECONDS)
        return self._chance() * most

    def reset(self) -> None:
        """Begin with short pauses again. Call this after an attempt has succeeded."""
        self._most = FIRST_SECONDS
