"""A token bucket: limits how much may come together, and how fast more may follow."""

from __future__ import annotations

from math import inf


class TokenBucket:
    """Allows `burst` messages together, and after that `per_second` messages a second.

    The caller passes the time, in seconds of a clock that never goes back. Nobody is told to wait for more than
    `most_seconds`: what would need longer is not counted.
    """

    __slots__ = ("_burst", "_least", "_per_second", "_tokens", "_updated")

    def __init__(self, burst: int, per_second: float, now: float, most_seconds: float = inf) -> None:
        self._burst = burst
        self._least = -most_seconds * per_second
        self._per_second = per_second
        self._tokens = float(burst)
        self._updated = now

    def take(self, now: float, tokens: float = 1) -> float:
        """Take `tokens` for one message. Return how many seconds to wait before the next message is read."""
        free = min(self._burst, self._tokens + (now - self._updated) * self._per_second)
        self._tokens = max(free - tokens, self._least)
        self._updated = now
        return max(0.0, -self._tokens / self._per_second)

    def take_if_free(self, now: float) -> float:
        """Take one token if it is there. Return 0, or how many seconds to wait for it; then nothing was taken."""
        wait = self.take(now)
        if wait:
            self._tokens += 1
        return wait
