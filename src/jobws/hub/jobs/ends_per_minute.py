"""Counts how many jobs of one queue completed and failed in the last minute.

The time is that of Redis, from the stream ids. So the counts are right also after a restart of the bridge, if the
stream reaches back for a minute.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from jobws.protocol.identifiers import position

if TYPE_CHECKING:
    from jobws.bullmq.events import Kind

MINUTE_SECONDS: Final = 60
COUNTED_TOGETHER: Final = 1024


class Ends(NamedTuple):
    """How many jobs ended within a minute."""

    completed: int
    failed: int


class EndsPerMinute:
    """The ends of jobs of the last minute, by second.

    Call `reach_to` to say from which time on all of them were added. Before that, `until` returns None.
    """

    __slots__ = ("_completed", "_failed", "_since")

    def __init__(self) -> None:
        self._completed = _Counts()
        self._failed = _Counts()
        # The ends after this time, in milliseconds since 1970, are here. None: not known yet.
        self._since: int | None = None

    def add(self, stream_id: bytes, kind: Kind) -> None:
        """Count an event `completed` or `failed`. Its stream id must be higher than those of all before."""
        counts = self._completed if kind.name.text == "completed" else self._failed
        new = counts.new
        new.append(stream_id)
        if len(new) == COUNTED_TOGETHER:
            counts.count()

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
        return Ends(self._completed.since(first), self._failed.since(first))


class _Counts:
    """How many events there were in each second.

    Attributes:
        new: The stream ids of events that are not counted yet, in ascending order. They are counted together, since
            counting them one by one takes ten times as long.
    """

    __slots__ = ("_by_second", "new")

    def __init__(self) -> None:
        self.new: list[bytes] = []
        # By second since 1970, in ascending order. The last minute is here, and perhaps older seconds.
        self._by_second: dict[int, int] = {}

    def count(self) -> None:
        """Count the new events, and forget seconds that are older than a minute."""
        by_second, first = self._by_second, 0
        while first < len(self.new):
            second = _second(self.new[first])
            end = bisect_right(self.new, second, first, key=_second)
            by_second[second] = by_second.get(second, 0) + end - first
            first = end
        self.new.clear()
        while len(by_second) > MINUTE_SECONDS + 1:
            del by_second[next(iter(by_second))]

    def since(self, first: int) -> int:
        """Return how many events there were in the second `first` since 1970, and later. New ones are counted, too."""
        self.count()
        return sum(count for second, count in self._by_second.items() if second >= first)


def _second(stream_id: bytes) -> int:
    return position(stream_id)[0] // 1000
