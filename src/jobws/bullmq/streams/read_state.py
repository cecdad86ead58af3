"""One queue's stream as a listener reads it: how far, how well, and who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import anyio

from jobws.bullmq.stream import miscounted
from jobws.bullmq.streams.pace import Pace
from jobws.protocol.identifiers import position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.bullmq.keys import Queue
    from jobws.redis.commands import Entry


class Again(NamedTuple):
    """How far a stream is read again: up to its entry `end`, when `added` had been added to it.

    Entries up to the id `floor` may be missing.
    """

    end: str
    added: int | None
    floor: str


class Tail:
    """One queue's stream as a listener reads it.

    Attributes:
        ready: Set once what the stream holds is known, and what is written from now on is not missed.
        last_read: When Redis last answered a read of this stream, on anyio's clock; None: never.
        problem: Why it is not being read now; None: it is.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.key = queue.key("events")
        self.ready = anyio.Event()
        self.last_read: float | None = None
        self.problem: str | None = "not read yet"
        # Whether Redis counts entries (None: not known yet), how many had been added up to the cursor, the entry there,
        # and when to check.
        self.is_counted: bool | None = None
        self.counted: int | None = None
        self.read: Entry | None = None
        self.check_at = 0.0
        # A count that can be compared once the entry of that id is read, and why the one before was wrong.
        self.expected: tuple[str, int] | None = None
        self.suspicion: str | None = None
        self.again: Again | None = None
        # How many entries the stream keeps, and how fast they come.
        self.max_length = 0
        self.pace = Pace()
        # Whether somebody waits for the next entry, or it may be trimmed before it is read; and whether it is read now
        # and then only.
        self.is_wanted = True
        self.is_lazy = False
        # The queue is gone: what is on its way is dropped.
        self.is_removed = False
        self._moved: anyio.Event | None = None

    def answered(self, now: float) -> None:
        """Redis answered a read of this stream; `now` is on anyio's clock."""
        self.last_read = now
        self.problem = None

    def moved(self) -> None:
        """Wake those who wait for the cursor."""
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    async def wait_moved(self) -> None:
        """Wait until the cursor moves."""
        if self._moved is None:
            self._moved = anyio.Event()
        await self._moved.wait()

    def check_by(self, when: float) -> None:
        """Check the stream at that time, on anyio's clock, at the latest."""
        self.check_at = min(self.check_at, when)

    @property
    def is_readable(self) -> bool:
        """Whether reading has begun, and the key is a stream: any other would fail a read of several."""
        return self.ready.is_set() and not (self.problem or "").startswith("WRONGTYPE")

    def may_be_lazy(self, now: float) -> bool:
        """Whether nothing is lost if it is read now and then only, as long as nobody waits for it."""
        return self.again is None and self.pace.outlasts(self.max_length, now)

    def suspect(self, reason: str) -> None:
        """Entries may have been missed: the next check, which is due now, will see to it."""
        self.suspicion = reason
        self.check_at = 0.0

    def count(self, entries: Sequence[Entry]) -> tuple[int | None, str | None]:
        """Take note of what was read.

        Returns:
            How many entries came after the end of a second reading, once that is reached; and the id up to which it is
            certain now that none was missed. None: neither was found out.
        """
        if not entries:
            return None, None
        self.read = entries[-1]
        self.pace.note(len(entries), anyio.current_time())
        if self.counted is not None:
            self.counted += len(entries)
        if self.again is not None:
            return _after(self.again.end, entries), None
        if self.expected is None:
            return None, None
        end, added = self.expected
        after = _after(end, entries)
        if after is None:
            return None, None
        self.expected = None
        if self.counted is None:
            self.counted = added + after
        reason = miscounted(added, self.counted - after)
        if reason is None:
            return None, end
        self.suspect(reason)
        return None, None


def _after(end: str, entries: Sequence[Entry]) -> int | None:
    """How many of `entries` come after `end`; None if `end` is not reached."""
    limit = position(end)
    if position(entries[-1][0]) < limit:
        return None
    return sum(position(stream_id) > limit for stream_id, _ in entries)
