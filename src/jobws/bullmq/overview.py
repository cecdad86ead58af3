"""Builds the commands that read the state of a whole queue, and parses the replies. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import hiredis
from msgspec import Struct

from jobws.bullmq.keys import Queue
from jobws.bullmq.lost_entries import max_length_of
from jobws.errors import RedisUnavailableError
from jobws.protocol.identifiers import parse_stream_id
from jobws.redis.commands import is_wrong_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.redis.commands import Command

_LISTS: Final = ("wait", "paused", "active")
_SETS: Final = ("delayed", "prioritized", "waiting-children", "completed", "failed")
# Of so many jobs that workers take next, the age is looked at. Those that BullMQ puts back, when their worker was
# lost, are taken before those that have been waiting for longer.
NEXT: Final = 32


class QueueOverview(Struct, frozen=True):
    """What Redis holds of a queue.

    Attributes:
        found: Whether Redis has the queue's key `meta` or its key `events`.
        paused: Whether the queue is paused.
        length: How many entries its event stream holds.
        max_length: About how many entries BullMQ keeps in the stream.
        retention_seconds: How long the stream keeps an entry: the time between its oldest and its newest entry. None
            means that the stream is shorter than its limit, so that BullMQ has probably not trimmed it yet.
        counts: How many jobs are in each state.
        ends_of_wait: The ids of the waiting and the prioritized jobs that workers take next, `NEXT` of each, and of the
            waiting job that they take last. One of them has been waiting for longest, unless more jobs were put back,
            or there are several priorities.
        now_milliseconds: The time in Redis, since 1970.
    """

    found: bool
    paused: bool
    length: int
    max_length: int
    retention_seconds: float | None
    counts: dict[str, int]
    ends_of_wait: list[bytes]
    now_milliseconds: int


class Overview(Struct, frozen=True):
    """A query to Redis for the state of a whole queue."""

    queue: Queue

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        key = self.queue.key
        events = key("events")
        return [
            ("EXISTS", key("meta"), events),
            ("HMGET", key("meta"), "paused", "opts.maxLenEvents"),
            ("XLEN", events),
            ("XRANGE", events, "-", "+", "COUNT", 1),
            ("XREVRANGE", events, "+", "-", "COUNT", 1),
            *(("LLEN", key(name)) for name in _LISTS),
            *(("ZCARD", key(name)) for name in _SETS),
            ("LRANGE", key("wait"), 0, 0),
            ("LRANGE", key("wait"), -NEXT, -1),
            ("LRANGE", key("paused"), 0, 0),
            ("LRANGE", key("paused"), -NEXT, -1),
            ("ZRANGE", key("prioritized"), 0, NEXT - 1),
            ("TIME",),
        ]

    def parse(self, replies: Sequence[object]) -> QueueOverview:
        """Return the overview. A key of another type counts as empty.

        Raises:
            RedisUnavailableError: Redis answered with an error other than WRONGTYPE.
        """
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError) and not is_wrong_type(reply):
                raise RedisUnavailableError(f"Redis cannot tell about queues now: {reply}")
        exists, meta, length, oldest, newest, *rest, time = replies
        ends = [reply for reply in rest if isinstance(reply, list)]
        # Before version 6, BullMQ moved the waiting jobs of a paused queue to a separate list.
        waiting, held, active, *in_sets = (_count(reply) for reply in rest[: len(_LISTS) + len(_SETS)])
        paused, limit = meta if isinstance(meta, list) else (None, None)
        entries = _count(length)
        max_length = max_length_of(limit)
        # Trimming is approximate and drops whole nodes of 100 entries, so a stream near its limit has been trimmed.
        trimmed = entries > 0 and entries >= max_length - 100
        return QueueOverview(
            found=_count(exists) > 0,
            paused=paused is not None,
            length=entries,
            max_length=max_length,
            retention_seconds=_seconds_between(oldest, newest) if trimmed else None,
            counts={"waiting": waiting + held, "active": active, **dict(zip(_SETS, in_sets, strict=True))},
            ends_of_wait=list(dict.fromkeys(job_id for reply in ends for job_id in reply)),
            now_milliseconds=int(time[0]) * 1000 + int(time[1]) // 1000 if isinstance(time, list) else 0,
        )


def _count(reply: object) -> int:
    return reply if isinstance(reply, int) else 0


def _seconds_between(oldest: object, newest: object) -> float | None:
    times = [
        parsed[0]
        for entries in (oldest, newest)
        if isinstance(entries, list) and entries and (parsed := parse_stream_id(entries[0][0].decode())) is not None
    ]
    return (times[1] - times[0]) / 1000 if len(times) == 2 else None
