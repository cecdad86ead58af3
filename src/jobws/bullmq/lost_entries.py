"""Finds out whether entries of a stream were lost before they were read: the commands, and what the replies mean. Pure.

Redis does not report that a stream was trimmed, deleted, or lost in a restart: XREAD continues after the id that it is
given (the cursor), or waits for ever. So jobws compares how many entries were ever added to the stream
(`entries-added`, Redis 7) with how many it has read. Older servers do not have this number. There, jobws asks whether
the entry at the cursor still exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import hiredis
from msgspec import Struct

from jobws.bullmq.keys import Queue
from jobws.errors import RedisUnavailableError
from jobws.protocol.identifiers import START, before, position
from jobws.redis.commands import is_wrong_type

if TYPE_CHECKING:
    from jobws.redis.commands import Command, Entry

# The limit of a stream whose queue has no field `opts.maxLenEvents` yet (src/classes/queue.ts, metaValues; a script
# writes the field, includes/getOrSetMaxEvents.lua).
DEFAULT_MAX_LENGTH: Final = 10_000
# QueueEventsProducer.publishEvent trims a stream to this length, whatever the queue's limit is.
PUBLISHED_MAX_LENGTH: Final = 1000


class NotAStreamError(Exception):
    """The key of a queue's stream holds a value of another type."""


class Stream(Struct, frozen=True):
    """The state of a stream at one moment. An id is `0-0` if there is no such entry.

    Attributes:
        length: How many entries the stream holds.
        first: The id of its oldest entry.
        last: The id of its newest entry.
        generated: The highest id that was ever added, whether or not the stream still holds this entry.
        added: How many entries were ever added; 0 if there is no stream. None means that Redis does not count them.
        at_cursor: The fields of the entry that was read last, as they are in the stream now. None if there is no such
            entry any more.
        max_length: About how many entries BullMQ keeps in the stream.
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
        """Whether the stream exists and ever had an entry."""
        return self.generated != START

    @property
    def floor(self) -> str:
        """The id up to which entries may have been trimmed; `0-0` if no entry was ever trimmed."""
        if self.added == self.length:
            return START
        return before(self.first) if self.length else self.generated


def commands(queue: Queue, cursor: str) -> list[Command]:
    """Return the commands, MULTI to EXEC, that read the state of a queue's stream. `parse` takes the reply to EXEC.

    `cursor` is the id of the entry that was read last.
    """
    key = queue.key("events")
    return [
        ("MULTI",),
        ("XINFO", "STREAM", key),
        ("XRANGE", key, cursor, cursor),
        ("HGET", queue.key("meta"), "opts.maxLenEvents"),
        ("EXEC",),
    ]


def parse(reply: object) -> Stream:
    """Return the state of the stream, from the reply to EXEC.

    Raises:
        NotAStreamError: The key holds a value of another type.
        RedisUnavailableError: Redis cannot answer now.
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
    if isinstance(limit, hiredis.ReplyError) and not is_wrong_type(limit):
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
    """Return about how many entries BullMQ keeps in a stream, from the reply to HGET of `opts.maxLenEvents`.

    If the reply is no whole number, such as nil or an error, return BullMQ's default, 10,000.
    """
    return int(limit) if isinstance(limit, bytes) and limit.isdigit() and len(limit) < 19 else DEFAULT_MAX_LENGTH


def _id_of(entry: object) -> str:
    return entry[0].decode() if isinstance(entry, list) and isinstance(entry[0], bytes) else START


def count_up_to(stream: Stream, cursor: str, up_to_cursor: int) -> int | None:
    """Return how many entries had been added to a stream up to `cursor`, or None if Redis does not count them.

    If the exact number cannot be found out, the result is too low, never too high. Too low a number makes entries seem
    to be missing, so clients get a needless `gap`. Too high a number could hide a loss.

    Args:
        stream: The state of the stream before the entries up to `cursor` were read.
        cursor: An id that is at most the highest one that the stream ever generated.
        up_to_cursor: How many entries up to `cursor` were found when they were read.
    """
    if stream.added is None:
        return None
    if position(cursor) >= position(stream.generated):
        return stream.added
    if not stream.length or position(stream.first) > position(cursor):
        # All entries come after the cursor. Trimmed entries may have come after it, too.
        return 0
    # The stream still has entries up to the cursor, so all trimmed entries came before it.
    return stream.added - stream.length + up_to_cursor


