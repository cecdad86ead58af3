"""Where reading of a stream begins, and whether entries were missed since: asked of Redis now and then.

Checks come in batches, so that a thousand streams are not one long step, nor a thousand round trips.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol, cast

import anyio

from jobws.bullmq import stream
from jobws.bullmq.streams.backfill import READ_TIMEOUT_SECONDS, read_back
from jobws.bullmq.streams.read_state import Again
from jobws.protocol.identifiers import START, before, lower, position
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobws.bullmq.events import HistoryEntry
    from jobws.bullmq.stream import Stream
    from jobws.bullmq.streams.read_state import Tail
    from jobws.protocol.messages import Cursor
    from jobws.redis.commands import Command, Entry
    from jobws.redis.connection import Connection

# A batch takes about a millisecond of our time, and of Redis's.
STREAMS_PER_BATCH: Final = 16

_log: Final = logging.getLogger(__name__)


class Hub(Protocol):
    """What a check tells: `hub.jobs.fanout.Fanout`."""

    cursors: Cursor
    verified: Cursor
    without_events: set[str]

    def keep(self, queue: str, max_length: int) -> int:
        """A stream may hold so many entries; how many of them are worth reading back."""
        ...

    def fill(self, queue: str, newest_first: Sequence[HistoryEntry], floor: str) -> Iterator[None]:
        """Take what the stream held before the cursor, in short steps."""
        ...

    def forget_before(self, queue: str, stream_id: str) -> None:
        """Redis has trimmed what lies before that entry."""
        ...

    def begin_again(self, queue: str, reason: str, generated: str, oldest: str) -> tuple[str, str]:
        """The stream, whose last id is `generated`, will be read again; then `tell_gap` is due.

        Returns after which id, and up to which id entries may be missing.
        """
        ...

    def tell_gap(self, queue: str, reason: str, floor: str) -> Iterator[None]:
        """Tell the clients of the queue of the gap, in short steps."""
        ...

    def end_again(self, queue: str, floor: str) -> None:
        """The stream was read again; entries up to the id `floor` may be missing all the same."""
        ...


class GapCheck:
    """Begins with streams, and checks them.

    Args:
        hub: Is told what was found. Its cursors say how far each stream was read.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def examine(self, connection: Connection, tails: Sequence[Tail]) -> None:
        """Check these streams, and begin with those that are new.

        A key that is no stream is noted in its `problem` alone, since the others share the connection.

        Raises:
            RedisUnavailableError: Redis did not answer, or cannot tell now.
        """
        for start in range(0, len(tails), STREAMS_PER_BATCH):
            await self._examine_some(connection, tails[start : start + STREAMS_PER_BATCH])

    async def _examine_some(self, connection: Connection, tails: Sequence[Tail]) -> None:
        cursors = self._hub.cursors
        asked = [stream.commands(tail.queue, cursors.get(tail.queue.label, START)) for tail in tails]
        commands = [command for each in asked for command in each]
        replies = await connection.execute(*commands, timeout_seconds=READ_TIMEOUT_SECONDS)
        size = len(asked[0])
        begun: list[tuple[Tail, Stream]] = []
        turn = Turn()
        for tail, reply in zip(tails, replies[size - 1 :: size], strict=True):
            await turn.pause()
            if tail.is_removed:
                continue
            try:
                seen = stream.parse(reply)
            except stream.NotAStreamError as error:
                await self._note_no_stream(tail, str(error))
                continue
            tail.answered(anyio.current_time())
            if seen.is_there:
                tail.is_counted = seen.added is not None
            tail.max_length = seen.max_length
            self._note_length(tail.queue.label, seen.max_length)
            if tail.ready.is_set():
                await self._check(tail, seen)
            else:
                begun.append((tail, seen))
        if begun:
            await self._begin(connection, begun)

    async def _note_no_stream(self, tail: Tail, problem: str) -> None:
        if tail.problem != problem:
            _log.error('queue "%s" is not read: %s holds no stream', tail.queue.label, tail.key.decode())
        tail.problem = problem
        if not tail.ready.is_set():
            # No event was missed, so subscriptions to all queues must not wait for this one.
            await self._start(tail, START, 0, [], START)

    def _note_length(self, label: str, max_length: int) -> None:
        self._hub.keep(label, max_length)
        if max_length:
            self._hub.without_events.discard(label)
        elif label not in self._hub.without_events:
            self._hub.without_events.add(label)
            _log.warning(
                'queue "%s" writes no events (streams.events.maxLen is 0): only the outcomes of its jobs are told, '
                "up to a second late",
                label,
            )

    # ---- beginning ----

    async def _begin(self, connection: Connection, begun: Sequence[tuple[Tail, Stream]]) -> None:
        """Take the cursors, and read back what the streams hold before them."""
        cursors = {}
        for tail, seen in begun:
            preset = self._hub.cursors.get(tail.queue.label)
            cursors[tail] = seen.generated if preset is None else lower(preset, seen.generated)
        limits = [self._hub.keep(tail.queue.label, seen.max_length) for tail, seen in begun]
        backs = await read_back(connection, [tail for tail, _ in begun], list(cursors.values()), limits)
        for (tail, seen), back in zip(begun, backs, strict=True):
            if tail.is_removed:
                continue
            tail.read = back.newest
            counted = stream.count_up_to(seen, cursors[tail], back.entries)
            floor = before(back.oldest) if back.oldest else START
            if back.is_whole:
                floor = stream.floor_below(seen, cursors[tail], back.oldest)
            # Where Redis does not count, the entry at the cursor tells whether those after it are all there.
            cursor = cursors[tail] if back.newest is None else back.newest[0].decode()
            await self._start(tail, cursor, counted, back.found, floor)

    async def _start(
        self, tail: Tail, cursor: str, counted: int | None, newest_first: Sequence[HistoryEntry], floor: str
    ) -> None:
        label, turn = tail.queue.label, Turn()
        for _ in self._hub.fill(label, newest_first, floor):
            await turn.pause()
            if tail.is_removed:
                return
        self._hub.cursors[label] = self._hub.verified[label] = cursor
        tail.counted = counted
        tail.ready.set()

    # ---- checking ----

    async def _check(self, tail: Tail, seen: Stream) -> None:
        """Find out whether entries were missed, and if so read the stream again as far as it is needed."""
        label = tail.queue.label
        cursor = self._hub.cursors[label]
        unread = position(seen.last) > position(cursor)
        if tail.again is not None:
            if not unread:
                self._end_again(tail, 0)
            return
        reason, tail.suspicion = tail.suspicion or stream.hole(seen, cursor, tail.counted, tail.read), None
        if reason is not None:
            await self._begin_again(tail, reason, seen)
            return
        self._hub.forget_before(label, seen.first if seen.length else seen.generated)
        if not unread:
            tail.counted = seen.added
            self._hub.verified[label] = cursor
        elif seen.added is not None:
            tail.expected = (seen.last, seen.added)

    async def look_behind(self, connection: Connection, tails: Sequence[Tail]) -> None:
        """Where Redis does not count: if the entry before those just read is gone, some between them may be, too.

        Raises:
            RedisUnavailableError: Redis did not answer.
        """
        asked = [tail for tail in tails if not (tail.is_counted or tail.is_removed or tail.again)]
        if asked:
            cursors = [self._hub.cursors[tail.queue.label] for tail in asked]
            commands: list[Command] = []
            for tail, cursor in zip(asked, cursors, strict=True):
                size = ("XINFO", "STREAM", tail.key) if tail.is_counted is None else ("XLEN", tail.key)
                commands += [("XRANGE", tail.key, cursor, cursor), size]
            replies = await connection.execute(*commands, timeout_seconds=READ_TIMEOUT_SECONDS)
            for tail, entries, size_reply in zip(asked, replies[::2], replies[1::2], strict=True):
                length, tail.is_counted = stream.length_of(size_reply)
                at_cursor = cast("list[Entry]", entries)[0][1] if isinstance(entries, list) and entries else None
                if not tail.is_counted and not stream.is_anchored(tail.read, at_cursor, length, tail.max_length):
                    tail.suspect("trimmed")

    def note_read(self, tail: Tail, entries: Sequence[Entry]) -> None:
        """Take note of entries that were published, in the order in which they were read."""
        after, verified = tail.count(entries)
        if after is not None:
            self._end_again(tail, after)
        elif verified is not None:
            self._hub.verified[tail.queue.label] = verified
        tail.moved()

    async def _begin_again(self, tail: Tail, reason: str, seen: Stream) -> None:
        label = tail.queue.label
        if label in self._hub.without_events:
            # Its entries never last; the sweep finds the outcomes.
            self._hub.cursors[label] = self._hub.verified[label] = seen.generated
            tail.counted, tail.read = seen.added, None
            tail.moved()
            return
        _log.warning('queue "%s": events may have been missed (%s); its stream is read again', label, reason)
        # Also if nothing was trimmed: what the stream held before it was made again is gone.
        oldest = before(seen.first) if seen.length else seen.generated
        start, floor = self._hub.begin_again(label, reason, seen.generated, oldest)
        self._hub.verified[label] = start
        tail.counted = tail.expected = tail.read = None
        tail.again = Again(seen.last, seen.added, floor)
        turn = Turn()
        for _ in self._hub.tell_gap(label, reason, floor):
            await turn.pause()
        if tail.is_removed:
            return
        if position(seen.last) <= position(start):
            self._hub.cursors[label] = seen.generated
            self._end_again(tail, 0)

    def _end_again(self, tail: Tail, after: int) -> None:
        """The stream was read again; `after` entries came to it since."""
        again, tail.again = tail.again, None
        if again is not None:
            tail.counted = None if again.added is None else again.added + after
            self._hub.end_again(tail.queue.label, again.floor)
            self._hub.verified[tail.queue.label] = self._hub.cursors[tail.queue.label]
            tail.moved()
