"""The log stream in Redis: what to ask of it, and what the answers say. Pure.

BullMQ knows nothing of it, but it is read as BullMQ's streams are. A page of entries comes with what the stream was at
that very moment, so that what was trimmed before it was read can be counted (Redis 7 and later).
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

# A page is read in one go while job events wait: this much takes some 0.2 ms.
PAGE_BYTES: Final = 32 * 1024
FIRST_COUNT: Final = 20
MAX_COUNT: Final = 100


class State(Struct, frozen=True):
    """The stream at one moment. Ids are `0-0` where there is nothing.

    `first` is the oldest entry's id, `generated` that of the last one ever added, `added` how many ever were (None:
    Redis does not count them).
    """

    length: int = 0
    first: str = START
    generated: str = START
    added: int | None = 0

    @property
    def removed(self) -> int | None:
        """How many entries were trimmed; None: unknown."""
        return None if self.added is None else self.added - self.length

    @property
    def floor(self) -> str:
        """The id up to which entries may have been trimmed; `0-0` if that never happened."""
        if self.removed == 0:
            return START
        return before(self.first) if self.length else self.generated


class Page(NamedTuple):
    """Entries, the stream's state at that moment, and whether there were as many as asked for."""

    state: State
    entries: Sequence[Entry]
    full: bool


class StateOf(Struct, frozen=True):
    """A question to `Store.ask`: what the stream is now."""

    key: bytes

    def commands(self) -> list[Command]:
        """The command whose reply `parse` reads."""
        return [("XINFO", "STREAM", self.key)]

    def parse(self, replies: Sequence[object]) -> State:
        """The state. Raises RedisUnavailableError: Redis cannot tell."""
        return _state(replies[0])


class PageAfter(Struct, frozen=True):
    """A question: the first `count` entries after the id `after`."""

    key: bytes
    after: str
    count: int

    def commands(self) -> list[Command]:
        """The commands, MULTI to EXEC, whose replies `parse` reads."""
        entries = ("XRANGE", self.key, f"({self.after}", "+", "COUNT", self.count)
        return [("MULTI",), ("XINFO", "STREAM", self.key), entries, ("EXEC",)]

    def parse(self, replies: Sequence[object]) -> Page:
        """The page. Raises RedisUnavailableError: Redis cannot tell."""
        reply = replies[-1]
        if not isinstance(reply, list):
            raise RedisUnavailableError(f"Redis cannot read the log stream now: {reply!r}")
        entries = _entries(reply[1])
        return Page(_state(reply[0]), entries, len(entries) >= self.count)


class EntriesUpTo(Struct, frozen=True):
    """A question: the last `count` entries up to the id `end`, newest first; with `(` before it, without that entry."""

    key: bytes
    end: str
    count: int

    def commands(self) -> list[Command]:
        """The command whose reply `parse` reads."""
        return [("XREVRANGE", self.key, self.end, "-", "COUNT", self.count)]

    def parse(self, replies: Sequence[object]) -> Sequence[Entry]:
        """The entries. Raises RedisUnavailableError: Redis cannot tell."""
        return _entries(replies[0])


class Append(Struct, frozen=True, eq=False):
    """Entries to add; two are never the same question. The stream keeps about `limit`."""

    key: bytes
    limit: int
    entries: Sequence[Mapping[str, str]]

    def commands(self) -> list[Command]:
        """The commands whose replies `parse` reads."""
        return [
            ("XADD", self.key, "MAXLEN", "~", self.limit, "*", *(part for pair in entry.items() for part in pair))
            for entry in self.entries
        ]

    def parse(self, replies: Sequence[object]) -> int:
        """How many were added before Redis refused one.

        Raises:
            RedisUnavailableError: It refused the first.
        """
        for number, reply in enumerate(replies):
            if not isinstance(reply, bytes):
                if number:
                    return number
                raise RedisUnavailableError(f"Redis does not take log lines now: {reply!s}")
        return len(replies)


def next_count(entries: Sequence[Entry]) -> int:
    """How many entries to ask for, so that their page stays near PAGE_BYTES, after a page of `entries`."""
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
    """How many lines were not read; `approximate`: it is about so many, nobody can tell."""

    count: int
    approximate: bool


class Place:
    """How far the stream was read.

    Attributes:
        id: The entry that was read last, or after which to read.
        count: How many entries had ever been added up to there; None: unknown.
    """

    __slots__ = ("count", "id")

    def __init__(self, stream_id: str, count: int | None) -> None:
        self.id = stream_id
        self.count = count

    def check(self, state: State) -> Missing | None:
        """What is missing between this place and the entries that were read with `state`; None: nothing.

        Trimming takes from the front. So entries are missing only if the oldest one lies behind this place; and those
        that were trimmed are then all that were ever removed, less those that came up to here.
        """
        if position(state.generated) < position(self.id):  # the stream began again, or went back
            self.id, self.count = START, state.removed
            return Missing(state.removed or 0, approximate=True)
        trimmed = before(state.first) if state.length else state.generated
        if position(trimmed) <= position(self.id):
            return None
        old, self.id = self.id, trimmed
        count, self.count = self.count, state.removed
        if count is None or state.removed is None:
            # Behind the beginning of a stream nobody knows whether anything was.
            return None if old == START else Missing(_estimate(old, state), approximate=True)
        if state.removed < count:  # it is another stream
            return Missing(state.removed, approximate=True)
        return Missing(state.removed - count, approximate=False) if state.removed > count else None

    def pass_by(self, stream_id: str) -> None:
        """The next entry was read."""
        self.id = stream_id
        if self.count is not None:
            self.count += 1

    def behind(self, state: State) -> int:
        """How many entries there were after this place at that moment; 0 if that is not known."""
        return 0 if self.count is None or state.added is None else max(0, state.added - self.count)

    def reach(self, state: State) -> bool:
        """Whether everything was read that was there at that moment; then how much that was is known, too."""
        if self.id != state.generated:
            return False
        self.count = state.added
        return True


def _estimate(stream_id: str, state: State) -> int:
    """About how many entries were trimmed after `stream_id`, if they came as fast as those that are there."""
    first, last = position(state.first)[0], position(state.generated)[0]
    gone = max(first - position(stream_id)[0], 1)
    return max(1, state.length * gone // max(last - first, 1)) if state.length else 1
