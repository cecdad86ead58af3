"""Tails event streams from a cursor.

Never from `$`: the cursor is taken once, and every read goes on from the entry that was published last, so nothing that
was written meanwhile is missed. A broken connection is made again, for ever.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

import anyio
import anyio.lowlevel

from jobws.bullmq import stream
from jobws.bullmq.backfill import MAX_COUNT, READ_TIMEOUT_SECONDS, REPLY_BYTES, read_back
from jobws.bullmq.connect import Connection, RedisTarget, Reply
from jobws.bullmq.tail import Again, Tail
from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.protocol.identifiers import START, before, lower, position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.bullmq.events import Entry, Past
    from jobws.bullmq.stream import Stream
    from jobws.protocol.messages import Cursor

ReadStream: TypeAlias = "tuple[bytes, Sequence[Entry]]"

# Health turns red after 5 s without a successful read, so an idle read must come back well before.
BLOCK_MILLISECONDS: Final = 2000
FIRST_COUNT: Final = 100
RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
# Between two checks of a stream for holes, besides the one after each reconnect; and how soon after entries were read,
# since no client is told a position before.
CHECK_SECONDS: Final = 5.0
VERIFY_SECONDS: Final = 0.25

_log: Final = logging.getLogger(__name__)


class Hub(Protocol):
    """What a listener tells: `hub.fanout.Fanout`."""

    cursors: Cursor
    verified: Cursor
    without_events: set[str]

    def publish(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        """Take entries from `start` on, and say how far it came."""
        ...

    def keep(self, queue: str, max_length: int) -> int:
        """A stream may hold so many entries; how many of them are worth reading back."""
        ...

    def fill(self, queue: str, newest_first: Sequence[Past], floor: str) -> None:
        """Take what the stream held before the cursor."""
        ...

    def forget_before(self, queue: str, stream_id: str) -> None:
        """Redis has trimmed what lies before that entry."""
        ...

    def begin_again(self, queue: str, reason: str, generated: str, oldest: str) -> tuple[str, str]:
        """The stream, whose last id is `generated`, will be read again.

        Returns after which id, and up to which id entries may be missing.
        """
        ...

    def end_again(self, queue: str, floor: str) -> None:
        """It was; entries up to that id may be missing all the same."""
        ...


class Listener:
    """Reads one or several streams over one connection.

    Args:
        target: Where Redis is.
        hub: Takes what was read. Its cursors say after which id to read.

    Attributes:
        tails: The streams to read; may be added to at any time, and takes effect at the next read.
    """

    def __init__(self, target: RedisTarget, hub: Hub) -> None:
        self.tails: list[Tail] = []
        self._target = target
        self._hub = hub
        self._count = FIRST_COUNT

    async def run(self) -> None:
        """Read and publish until cancelled. Trouble with Redis is logged and tried again; only bugs come out."""
        failures = 0
        while True:
            try:
                connection = await Connection.open(self._target)
                try:
                    if failures:
                        _log.info("Redis at %s answers again", self._target.address)
                    failures = 0
                    await self._read_on(connection)
                finally:
                    connection.close()
            except (RedisUnavailableError, RedisRefusedError) as error:
                wait = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                # The first attempts come quickly and are many; afterwards one line each says that we still try.
                if failures in (1, len(RETRY_SECONDS)) or failures % 10 == 0:
                    _log.warning("%s; %s waits and tries again", error, self._names())
                for tail in self.tails:
                    tail.problem = str(error)
                # Full jitter: many listeners must not knock at a restarting Redis in step.
                await anyio.sleep(random.uniform(wait / 2, wait))  # noqa: S311 - not a secret

    def _names(self) -> str:
        names = [tail.queue.label for tail in self.tails]
        return f'queue "{names[0]}"' if len(names) == 1 else f"the listener of {len(names)} queues"

    async def _read_on(self, connection: Connection) -> None:
        """Read until the connection breaks."""
        for tail in self.tails:
            tail.check_at = 0.0
        while True:
            readable = await self._examine(connection)
            if not readable:
                await anyio.sleep(RETRY_SECONDS[-1])
                continue
            cursors = self._hub.cursors
            received = connection.received_bytes
            reply = await connection.ask(
                *("XREAD", "COUNT", self._count, "BLOCK", self._until_check(), "STREAMS"),
                *(tail.key for tail in readable),
                *(cursors[tail.queue.label] for tail in readable),
                timeout_seconds=READ_TIMEOUT_SECONDS,
            )
            by_key = {}
            for tail in readable:
                tail.answered()
                by_key[tail.key] = tail
            streams = _streams(reply)
            await self._look_behind(connection, [by_key[key] for key, _ in streams])
            for key, entries in streams:
                await self._deliver(by_key[key], entries)
            self._adapt(sum(len(entries) for _, entries in streams), connection.received_bytes - received)

    async def _examine(self, connection: Connection) -> list[Tail]:
        """Check the streams for which it is time, begin with new ones, and return those that can be read.

        A key that is no stream must not stop the others, which share the XREAD.
        """
        now = anyio.current_time()
        due = [tail for tail in self.tails if now >= tail.check_at]
        cursors = self._hub.cursors
        asked = [
            command for tail in due for command in stream.commands(tail.queue, cursors.get(tail.queue.label, START))
        ]
        if asked:
            replies = await connection.execute(*asked, timeout_seconds=READ_TIMEOUT_SECONDS)
            size = len(asked) // len(due)
            for tail, reply in zip(due, replies[size - 1 :: size], strict=True):
                tail.check_at = anyio.current_time() + CHECK_SECONDS
                try:
                    seen = stream.parse(reply)
                except stream.NotAStreamError as error:
                    if tail.problem != str(error):
                        _log.error('queue "%s" is not read: %s holds no stream', tail.queue.label, tail.key.decode())
                    tail.problem = str(error)
                    if not tail.ready.is_set():
                        self._begin_with_nothing(tail)
                    continue
                tail.answered()
                tail.is_counted = seen.added is not None
                self._note_length(tail.queue.label, seen.max_length)
                if tail.ready.is_set():
                    self._check(tail, seen)
                else:
                    await self._begin(connection, tail, seen)
        return [tail for tail in self.tails if tail.ready.is_set() and not _is_no_stream(tail)]

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

    def _until_check(self) -> int:
        """How many milliseconds to wait for entries; not 0, which is for ever."""
        left = min((tail.check_at for tail in self.tails), default=0.0) - anyio.current_time()
        return max(1, min(BLOCK_MILLISECONDS, int(left * 1000) + 1))

    # ---- beginning ----

    async def _begin(self, connection: Connection, tail: Tail, seen: Stream) -> None:
        """Take the cursor, and read back what the stream holds before it."""
        label = tail.queue.label
        preset = self._hub.cursors.get(label)
        cursor = seen.generated if preset is None else lower(preset, seen.generated)
        found, floor = await read_back(connection, tail, cursor, self._hub.keep(label, seen.max_length))
        self._hub.cursors[label] = self._hub.verified[label] = cursor
        tail.counted = None if preset is not None else seen.added
        self._hub.fill(label, found, seen.floor if floor is None else floor)
        tail.ready.set()

    def _begin_with_nothing(self, tail: Tail) -> None:
        """The key is no stream, so no event was missed: subscriptions to all queues must not wait for this one."""
        label = tail.queue.label
        self._hub.cursors[label] = self._hub.verified[label] = START
        tail.counted = 0
        self._hub.fill(label, [], START)
        tail.ready.set()

    # ---- checking ----

    def _check(self, tail: Tail, seen: Stream) -> None:
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
            self._begin_again(tail, reason, seen)
            return
        self._hub.forget_before(label, seen.first if seen.length else seen.generated)
        if not unread:
            tail.counted = seen.added
            self._hub.verified[label] = cursor
        elif seen.added is not None:
            tail.expected = (seen.last, seen.added)

    async def _look_behind(self, connection: Connection, tails: Sequence[Tail]) -> None:
        """Where Redis does not count: if the entry before those just read is gone, some between them may be, too."""
        cursors = self._hub.cursors
        asked = [tail for tail in tails if not tail.is_counted and cursors[tail.queue.label] != START]
        if asked:
            replies = await connection.execute(
                *(("XRANGE", tail.key, cursors[tail.queue.label], cursors[tail.queue.label]) for tail in asked),
                timeout_seconds=READ_TIMEOUT_SECONDS,
            )
            for tail, reply in zip(asked, replies, strict=True):
                if reply == [] and tail.again is None:
                    tail.suspect("trimmed")

    def _begin_again(self, tail: Tail, reason: str, seen: Stream) -> None:
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

    # ---- reading ----

    async def _deliver(self, tail: Tail, entries: Sequence[Entry]) -> None:
        index = 0
        try:
            while index < len(entries):
                index = self._hub.publish(tail.queue.label, entries, index)
                # Everybody else's turn between two shares of a large batch.
                await anyio.lowlevel.checkpoint()
        finally:
            after, verified = tail.count(entries[:index])
            if after is not None:
                self._end_again(tail, after)
            elif verified is not None:
                self._hub.verified[tail.queue.label] = verified
            tail.check_at = min(tail.check_at, anyio.current_time() + VERIFY_SECONDS)
            tail.moved()

    def _adapt(self, entries: int, received_bytes: int) -> None:
        if entries:
            fitting = REPLY_BYTES * entries // max(received_bytes, 1)
            self._count = max(1, min(MAX_COUNT, fitting, self._count * 2))


def _is_no_stream(tail: Tail) -> bool:
    return tail.problem is not None and tail.problem.startswith("WRONGTYPE")


def _streams(reply: Reply) -> Sequence[ReadStream]:
    """The streams of XREAD's answer under RESP2: key and entries each; a time-out is answered with nil."""
    if reply is None:
        return ()
    if not isinstance(reply, list):
        raise RedisUnavailableError(f"Redis answered XREAD with {reply!r}")
    return cast("list[ReadStream]", reply)
