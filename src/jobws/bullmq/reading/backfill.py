"""Reads the entries that streams held before a reader began to read them.

Of each event, only the stream id, the job id and the kind are kept, not the payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from jobws.bullmq.events import field, kind_of
from jobws.errors import RedisUnavailableError
from jobws.redis.batch_size import batch_size
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.bullmq.events import HistoryEntry
    from jobws.bullmq.reading.read_state import ReadState
    from jobws.redis.commands import Entry
    from jobws.redis.connection import Connection

READ_TIMEOUT_SECONDS: Final = 5.0
# The wanted size of one round trip. Entries contain whole results, so the number of entries to ask for adapts.
REPLY_BYTES: Final = 8 * 1024 * 1024
# How many entries of all streams together to ask for at first, when their size is unknown: each may have megabytes.
FIRST_COUNT: Final = 10
MAX_COUNT: Final = 10_000


class Backfill:
    """The newest entries of one stream up to the id `cursor`, at most `limit` of them.

    Attributes:
        found: The events, newest first.
        entries: How many entries were read, including those without an event.
        newest: The newest entry up to the cursor; None if no entry was read.
        oldest: The id of the oldest entry that was read; None if no entry was read.
        is_whole: Whether the stream holds no entry that is older than those that were read.
        is_complete: Whether reading is over: `is_whole` is true, or `limit` entries were read.
    """

    def __init__(self, stream: ReadState, cursor: str, limit: int) -> None:
        self.found: list[HistoryEntry] = []
        self.entries = 0
        self.newest: Entry | None = None
        self.oldest: str | None = None
        self.is_whole = False
        self.is_complete = False
        self._key = stream.key
        self._end = cursor
        self._left = limit

    def command(self, count: int) -> tuple[str | bytes | int, ...]:
        """Return the command that reads the next older entries, at most `count`. Call it only until `is_complete`.

        Give the reply to `take`, with the same `count`. Until then, a further call has the same entries read again.
        """
        return ("XREVRANGE", self._key, self._end, "-", "COUNT", min(count, self._left))

    def take(self, entries: Sequence[Entry], count: int) -> None:
        """Add the entries that Redis returned for `command(count)`, and update all attributes.

        The newest entry is the first of `entries`, as XREVRANGE returns them.
        """
        if entries:
            self.newest = self.newest or entries[0]
            self.oldest = entries[-1][0].decode()
            self._end = f"({self.oldest}"
        for stream_id, fields in entries:
            kind = kind_of(fields)
            if kind is not None:
                self.found.append((stream_id, field(fields, b"jobId"), kind))
        self.entries += len(entries)
        self.is_whole = len(entries) < min(count, self._left)
        self._left -= len(entries)
        self.is_complete = self.is_whole or not self._left


async def read_back(
    connection: Connection, streams: Sequence[ReadState], cursors: Sequence[str], limits: Sequence[int]
) -> list[Backfill]:
    """Read, of each stream, the last entries that are not newer than its cursor, at most as many as its limit.

    Cancelling closes the connection.

    Raises:
        RedisUnavailableError: Redis did not answer.
    """
    backfills = [Backfill(*each) for each in zip(streams, cursors, limits, strict=True)]
    unread = backfills
    count = max(1, FIRST_COUNT // len(backfills))
    turn = Turn()
    while unread:
        received = connection.received_bytes
        replies = await connection.execute(
            *(backfill.command(count) for backfill in unread), timeout_seconds=READ_TIMEOUT_SECONDS
        )
        for backfill, reply in zip(unread, replies, strict=True):
            if not isinstance(reply, list):
                raise RedisUnavailableError(f"Redis cannot read streams now: {reply!r}")
            await turn.pause()
            backfill.take(cast("list[Entry]", reply), count)
        unread = [backfill for backfill in unread if not backfill.is_complete]
        entries = sum(len(reply) for reply in replies if isinstance(reply, list))
        each = REPLY_BYTES // max(len(unread), 1)
        size = connection.received_bytes - received
        count = batch_size(entries, size, wanted_bytes=each, most=min(MAX_COUNT, count * 8))
    return backfills
