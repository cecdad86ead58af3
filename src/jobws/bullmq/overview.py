"""What to ask about whole queues and about the server, and what the answers say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import hiredis
from msgspec import Struct

from jobws.bullmq.keys import Queue
from jobws.bullmq.stream import max_length_of
from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.protocol.identifiers import parse_stream_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.bullmq.keys import Command

# ZMSCORE, with which snapshots are read, came with Redis 6.2.
OLDEST_REDIS: Final = (6, 2)
HINT: Final = "--redis redis://:password@host:port/db"
"""Where a password goes."""
UNKNOWN_SERVER: Final = "Redis of unknown version"
_LISTS: Final = ("wait", "paused", "active")
_SETS: Final = ("delayed", "prioritized", "waiting-children", "completed", "failed")


class QueueOverview(Struct, frozen=True):
    """What Redis holds of a queue.

    `retention_seconds` is the time between the oldest and the newest entry of the stream once BullMQ trims it, and None
    while everything that was ever written is still there. `max_length` is BullMQ's limit in entries. `counts` are jobs
    by state.
    """

    found: bool
    paused: bool
    length: int
    max_length: int
    retention_seconds: float | None
    counts: dict[str, int]


class Overview(Struct, frozen=True):
    """A question to `Store.ask`: what Redis holds of `queue`."""

    queue: Queue

    def commands(self) -> list[Command]:
        """The commands whose replies `parse` reads."""
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
        ]

    def parse(self, replies: Sequence[object]) -> QueueOverview:
        """The overview from the replies to `commands`. A key of another type counts as empty.

        Raises:
            RedisUnavailableError: Redis answered with another error.
        """
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith("WRONGTYPE"):
                raise RedisUnavailableError(f"Redis cannot tell about queues now: {reply}")
        exists, meta, length, oldest, newest, *rest = replies
        sizes = [_count(reply) for reply in rest]
        # Until version 6 BullMQ moved the waiting jobs of a paused queue to a list of their own.
        waiting, held, active, *in_sets = sizes
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
        )


def _count(reply: object) -> int:
    return reply if isinstance(reply, int) else 0


def check_server(info: object, address: str) -> str:
    """The server's name and version (`Redis 7.0.15`, `Valkey 9.1.2`), from the reply to `INFO server`.

    Where an ACL refuses that command, the version is unknown and nothing is checked.

    Raises:
        RedisRefusedError: It is too old, a cluster, a Sentinel, or wants a password.
    """
    if isinstance(info, hiredis.ReplyError) and str(info).startswith("NOAUTH"):
        raise RedisRefusedError(f"Redis at {address} wants a password: {HINT}")
    if isinstance(info, hiredis.ReplyError) or not isinstance(info, bytes):
        return UNKNOWN_SERVER
    lines = dict(line.split(":", 1) for line in info.decode(errors="replace").split("\r\n") if ":" in line)
    # Valkey says `server_mode` instead of `redis_mode`, and in `redis_version` with which Redis it is compatible.
    mode = lines.get("redis_mode", lines.get("server_mode"))
    version = lines.get("redis_version", "")
    if mode == "cluster":
        raise RedisRefusedError(f"Redis at {address} is a cluster, which jobws cannot read yet; use a standalone Redis")
    if mode == "sentinel":
        raise RedisRefusedError(
            f"{address} is a Sentinel, which holds no queues: --redis redis+sentinel://host:port/master-name[/db]"
        )
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST_REDIS:
        raise RedisRefusedError(f"Redis {version} at {address} is too old; jobws needs 6.2 or newer")
    if "valkey_version" in lines:
        return f"Valkey {lines['valkey_version']}"
    return f"Redis {version}" if version else UNKNOWN_SERVER


def _seconds_between(oldest: object, newest: object) -> float | None:
    times = [
        parsed[0]
        for entries in (oldest, newest)
        if isinstance(entries, list) and entries and (parsed := parse_stream_id(entries[0][0].decode())) is not None
    ]
    return (times[1] - times[0]) / 1000 if len(times) == 2 else None
