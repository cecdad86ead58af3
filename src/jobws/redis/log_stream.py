"""Builds the commands that read and write the stream of log lines, and parses the replies. Pure.

The stream belongs to jobws, not to BullMQ. A page of entries comes with the state of the stream at the same moment.
With it, entries that were trimmed before they were read can be counted (Redis 7 and later).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import hiredis
from msgspec import Struct

from jobws.errors import RedisUnavailableError
from jobws.protocol.identifiers import START, before, position
from jobws.redis.batch_size import batch_size

if TYPE_CHECKING:
    from jobws.redis.commands import Command, Entry

# The wanted size of a page. Parsing it takes about 0.2 ms, in which events of jobs wait.
PAGE_BYTES: Final = 32 * 1024
FIRST_COUNT: Final = 20
MAX_COUNT: Final = 100


class State(Struct, frozen=True):
    """The state of the stream at one moment. An id is `0-0` if there is no such entry.

    Attributes:
        length: How many entries the stream holds.
        first: The id of its oldest entry.
        generated: The highest id that was ever added, whether or not the stream still holds this entry.
        added: How many entries were ever added. None means that Redis does not count them.
    """

    length: int = 0
    first: str = START
    generated: str = START
    added: int | None = 0

    @property
    def removed(self) -> int | None:
        """How many entries were trimmed; None if unknown."""
        return None if self.added is None else self.added - self.length

    @property
    def floor(self) -> str:
        """The id up to and including which entries may have been trimmed; `0-0` if it is known that none was.

        This is the id just below the oldest entry or, if the stream is empty, the highest id that was ever added.
        """
        if self.removed == 0:
            return START
        return before(self.first) if self.length else self.generated


class LogPage(NamedTuple):
    """Entries, and the state of the stream when they were read.

    `full` says that there are as many entries as were asked for, so the stream may have more.
    """

    state: State
    entries: Sequence[Entry]
    full: bool


class StateOf(Struct, frozen=True):
    """A query to Redis for the present state of the stream."""

    key: bytes

    def commands(self) -> list[Command]:
        """Return the command whose reply `parse` reads."""
        return [("XINFO", "STREAM", self.key)]

    def parse(self, replies: Sequence[object]) -> State:
        """Return the state of the stream from Redis's replies to `commands`.

        Raises:
            RedisUnavailableError: Redis cannot answer now.
        """
        return _state(replies[0])


class PageAfter(Struct, frozen=True):
    """A query to Redis for the first `count` entries after the id `after`."""

    key: bytes
    after: str
    count: int

    def commands(self) -> list[Command]:
        """Return the commands, MULTI to EXEC, whose replies `parse` reads."""
        entries = ("XRANGE", self.key, f"({self.after}", "+", "COUNT", self.count)
        return [("MULTI",), ("XINFO", "STREAM", self.key), entries, ("EXEC",)]

    def parse(self, replies: Sequence[object]) -> LogPage:
        """Return the page of entries from Redis's replies to `commands`.

        Raises:
            RedisUnavailableError: Redis cannot answer now.
        """
        reply = replies[-1]
        if not isinstance(reply, list):
            raise RedisUnavailableError(f"Redis cannot read the log stream now: {reply!r}")
        entries = _entries(reply[1])
        return LogPage(_state(reply[0]), entries, len(entries) >= self.count)


class EntriesUpTo(Struct, frozen=True):
    """A query to Redis for the last `count` entries up to the id `end`, newest first.

    If `end` begins with `(`, the entry with this id is excluded.
    """

    key: bytes
    end: str
    count: int

    def commands(self) -> list[Command]:
        """Return the command whose reply `parse` reads."""
        return [("XREVRANGE", self.key, self.end, "-", "COUNT", self.count)]

    def parse(self, replies: Sequence[object]) -> Sequence[Entry]:
        """Return the entries from Redis's replies to `commands`.

        Raises:
            RedisUnavailableError: Redis cannot answer now.
        """
        return _entries(replies[0])


class Append(Struct, frozen=True, eq=False):
    """A query to Redis that adds entries. The stream keeps about `limit` entries.

    Two of these queries are never equal, since equal queries are sent only once.
    """

    key: bytes
    limit: int
    entries: Sequence[Mapping[str, str]]

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        return [
            ("XADD", self.key, "MAXLEN", "~", self.limit, "*", *(part for pair in entry.items() for part in pair))
            for entry in self.entries
        ]

    def parse(self, replies: Sequence[object]) -> int:
        """Return how many entries Redis added before it refused one.

        Raises:
            RedisUnavailableError: Redis refused the first entry.
        """
        for number, reply in enumerate(replies):
            if not isinstance(reply, bytes):
                if number:
                    return number
                raise RedisUnavailableError(f"Redis does not take log lines now: {reply!s}")
        return len(replies)


def next_count(entries: Sequence[Entry]) -> int:
    """Return how many entries to ask for, so that the next page has about `PAGE_BYTES`.

    `entries` is the page that was read just before. It is not empty. The first query asks for `FIRST_COUNT` entries.
    """
    size = sum(len(part) for _, fields in entries for part in fields)
    return batch_size(len(entries), size, wanted_bytes=PAGE_BYTES, most=min(MAX_COUNT, 4 * len(entries)))


def _state(info: object) -> State:
    if isinstance(info, hiredis.ReplyError) and "no such key" in str(info):
        return State()
    if not isinstance(info, list):
        raise RedisUnavailableError(f"Redis cannot read the log stream now: {info!s}")
    facts = dict(zip(info[::2], info[1::2], strict=True))
    first = facts[b"first-entry"]
    return State(
        length=facts[b"length"],
        first=first[0].decode() if first else START,
        generated=facts[b"last-generated-id"].decode(),
        added=facts.get(b"entries-added"),
    )


def _entries(reply: object) -> Sequence[Entry]:
    if not isinstance(reply, list):
        raise RedisUnavailableError(f"Redis cannot read the log stream now: {reply!s}")
    return [(each[0], each[1]) for each in reply]


class Missing(Struct, frozen=True):
    """How many lines were trimmed before they were read. `approximate` says that the number is only an estimate."""

    count: int
    approximate: bool


class LogCursor:
    """How far the stream was read.

    Attributes:
        id: The id after which to read next. It is the id of the entry that was read last, or where reading begins.
        count: How many entries had been added to the stream up to this id; None if unknown.
    """

    __slots__ = ("count", "id")

    def __init__(self, stream_id: str, count: int | None) -> None:
        self.id = stream_id
        self.count = count

    def check(self, state: State) -> Missing | None:
        """Return how many entries were trimmed before they could be read. None means that nothing shows such a loss.

        Call this for each page, before `pass_by` for its entries.

        If the highest id of the stream is lower than this cursor, the stream was created again, or lost its last
        entries. The cursor then moves to `0-0`. The result is the number of all trimmed entries (0 if unknown), as an
        approximate number.

        Redis trims the oldest entries first. So otherwise entries are missing only if the oldest remaining entry comes
        after this cursor, or if none remains and the highest id comes after it. The cursor then moves to just before
        the oldest entry, or to the highest id. The result is the number of all trimmed entries, minus `count`; None
        if this is 0. If it is less than 0, the stream was created again, and the result is the number of all trimmed
        entries, as an approximate number. If one of the two numbers is unknown, the result is an estimate, or None for
        a cursor that was at `0-0`.

        When the cursor moves, `count` becomes the number of all trimmed entries; None if unknown.

        Args:
            state: The state of the stream when the page after this cursor was read.
        """
        if position(state.generated) < position(self.id):  # the stream was created again, or lost its last entries
            self.id, self.count = START, state.removed
            return Missing(state.removed or 0, approximate=True)
        trimmed = before(state.first) if state.length else state.generated
        if position(trimmed) <= position(self.id):
            return None
        old, self.id = self.id, trimmed
        count, self.count = self.count, state.removed
        if count is None or state.removed is None:
            # Without counts, a cursor at `0-0` does not show whether any entry was trimmed.
            return None if old == START else Missing(_estimate(old, state), approximate=True)
        if state.removed < count:  # a stream that was deleted and created again
            return Missing(state.removed, approximate=True)
        return Missing(state.removed - count, approximate=False) if state.removed > count else None

    def pass_by(self, stream_id: str) -> None:
        """Take note that the next entry, which has this id, was read."""
        self.id = stream_id
        if self.count is not None:
            self.count += 1

    def lag(self, state: State) -> int:
        """Return how many entries come after this cursor, by the counts of `state` and the cursor; 0 if unknown."""
        return 0 if self.count is None or state.added is None else max(0, state.added - self.count)

    def reach(self, state: State) -> bool:
        """Return whether this cursor is at the stream's end, as `state` has it. If so, set `count` to `state.added`."""
        if self.id != state.generated:
            return False
        self.count = state.added
        return True


def _estimate(stream_id: str, state: State) -> int:
    """Estimate how many entries were trimmed after `stream_id`, from the rate at which the remaining ones came.

    If only one remains, or if they came in the same millisecond, they count as having come within 1 ms. The result is
    at least 1. It is 1 if none remains.
    """
    first, last = position(state.first)[0], position(state.generated)[0]
    gone = max(first - position(stream_id)[0], 1)
    return max(1, state.length * gone // max(last - first, 1)) if state.length else 1
