"""Reads back what a stream held before a listener came: which events each job had, not what they held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from jobws.bullmq.events import field, kind_of
from jobws.protocol.identifiers import before

if TYPE_CHECKING:
    from jobws.bullmq.connect import Connection
    from jobws.bullmq.events import Entry, Past
    from jobws.bullmq.tail import Tail

READ_TIMEOUT_SECONDS: Final = 5.0
# Entries hold whole results: the count adapts so that one reply stays near this size.
REPLY_BYTES: Final = 8 * 1024 * 1024
# Nothing is known of their size yet; they may be of megabytes.
FIRST_COUNT: Final = 10
MAX_COUNT: Final = 10_000


async def read_back(connection: Connection, tail: Tail, cursor: str, limit: int) -> tuple[list[Past], str | None]:
    """The newest `limit` entries of a stream up to `cursor`, newest first.

    With them the id up to which older ones were left out; None: that is all that there is. `tail.read` becomes the
    entry at the cursor. Cancelling closes the connection.

    Raises:
        RedisUnavailableError: Redis did not answer.
    """
    found: list[Past] = []
    end, count, left = cursor, FIRST_COUNT, limit
    while left:
        count = min(count, left)
        received = connection.received_bytes
        command = ("XREVRANGE", tail.key, end, "-", "COUNT", count)
        entries = cast("list[Entry]", await connection.ask(*command, timeout_seconds=READ_TIMEOUT_SECONDS))
        if end == cursor and entries and entries[0][0] == cursor.encode():
            tail.read = entries[0]
        for stream_id, fields in entries:
            job_id, kind = field(fields, b"jobId"), kind_of(fields)
            if job_id is not None and kind is not None:
                found.append((stream_id, job_id, kind))
        if len(entries) < count:
            return found, None
        left -= count
        end = f"({entries[-1][0].decode()}"
        fitting = REPLY_BYTES * count // max(connection.received_bytes - received, 1)
        count = max(1, min(MAX_COUNT, fitting, count * 8))
    return found, before(end[1:])
