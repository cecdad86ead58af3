"""Limits how many lines of one kind are in the log, where requests of anyone cause them.

Otherwise anyone could fill the log, and push the lines of others out of its stream.
"""

from __future__ import annotations

from jobws.server.websocket.rate_limit import TokenBucket


class FewLines:
    """Says whether one more line may be in the log. The caller passes the time, in seconds of a clock like `now`.

    Args:
        per_minute: How many lines there may be together, and after that in each minute.
        now: The time, on a clock that never goes back.
    """

    def __init__(self, per_minute: int, now: float) -> None:
        self._bucket = TokenBucket(per_minute, per_minute / 60, now)

    def may_log(self, now: float) -> bool:
        """Return whether there may be one more line now. If so, count it."""
        return self._bucket.take_if_free(now) == 0
