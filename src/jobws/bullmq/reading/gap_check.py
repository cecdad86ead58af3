"""Decides where the reading of a stream begins, and asks Redis now and then whether entries were missed since then.

Streams are checked in batches, so a thousand streams take neither one long step nor a thousand round trips.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol, cast

import anyio

from jobws.bullmq import lost_entries
from jobws.bullmq.reading.backfill import READ_TIMEOUT_SECONDS, read_back
from jobws.bullmq.reading.read_state import LastCheck, Reread
from jobws.protocol.identifiers import START, before, lower, position
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobws.bullmq.events import HistoryEntry
    from jobws.bullmq.lost_entries import Stream
    from jobws.bullmq.reading.read_state import ReadState
    from jobws.protocol.messages import Cursor
    from jobws.redis.commands import Command, Entry
    from jobws.redis.connection import Connection

# A batch takes about a millisecond here, and a millisecond of Redis's thread.
STREAMS_PER_BATCH: Final = 16

_log: Final = logging.getLogger(__name__)


class Hub(Protocol):
    """The hub as the gap check needs it: it knows how far each stream was published, and is told what the check finds.

    `hub.jobs.fanout.Fanout` implements it. Besides calling the methods, the check itself changes all three attributes.

    Attributes:
        cursors: By queue, the id up to which entries were published.
        verified: By queue, the id up to which it is certain that no entry was missed.
        without_events: The queues whose streams keep no entries, since BullMQ is configured so.
    """

    cursors: Cursor
    verified: Cursor
    without_events: set[str]

    def resize_history(self, queue: str, max_length: int) -> int:
        """Take note that the stream keeps about `max_length` entries.

        Return how many of its newest entries to read back before reading of the stream begins.
        """
        ...

    def fill(self, queue: str, newest_first: Sequence[HistoryEntry], floor: str) -> Iterator[None]:
        """Remember the events that the stream held before reading began. The caller must exhaust the iterator.

        Each step is short. `newest_first` may lack events up to the id `floor`.
        """
        ...

    def forget_before(self, queue: str, stream_id: str) -> None:
        """Take note that Redis has trimmed the entries before this id."""
        ...

    def begin_reread(self, queue: str, generated: str, oldest: str) -> tuple[str, str]:
        """Prepare for reading the stream once more, and set its cursor back. `send_gap` must follow.

        Args:
            queue: The queue's label.
            generated: The stream's highest id.
            oldest: The highest id below that of the stream's oldest entry; `generated` if the stream is empty.

        Returns:
            The new cursor, and the id up to which entries may be missing.
        """
        ...

    def send_gap(self, queue: str, reason: str, floor: str) -> Iterator[None]:
        """Send a `gap` to the queue's subscribers, in short steps. The caller must exhaust the iterator.

        Events up to the id `floor` may be missing.
        """
        ...

    def end_reread(self, queue: str, floor: str) -> None:
        """Take note that the stream was read once more. Entries up to the id `floor` may still be missing."""
        ...


class GapCheck:
    """Prepares new streams for reading, and checks all streams for missed entries.

    Args:
        hub: Gets what was found. Its `cursors` say how far each stream was read.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def examine(self, connection: Connection, streams: Sequence[ReadState]) -> None:
        """Check these streams for missed entries. For a new stream, read what it holds and decide where reading begins.

        If a key is not a stream, `ReadState.problem` says so. Nothing is raised then, since other streams share the
        connection.

        Raises:
            RedisUnavailableError: Redis did not answer, or cannot answer now.
        """
        for start in range(0, len(streams), STREAMS_PER_BATCH):
            await self._examine_some(connection, streams[start : start + STREAMS_PER_BATCH])

    async def _examine_some(self, connection: Connection, streams: Sequence[ReadState]) -> None:
        cursors = self._hub.cursors
        asked = [lost_entries.commands(stream.queue, cursors.get(stream.queue.label, START)) for stream in streams]
        commands = [command for each in asked for command in each]
        replies = await connection.execute(*commands, timeout_seconds=READ_TIMEOUT_SECONDS)
        size = len(asked[0])
        begun: list[tuple[ReadState, Stream]] = []
        turn = Turn()
        for stream, reply in zip(streams, replies[size - 1 :: size], strict=True):
            await turn.pause()
            if stream.is_removed:
                continue
            try:
                seen = lost_entries.parse(reply)
            except lost_entries.NotAStreamError as error:
                await self._note_no_stream(stream, str(error))
                continue
            stream.answered(anyio.current_time())
            if seen.is_there:
                stream.is_counted = seen.added is not None
            stream.max_length = seen.max_length
            self._note_length(stream.queue.label, seen.max_length)
            if stream.ready.is_set():
                await self._check(stream, seen)
            else:
                begun.append((stream, seen))
        if begun:
            await self._begin(connection, begun)

    async def _note_no_stream(self, stream: ReadState, problem: str) -> None:
        if stream.problem != problem:
            _log.error('queue "%s" is not read: %s holds no stream', stream.queue.label, stream.key.decode())
        stream.problem = problem
        if not stream.ready.is_set():
            # The key counts as an empty stream, since subscriptions to all queues must not wait for this queue.
            await self._start(stream, START, 0, [], START)

    def _note_length(self, label: str, max_length: int) -> None:
        self._hub.resize_history(label, max_length)
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

    async def _begin(self, connection: Connection, begun: Sequence[tuple[ReadState, Stream]]) -> None:
        """Choose the cursors of new streams, and read back what each stream holds up to its cursor."""
        cursors = {}
        for stream, seen in begun:
            preset = self._hub.cursors.get(stream.queue.label)
            cursors[stream] = seen.generated if preset is None else lower(preset, seen.generated)
        limits = [self._hub.resize_history(stream.queue.label, seen.max_length) for stream, seen in begun]
        backs = await read_back(connection, [stream for stream, _ in begun], list(cursors.values()), limits)
        for (stream, seen), back in zip(begun, backs, strict=True):
            if stream.is_removed:
                continue
            stream.read = back.newest
            counted = lost_entries.count_up_to(seen, cursors[stream], back.entries)
            floor = before(back.oldest) if back.oldest else START
            if back.is_whole:
                floor = lost_entries.floor_below(seen, cursors[stream], back.oldest)
            # If Redis does not count entries, the entry at the cursor is needed: while it exists, all later ones exist,
            # too.
            cursor = cursors[stream] if back.newest is None else back.newest[0].decode()
            await self._start(stream, cursor, counted, back.found, floor)

    async def _start(
        self, stream: ReadState, cursor: str, counted: int | None, newest_first: Sequence[HistoryEntry], floor: str
    ) -> None:
        label, turn = stream.queue.label, Turn()
        for _ in self._hub.fill(label, newest_first, floor):
            await turn.pause()
            if stream.is_removed:
                return
        self._hub.cursors[label] = self._hub.verified[label] = cursor
        stream.state = LastCheck(counted)
        stream.ready.set()

    # ---- checking ----

    async def _check(self, stream: ReadState, seen: Stream) -> None:
        """Find out from the present state `seen` whether entries were missed. If so, begin a second reading.

        During a second reading, only find out whether it has ended.
        """
        label = stream.queue.label
        cursor = self._hub.cursors[label]
        unread = position(seen.last) > position(cursor)
        if isinstance(stream.state, Reread):
            if not unread:
                self._end_reread(stream, stream.state, 0)
            return
        # A suspicion is older than `seen`: the stream may have been deleted since.
        suspicion, stream.suspicion = stream.suspicion, None
        reason = lost_entries.hole(seen, cursor, stream.state.added, stream.read, stream.state.unchecked) or suspicion
        if reason is not None:
            await self._begin_reread(stream, reason, seen)
            return
        self._hub.forget_before(label, seen.first if seen.length else seen.generated)
        if not unread:
            stream.state = LastCheck(seen.added)
            self._hub.verified[label] = cursor
        elif seen.added is not None:
            stream.state.seen = seen

    async def check_cursors(self, connection: Connection, streams: Sequence[ReadState]) -> None:
        """Suspect a gap in each stream whose entry at the cursor is gone, unless Redis counts its entries.

        The next check of such a stream begins a second reading. A reader calls this method after it has read new
        entries and before it publishes them: entries between the cursor and the new ones may have been trimmed, too.

        Raises:
            RedisUnavailableError: Redis did not answer.
        """
        asked = [
            stream
            for stream in streams
            if not (stream.is_counted or stream.is_removed or isinstance(stream.state, Reread))
        ]
        if asked:
            cursors = [self._hub.cursors[stream.queue.label] for stream in asked]
            commands: list[Command] = []
            for stream, cursor in zip(asked, cursors, strict=True):
                size = ("XINFO", "STREAM", stream.key) if stream.is_counted is None else ("XLEN", stream.key)
                commands += [("XRANGE", stream.key, cursor, cursor), size]
            replies = await connection.execute(*commands, timeout_seconds=READ_TIMEOUT_SECONDS)
            for stream, entries, size_reply in zip(asked, replies[::2], replies[1::2], strict=True):
                length, stream.is_counted = lost_entries.length_of(size_reply)
                at_cursor = cast("list[Entry]", entries)[0][1] if isinstance(entries, list) and entries else None
                if not stream.is_counted and not lost_entries.is_anchored(
                    stream.read, at_cursor, length, stream.max_length
                ):
                    stream.suspect("trimmed")

    def note_read(self, stream: ReadState, entries: Sequence[Entry]) -> None:
        """Take note of entries that were published, oldest first. This may end a second reading."""
        after, verified = stream.count(entries)
        if after is not None and isinstance(stream.state, Reread):
            self._end_reread(stream, stream.state, after)
        elif verified is not None:
            self._hub.verified[stream.queue.label] = verified
        stream.moved()

    async def _begin_reread(self, stream: ReadState, reason: str, seen: Stream) -> None:
        label = stream.queue.label
        if label in self._hub.without_events:
            # Its stream keeps no entries, so reading it again finds nothing. The sweep finds the outcomes.
            self._hub.cursors[label] = self._hub.verified[label] = seen.generated
            stream.state, stream.read = LastCheck(seen.added), None
            stream.moved()
            return
        _log.warning('queue "%s": events may have been missed (%s); its stream is read again', label, reason)
        # Entries before this id are gone even if nothing was trimmed: the stream may have been deleted and created
        # again.
        oldest = before(seen.first) if seen.length else seen.generated
        start, floor = self._hub.begin_reread(label, seen.generated, oldest)
        self._hub.verified[label] = start
        stream.read = None
        stream.state = reread = Reread(seen.last, seen.added, floor)
        turn = Turn()
        for _ in self._hub.send_gap(label, reason, floor):
            await turn.pause()
        if stream.is_removed:
            return
        if position(seen.last) <= position(start):
            self._hub.cursors[label] = seen.generated
            self._end_reread(stream, reread, 0)

    def _end_reread(self, stream: ReadState, reread: Reread, after: int) -> None:
        """Take note that the second reading has ended, and that `after` newer entries were read since its end."""
        stream.state = LastCheck(None if reread.added is None else reread.added + after, unchecked=after)
        self._hub.end_reread(stream.queue.label, reread.floor)
        self._hub.verified[stream.queue.label] = self._hub.cursors[stream.queue.label]
        stream.moved()
