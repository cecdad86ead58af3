"""The numbers of a queue: the data of the frame `queue-stats`."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from jobws.protocol.codec import tail_of

QUEUE_STATS: Final = "queue-stats"
_encode: Final = msgspec.json.Encoder().encode


class QueueStats(Struct, rename="camel", frozen=True):
    """How many jobs a queue has in each state, how fast they end, and how many workers it has.

    `oldestWaitingSeconds` is for how long the job has been waiting that waits for longest; null if none waits.
    `completedPerMinute` and `failedPerMinute` are the ends of the last minute; null if the bridge does not know all of
    them. `workers` is null if Redis does not tell.
    """

    queue: str
    paused: bool
    counts: dict[str, int]
    oldest_waiting_seconds: float | None
    completed_per_minute: int | None
    failed_per_minute: int | None
    workers: int | None


def stats_tail(stats: QueueStats) -> bytes:
    """Return the end that all frames `queue-stats` with these numbers share; see `codec.tail_of`."""
    return tail_of(_encode(stats))
