"""Counts how many jobs of one queue completed and failed in the last minute.

The time is that of Redis, from the stream ids. So the counts are right also after a restart of the bridge, if the
stream reaches back for a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from jobws.protocol.identifiers import position

if TYPE_CHECKING:
    from jobws.bullmq.events import Kind

MINUTE_SECONDS: Final = 60


class Ends(NamedTuple):
    """How many jobs ended within a minute."""

    completed: int
    failed: int


class EndsPerMinute:
    """The ends of jobs of the last minute, by second. `reach_to` says from when on all of them are here."""

    __slots__ = ("_completed", "_failed", "_since")

    def __init__(self) -> None:
        # By second since 1970, in ascending order: how many jobs ended. A second may be in one of them only. It is
        # digits, as in stream ids: an event takes 0.46 µs in the history, and with numbers 0.55 µs.
        self._completed: dict[bytes, int] = {}
        self._failed: dict[bytes, int] = {}
        # The ends after this time, in milliseconds since 1970, are here. None: not known yet.
        self._since: int | None = None

    def add(self, stream_id: bytes, kind: Kind) -> None:
        """Count an event `completed` or `failed`. Its stream id must be higher than those of all before."""
        ends = self._completed if kind.name.text == "completed" else self._failed
        second = stream_id.partition(b"-")[0][:-3]
        if second in ends:
            ends[second] += 1
            return
        ends[second] = 1
        if len(ends) > MINUTE_SECONDS + 1:
            del ends[next(iter(ends))]

    def reach_to(self, floor: str) -> None:
        """Note that all ends after the stream id `floor` were added."""
        self._since = max(self._since or 0, position(floor)[0])

    def until(self, now_milliseconds: int) -> Ends | None:
        """Return how many jobs ended in the minute before this time since 1970, on Redis's clock.

        None means that not all of them are known, since the stream did not reach back for a minute when it was read.
        """
        if self._since is None or self._since > now_milliseconds - MINUTE_SECONDS * 1000:
            return None
        first = now_milliseconds // 1000 - MINUTE_SECONDS + 1
        both = self._completed, self._failed
        return Ends(*(sum(n for second, n in ends.items() if int(second or b"0") >= first) for ends in both))
