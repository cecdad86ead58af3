"""Whether a stream is still the one that was read, and all of it: what to ask Redis, and what the answer means. Pure.

Trimming, deletion and a restart without data are silent: XREAD goes on after the cursor, or waits for ever. So the
number of entries ever added (`entries-added`, Redis 7) is compared with what was read; older servers are asked whether
the entry at the cursor is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import hiredis
from msgspec import Struct

from jobws.bullmq.keys import Queue
from jobws.errors import RedisUnavailableError
from jobws.protocol.identifiers import START, before, position

if TYPE_CHECKING:
    from jobws.redis.commands import Command, Entry

# BullMQ's own default (src/classes/queue.ts, metaValues), until a script writes it (includes/getOrSetMaxEvents.lua).
DEFAULT_MAX_LENGTH: Final = 10_000
# QueueEventsProducer.publishEvent cuts a stream to so many, whatever the queue's limit is.
PUBLISHED_MAX_LENGTH: Final = 1000


class NotAStreamError(Exception):
    """The key holds something else."""


class Stream(Struct, frozen=True):
    """A stream at one moment. Ids are `0-0` where there is nothing.

    `last` is the newest entry's id, `generated` that of the last one ever added, `added` how many ever were (None:
    Redis does not count them; where there is no stream it is 0). `at_cursor` is the entry that was read last, if it
    is still there.
    """

    length: int = 0
    first: str = START
    last: str = START
    generated: str = START
    added: int | None = 0
    at_cursor: Sequence[bytes] | None = None
    max_length: int = DEFAULT_MAX_LENGTH

    @property
    def is_there(self) -> bool:
        """Whether there is such a key."""
        return self.generated != START

    @property
    def floor(self) -> str:
        """The id up to which entries may have been trimmed; `0-0` if that never happened."""
        if self.added == self.length:
            return START
        return before(self.first) if self.length else self.generated


def commands(queue: Queue, cursor: str) -> list[Command]:
    """The commands, MULTI to EXEC, whose last reply `parse` reads."""
    key = queue.key("events")
    return [
        ("MULTI",),
        ("XINFO", "STREAM", key),
        ("XRANGE", key, cursor, cursor),
        ("HGET", queue.key("meta"), "opts.maxLenEvents"),
        ("EXEC",),
    ]


def parse(reply: object) -> Stream:
    """The stream, from the reply to EXEC.

    Raises:
        NotAStreamError: The key is of another type.
        RedisUnavailableError: Redis cannot tell now.
    """
    if not isinstance(reply, list):
        raise RedisUnavailableError(f"Redis cannot read streams now: {reply!r}")
    info, at_cursor, limit = reply
    max_length = max_length_of(limit)
    if isinstance(info, hiredis.ReplyError):
        if str(info).startswith("WRONGTYPE"):
            raise NotAStreamError(str(info))
        if "no such key" in str(info):
            return Stream(max_length=max_length)
        raise RedisUnavailableError(f"Redis cannot read streams now: {info}")
    if isinstance(limit, hiredis.ReplyError) and not str(limit).startswith("WRONGTYPE"):
        raise RedisUnavailableError(f"Redis cannot read queues now: {limit}")
    facts = dict(zip(info[::2], info[1::2], strict=True))
    return Stream(
        length=facts[b"length"],
        first=_id_of(facts[b"first-entry"]),
        last=_id_of(facts[b"last-entry"]),
        generated=facts[b"last-generated-id"].decode(),
        added=facts.get(b"entries-added"),
        at_cursor=at_cursor[0][1] if isinstance(at_cursor, list) and at_cursor else None,
        max_length=max_length,
    )


def max_length_of(limit: object) -> int:
    """How many entries BullMQ keeps in a stream, from the reply to HGET of `opts.maxLenEvents`."""
    return int(limit) if isinstance(limit, bytes) and limit.isdigit() and len(limit) < 19 else DEFAULT_MAX_LENGTH


def _id_of(entry: object) -> str:
    return entry[0].decode() if isinstance(entry, list) and isinstance(entry[0], bytes) else START


def count_up_to(stream: Stream, cursor: str, up_to_cursor: int) -> int | None:
    """How many entries had been added to a stream up to `cursor`, at least; None: Redis does not count.

    It is less than there were where that cannot be known: then entries seem to be missing, and a gap is told.

    Args:
        stream: What the stream was.
        cursor: An id, at most the last one that the stream ever generated.
        up_to_cursor: How many entries were found up to there, at that moment or later.
    """
    if stream.added is None:
        return None
    if position(cursor) >= position(stream.generated):
        return stream.added
    if not stream.length or position(stream.first) > position(cursor):
        # All of it is younger, and what was trimmed of it may be, too.
        return 0
    # It reaches back beyond the cursor, so what was trimmed of it is older.
    return stream.added - stream.length + up_to_cursor


def floor_below(stream: Stream, cursor: str, oldest: str | None) -> str:
    """The id up to which entries may be missing in what was read back; `0-0`: none is.

    Args:
        stream: What the stream was before it was read back.
        cursor: It was read back from there to its beginning.
        oldest: The first entry that was found, which is a later one if the stream was trimmed meanwhile; None: none.
    """
    if not stream.length or position(stream.first) > position(cursor) or oldest == stream.first:
        return stream.floor
    return cursor if oldest is None else before(oldest)


def length_of(reply: object) -> tuple[int, bool | None]:
    """How many entries a stream holds, and whether Redis counts what is added, from the reply to XINFO STREAM or XLEN.

    XLEN is for streams that Redis is known not to count. None: the stream is gone.
    """
    if isinstance(reply, list):
        facts = dict(zip(reply[::2], reply[1::2], strict=True))
        return facts[b"length"], b"entries-added" in facts
    return (reply, False) if isinstance(reply, int) else (0, None)


def is_anchored(read: Entry | None, at_cursor: Sequence[bytes] | None, length: int, max_length: int) -> bool:
    """Where Redis does not count: whether it is certain that no entry after the cursor was trimmed.

    Args:
        read: The entry at the cursor as it was read; None: none was ever seen there.
        at_cursor: The entry that is there now; None: none is. Trimming takes the oldest entries first, so as long as
            one is there, none after it is missing.
        length: How many entries the stream holds.
        max_length: How many it keeps. Where it never had as many, it was never trimmed.
    """
    if at_cursor is not None:
        return True
    return read is None and 0 < length < min(max_length, PUBLISHED_MAX_LENGTH)


def hole(stream: Stream, cursor: str, counted: int | None, read: Entry | None) -> str | None:
    """Why entries may be missing after everything was read up to `cursor`; None: nothing is.

    Args:
        stream: What the stream was; its newest entry was read, or the rest will be.
        cursor: The id of the entry that was read last, or of the last before reading began.
        counted: How many entries had been added up to the cursor; None: unknown.
        read: The entry at the cursor as it was read; None: none was.

    Returns:
        The reason as the wire's `gap` gives it: `ahead`, `recreated` or `trimmed`.
    """
    if position(stream.generated) < position(cursor):
        return "ahead" if stream.length else "recreated"
    if read is not None and stream.at_cursor is not None and list(stream.at_cursor) != list(read[1]):
        return "recreated"
    if stream.added is None:
        is_whole = position(stream.generated) <= position(cursor) or is_anchored(
            read, stream.at_cursor, stream.length, stream.max_length
        )
        return None if is_whole else "trimmed"
    if counted is None or position(stream.last) > position(cursor):
        # Not all of it was read: the count is compared when it is.
        return "recreated" if counted is not None and stream.added <= counted else None
    return miscounted(stream.added, counted)


def miscounted(added: int, counted: int) -> str | None:
    """Why a stream that had so many entries added is not the one of which so many were read; None: it is."""
    if added == counted:
        return None
    return "trimmed" if added > counted else "recreated"


class Entries(Struct, frozen=True):
    """A question to `Store.ask`: the entries of these ids."""

    queue: Queue
    stream_ids: tuple[bytes, ...]

    def commands(self) -> list[Command]:
        """The commands whose replies `parse` reads."""
        key = self.queue.key("events")
        return [("XRANGE", key, stream_id, stream_id) for stream_id in self.stream_ids]

    def parse(self, replies: Sequence[object]) -> list[Entry | None]:
        """One entry per id; None: it is gone.

        Raises:
            RedisUnavailableError: Redis answered with an error.
        """
        entries: list[Entry | None] = []
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("WRONGTYPE"):
                entries.append(None)  # the stream is gone; asked again, it would be again
            elif not isinstance(reply, list):
                raise RedisUnavailableError(f"Redis cannot read streams now: {reply!r}")
            else:
                entries.append((reply[0][0], reply[0][1]) if reply else None)
        return entries
