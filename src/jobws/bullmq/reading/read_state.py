"""Holds how far a queue's stream was read, when to check it for lost entries, and the counts that a check compares."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import anyio

from jobws.bullmq.lost_entries import miscounted
from jobws.bullmq.reading.pace import Pace
from jobws.protocol.identifiers import position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.bullmq.keys import Queue
    from jobws.bullmq.lost_entries import Stream
    from jobws.protocol.identifiers import Position
    from jobws.redis.commands import Entry


@dataclass(slots=True)
class LastCheck:
    """What the last check of a stream found, and how many entries were read since.

    Attributes:
        added: How many entries were ever added to the stream, the entry that was read last being the last of them. Each
            entry that is read adds one. None if unknown.
        unchecked: How many entries were read since the check.
        seen: The state of the stream at the check, if Redis counts entries and some were unread then. It is compared
            with `added` and `unchecked` when the newest of these entries is read. None means that there is nothing to
            compare.
    """

    added: int | None = None
    unchecked: int = 0
    seen: Stream | None = None

    def compare(self, added: int, length: int, after: int) -> str | None:
        """Return why entries up to the newest one that the check saw may be missing, or None if they were all read.

        Afterwards `seen` is None and `unchecked` is `after`. If the attribute `added` was None, it is then the sum of
        the arguments `added` and `after`. Otherwise it is unchanged.

        Args:
            added: How many entries had been added up to this entry, as Redis said at the check.
            length: How many entries the stream held at the check.
            after: How many entries were read after this entry.

        Returns:
            The reason that clients get in `gap`: `recreated` or `trimmed`.
        """
        if self.added is None:
            self.added = added + after
        reason = miscounted(added, self.added - after, length, self.unchecked - after)
        self.unchecked, self.seen = after, None
        return reason


class Reread(NamedTuple):
    """A second reading of a stream in which entries seemed to be missing. It ends at the entry with the id `end`.

    When it began, `added` entries had ever been added to the stream; None means that Redis does not count entries.
    Entries up to the id `floor` are not in the stream any more, so they may be missing.
    """

    end: str
    added: int | None
    floor: str


class ReadState:
    """The state of one queue's stream while a reader reads it. The stream's cursor is in the hub.

    Attributes:
        ready: Set when the entries that the stream already held were read back. Reading then goes on after them.
        last_read: When Redis last answered a read of this stream, on anyio's clock; None if it never did.
        problem: Why the stream is not being read now; None while it is being read.
        state: What the last check found, or the second reading that is under way.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.key = queue.key("events")
        self.ready = anyio.Event()
        self.last_read: float | None = None
        self.problem: str | None = "not read yet"
        self.state: LastCheck | Reread = LastCheck()
        # Whether Redis counts added entries (None while unknown), the entry that was read last, and when the next check
        # is due.
        self.is_counted: bool | None = None
        self.read: Entry | None = None
        self.check_at = 0.0
        # The reason of a gap that is suspected. The next check then has the stream read once more.
        self.suspicion: str | None = None
        # How many entries the stream keeps, and how fast they come.
        self.max_length = 0
        self.pace = Pace()
        # Whether the stream must be read immediately, because a client waits for it or entries may be trimmed; and
        # whether it is read only now and then.
        self.is_wanted = True
        self.is_lazy = False
        # The queue is gone, and entries that still arrive are dropped.
        self.is_removed = False
        self._moved: anyio.Event | None = None

    def answered(self, now: float) -> None:
        """Take note that Redis answered a read of this stream at the time `now`, on anyio's clock."""
        self.last_read = now
        self.problem = None

    def moved(self) -> None:
        """Wake the tasks in `wait_moved`."""
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    async def wait_moved(self) -> None:
        """Wait until more of the stream was read, a `Reread` of it has ended, or the queue is forgotten."""
        if self._moved is None:
            self._moved = anyio.Event()
        await self._moved.wait()

    def check_by(self, when: float) -> None:
        """Have the stream checked at the time `when`, on anyio's clock, or earlier."""
        self.check_at = min(self.check_at, when)

    @property
    def is_readable(self) -> bool:
        """Whether reading has begun and the key is a stream. A key of another type makes an XREAD of all keys fail."""
        return self.ready.is_set() and not (self.problem or "").startswith("WRONGTYPE")

    def may_be_lazy(self, now: float) -> bool:
        """Whether the stream can be read only now and then without losing entries."""
        return isinstance(self.state, LastCheck) and self.pace.outlasts(self.max_length, now)

    def suspect(self, reason: str) -> None:
        """Take note that entries may have been missed, and have the stream checked now. A `gap` has the reason."""
        self.suspicion = reason
        self.check_at = 0.0

    def count(self, entries: Sequence[Entry]) -> tuple[int | None, str | None]:
        """Take note of entries that were read. `entries` are in the order of the stream, oldest first.

        If the newest entry that the last check saw is among them, the counts are compared. A gap is suspected if
        entries may be missing.

        Returns:
            Two values. The first one is how many of the entries came after the end of a second reading; it is None if
            there is no second reading or its end is not reached. The second one is the id up to which this call has
            shown that no entry was missed, or None if it has shown nothing new.
        """
        if not entries:
            return None, None
        self.read = entries[-1]
        self.pace.note(len(entries), anyio.current_time())
        state = self.state
        if isinstance(state, Reread):
            return _after(state.end, entries), None
        if state.added is not None:
            state.added += len(entries)
        state.unchecked += len(entries)
        if 2 * state.unchecked >= self.max_length:
            self.check_at = 0.0  # in time: later the stream may hold none of the entries that the last check saw
        seen = state.seen
        after = None if seen is None else _after(seen.last, entries)
        if seen is None or seen.added is None or after is None:
            return None, None
        reason = state.compare(seen.added, seen.length, after)
        if reason is None:
            return None, seen.last
        self.suspect(reason)
        return None, None


def _after(end: str, entries: Sequence[Entry]) -> int | None:
    """Return how many of `entries` are newer than the id `end`, or None if all of them are older.

    `entries` are in the order of the stream, oldest first.
    """
    limit = position(end)
    if position(entries[-1][0]) < limit:
        return None
    return len(entries) - bisect_right(entries, limit, key=_id_of)


def _id_of(entry: Entry) -> Position:
    return position(entry[0])