def floor_below(stream: Stream, cursor: str, oldest: str | None) -> str:
    """Return the id up to which entries may be missing, after a stream was read back from `cursor` to its beginning.

    Entries after this id are not missing. `0-0` means that no entry is missing.

    Args:
        stream: The state of the stream before it was read back.
        cursor: The id at which reading back began.
        oldest: The id of the oldest entry that was read. It differs from `stream.first` if the stream was trimmed
            meanwhile. None means that no entry was read.
    """
    if not stream.length or position(stream.first) > position(cursor) or oldest == stream.first:
        return stream.floor
    return cursor if oldest is None else before(oldest)


def length_of(reply: object) -> tuple[int, bool | None]:
    """Return the length of a stream, and whether Redis counts added entries, from the reply to XINFO STREAM or XLEN.

    A reply to XLEN means that Redis does not count them, since callers send XLEN only after an earlier reply has shown
    this. If the stream is gone or cannot be read, the result is 0 and None.
    """
    if isinstance(reply, list):
        facts = dict(zip(reply[::2], reply[1::2], strict=True))
        return facts[b"length"], b"entries-added" in facts
    return (reply, False) if isinstance(reply, int) else (0, None)


def is_anchored(read: Entry | None, at_cursor: Sequence[bytes] | None, length: int, max_length: int) -> bool:
    """Whether it is certain, on a server that does not count entries, that no entry after the cursor was trimmed.

    Args:
        read: The entry at the cursor, as it was when it was read; None if no entry was ever read.
        at_cursor: The fields of the entry that is at the cursor now; None if it is gone. Redis trims the oldest entries
            first, so while this entry exists, no later one was trimmed.
        length: How many entries the stream holds.
        max_length: About how many entries BullMQ keeps in the stream. A stream that never had as many was never
            trimmed.
    """
    if at_cursor is not None:
        return True
    return read is None and 0 < length < min(max_length, PUBLISHED_MAX_LENGTH)


def hole(stream: Stream, cursor: str, counted: int | None, read: Entry | None, unchecked: int) -> str | None:
    """Return why entries of the stream may have been missed, or None if there is no sign of it.

    Some losses show only after the newer entries were read, so None is not final while such entries exist.

    Args:
        stream: The state of the stream now. If its newest entry comes after the cursor, it will be read next.
        cursor: The id of the entry that was read last, or of the last entry before reading began.
        counted: How many entries had been added to the stream up to the cursor; None if unknown.
        read: The entry at the cursor, as it was when it was read; None if no entry was read.
        unchecked: How many entries were read since the last check.

    Returns:
        The reason that clients get in `gap`: `ahead`, `recreated` or `trimmed`.
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
        # Newer entries are not read yet. The count is compared after they are read.
        return "recreated" if counted is not None and stream.added <= counted else None
    return miscounted(stream.added, counted, stream.length, unchecked)


def miscounted(added: int, counted: int, length: int, unchecked: int) -> str | None:
    """Return why entries may be missing in a stream that was read to its end, or None if none is missing.

    The count alone can be right by chance. For example, 60 entries were read. Then the stream was deleted and got 80
    new entries, and 60 of these were trimmed. The other 20 are read, and the count is 80, as for a whole stream. So one
    more thing must be true: the stream holds an entry from before the last check, or it was never trimmed.

    Args:
        added: How many entries were ever added to the stream.
        counted: How many of these are accounted for: they were read, or were added before reading began.
        length: How many entries the stream holds.
        unchecked: How many entries were read since the last check.

    Returns:
        The reason that clients get in `gap`: `recreated` if fewer entries were added than are accounted for, otherwise
        `trimmed`.
    """
    if added != counted:
        return "trimmed" if added > counted else "recreated"
    return None if length > unchecked or not unchecked or added == length else "trimmed"


class Entries(Struct, frozen=True):
    """A query to Redis for the entries with these ids."""

    queue: Queue
    stream_ids: tuple[bytes, ...]

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        key = self.queue.key("events")
        return [("XRANGE", key, stream_id, stream_id) for stream_id in self.stream_ids]

    def parse(self, replies: Sequence[object]) -> list[Entry | None]:
        """Return one entry per id, or None in the place of an entry that is gone.

        Raises:
            RedisUnavailableError: Redis answered with an error.
        """
        entries: list[Entry | None] = []
        for reply in replies:
            if is_wrong_type(reply):
                entries.append(None)  # the key is no stream any more, and asking again would not change that
            elif not isinstance(reply, list):
                raise RedisUnavailableError(f"Redis cannot read streams now: {reply!r}")
            else:
                entries.append((reply[0][0], reply[0][1]) if reply else None)
        return entries
