"""Counts the tokens of each address that are refused, so that nobody guesses tokens at speed."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_ADDRESSES: Final = 10_000
WINDOW_SECONDS: Final = 60.0


class FailedAuths:
    """How often tokens of an address were refused within its minute, which begins with the first of them.

    Args:
        limit: How many of them may be refused.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # By address, when the minute began and how many were refused since; the oldest minute first.
        self._minutes: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def note(self, address: str | None, now: float) -> float:
        """Note a refused token.

        Args:
            address: Where it came from; None if that is not limited.
            now: The time in seconds, of a clock that never goes back.

        Returns:
            How many seconds the address must wait, or 0 if it has not reached the limit.
        """
        if address is None:
            return 0.0
        began, count = self._minutes.get(address, (now, 0))
        if now - began >= WINDOW_SECONDS:
            del self._minutes[address]
            began, count = now, 0
        self._minutes[address] = began, count + 1
        if len(self._minutes) > MAX_ADDRESSES:
            self._minutes.popitem(last=False)
        return began + WINDOW_SECONDS - now if count >= self._limit else 0.0
