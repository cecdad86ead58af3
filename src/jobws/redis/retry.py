"""How long to wait before another attempt: twice as long each time, with equal jitter.

Equal jitter is half of the time and a random part of the other half: nobody knocks again immediately, and those who
lost the same Redis do not knock in step.
"""

from __future__ import annotations

import random
from typing import Final

FIRST_SECONDS: Final = 0.1


class Retry:
    """The pauses after failures that follow each other.

    Args:
        longest_seconds: No pause is longer.

    Attributes:
        failures: How many attempts failed since the last that worked.
    """

    def __init__(self, longest_seconds: float) -> None:
        self.failures = 0
        self._longest = longest_seconds
        self._next = FIRST_SECONDS

    def fail(self) -> float:
        """An attempt failed: the seconds until the next one."""
        self.failures += 1
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return random.uniform(pause / 2, pause)  # noqa: S311 - not a secret

    def reset(self) -> None:
        """An attempt worked: the next pause is a short one again."""
        self.failures = 0
        self._next = FIRST_SECONDS
