"""Asks Redis which keys are queues, and what time its clock shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import hiredis

from jobws.bullmq.keys import meta_pattern, queue_of_meta
from jobws.errors import RedisUnavailableError
from jobws.protocol.identifiers import before
from jobws.redis.commands import is_wrong_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.redis.commands import Command
    from jobws.redis.connection import Connection

SCAN_COUNT: Final = 1000
TIMEOUT_SECONDS: Final = 5.0


async def queue_names(connection: Connection, prefix: str | None) -> list[str]:
    """Return the sorted names of the queues under `prefix`. If `prefix` is None, return all, as `prefix:name`.

    Raises:
        RedisUnavailableError: Redis did not answer, or answered with an error.
    """
    names: set[str] = set()
    cursor = b"0"
    while True:
        cursor, keys = await scan(connection, cursor, prefix)
        are_there = await are_queues(connection, keys)
        for key, is_there in zip(keys, are_there, strict=True):
            if is_there and (name := queue_of_meta(key, prefix)) is not None:
                names.add(name)
        if cursor == b"0":
            return sorted(names)


async def scan(connection: Connection, cursor: bytes, prefix: str | None) -> tuple[bytes, list[bytes]]:
    """Do one step of SCAN. Return the next cursor, which is `0` at the end, and keys that may be `meta` keys of queues.

    The keys are those under `prefix`. If `prefix` is None, they are those under any prefix.

    Raises:
        RedisUnavailableError: Redis did not answer, or answered with an error.
    """
    command = ("SCAN", cursor, "MATCH", meta_pattern(prefix), "COUNT", SCAN_COUNT, "TYPE", "hash")
    reply = await connection.ask(*command, timeout_seconds=TIMEOUT_SECONDS)
    if not (isinstance(reply, list) and isinstance(reply[0], bytes) and isinstance(reply[1], list)):
        raise RedisUnavailableError(f"Redis answered SCAN with {reply!r}")
    return reply[0], [key for key in reply[1] if isinstance(key, bytes)]


async def are_queues(connection: Connection, keys: Sequence[bytes]) -> list[bool]:
    """Return for each key whether it is the `meta` key of a queue: a hash with the field `opts.maxLenEvents`.

    The key's name alone is not enough, since another key may end in `:meta`. The field `version` would not do, since it
    is missing in queues to which only BullMQ for Python or a FlowProducer adds jobs.

    Raises:
        RedisUnavailableError: Redis did not answer, or answered with an error other than WRONGTYPE.
    """
    asked: list[Command] = [("HEXISTS", key, "opts.maxLenEvents") for key in keys]
    replies = await connection.execute(*asked, timeout_seconds=TIMEOUT_SECONDS)
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError) and not is_wrong_type(reply):
            raise RedisUnavailableError(f"Redis cannot tell whether queues are there: {reply}")
    return [reply == 1 for reply in replies]


async def id_before_now(connection: Connection) -> str:
    """Return a stream id that is lower than the id of every entry that Redis adds from now on.

    Raises:
        RedisUnavailableError: Redis did not answer, or answered with an error.
    """
    reply = await connection.ask("TIME", timeout_seconds=TIMEOUT_SECONDS)
    if not (isinstance(reply, list) and all(isinstance(part, bytes) for part in reply)):
        raise RedisUnavailableError(f"Redis answered TIME with {reply!r}")
    seconds, microseconds = (int(part) for part in reply if isinstance(part, bytes))
    # Entries that Redis adds later in this same millisecond count as new, too.
    return before(f"{seconds * 1000 + microseconds // 1000}-0")
