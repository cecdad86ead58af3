"""What to ask about whole queues and about the server, and what the answers say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import hiredis
from msgspec import Struct

from jobws.errors import RedisRefusedError
from jobws.protocol.identifiers import parse_stream_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.bullmq.keys import Command, Queue

# ZMSCORE, with which snapshots are read, came with Redis 6.2.
OLDEST_REDIS: Final = (6, 2)
# BullMQ's own default (src/classes/queue.ts, metaValues), which applies until a script has written the field.
DEFAULT_MAX_LENGTH: Final = 10_000


class QueueOverview(Struct, frozen=True):
    """A queue's stream.

    `retention_seconds` is the time between the oldest and the newest entry once BullMQ trims the stream, and None
    while everything that was ever written is still there. `max_length` is BullMQ's limit in entries.
    """

    found: bool
    length: int
    max_length: int
    retention_seconds: float | None


def commands(queue: Queue) -> list[Command]:
    """The commands whose replies `parse` reads."""
    events = queue.key("events")
    return [
        ("EXISTS", queue.key("meta"), events),
        ("XLEN", events),
        ("HGET", queue.key("meta"), "opts.maxLenEvents"),
        ("XRANGE", events, "-", "+", "COUNT", 1),
        ("XREVRANGE", events, "+", "-", "COUNT", 1),
    ]


def parse(replies: Sequence[object]) -> QueueOverview:
    """The overview of one queue from the replies to `commands`."""
    exists, length, limit, oldest, newest = replies
    entries = length if isinstance(length, int) else 0
    max_length = int(limit) if isinstance(limit, bytes) and limit.isdigit() else DEFAULT_MAX_LENGTH
    # Trimming is approximate and drops whole nodes of 100 entries, so a stream near its limit has been trimmed.
    trimmed = entries > 0 and entries >= max_length - 100
    return QueueOverview(
        found=isinstance(exists, int) and exists > 0,
        length=entries,
        max_length=max_length,
        retention_seconds=_seconds_between(oldest, newest) if trimmed else None,
    )


def check_server(info: object, address: str) -> str:
    """The server's version from the reply to `INFO server`, which an ACL may refuse (then: `unknown version`).

    Raises:
        RedisRefusedError: It is too old, a cluster, or wants a password.
    """
    if isinstance(info, hiredis.ReplyError) and str(info).startswith("NOAUTH"):
        raise wants_password(address)
    if isinstance(info, hiredis.ReplyError) or not isinstance(info, bytes):
        return "unknown version"
    lines = dict(line.split(":", 1) for line in info.decode(errors="replace").split("\r\n") if ":" in line)
    version = lines.get("redis_version", "")
    if lines.get("redis_mode") == "cluster":
        raise RedisRefusedError(f"Redis at {address} is a cluster, which jobws cannot read yet; use a standalone Redis")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST_REDIS:
        raise RedisRefusedError(f"Redis {version} at {address} is too old; jobws needs 6.2 or newer")
    return version or "unknown version"


def wants_password(address: str) -> RedisRefusedError:
    """What to say when Redis wants a password and got none."""
    return RedisRefusedError(f"Redis at {address} wants a password: --redis redis://:password@host:port/db")


def _seconds_between(oldest: object, newest: object) -> float | None:
    times = [
        parsed[0]
        for entries in (oldest, newest)
        if isinstance(entries, list) and entries and (parsed := parse_stream_id(entries[0][0].decode())) is not None
    ]
    return (times[1] - times[0]) / 1000 if len(times) == 2 else None
