"""Computes how long to wait before another attempt: twice as long each time, with equal jitter.

Equal jitter means that the pause is half of the time plus a random part of the other half. So no attempt follows
immediately, and programs that lost the same Redis do not try again at the same moment.
"""

from __future__ import annotations

import random
from typing import Final

FIRST_SECONDS: Final = 0.1


class Retry:
    """Computes the pauses after failures in a row.

    Args:
        longest_seconds: The limit of a pause.

    Attributes:
        failures: How many attempts have failed since the last one that worked.
    """

    def __init__(self, longest_seconds: float) -> None:
        self.failures = 0
        self._longest = longest_seconds
        self._next = FIRST_SECONDS

    def fail(self) -> float:
        """Take note that an attempt failed. Return how many seconds to wait before the next attempt."""
        self.failures += 1
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return random.uniform(pause / 2, pause)  # noqa: S311 - not a secret

    def reset(self) -> None:
        """Take note that an attempt worked, so that the next pause is a short one."""
        self.failures = 0
        self._next = FIRST_SECONDS
