"""Reads event streams from a cursor on, and publishes their entries.

XREAD never begins at `$`: each read continues after the entry that was published last, so entries that were written
meanwhile are not missed. A broken connection is replaced, without a limit on attempts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

import anyio

from jobws.bullmq.reading import gap_check
from jobws.bullmq.reading.backfill import MAX_COUNT, REPLY_BYTES
from jobws.bullmq.reading.gap_check import GapCheck
from jobws.bullmq.reading.schedule import USUAL_PAUSES, Schedule
from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.redis.batch_size import batch_size
from jobws.redis.connection import Connection, RedisTarget, Reply
from jobws.redis.retry import Retry
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jobws.bullmq.reading.read_state import ReadState
    from jobws.bullmq.reading.schedule import Audience, Pauses
    from jobws.redis.commands import Entry

KeyAndEntries: TypeAlias = "tuple[bytes, Sequence[Entry]]"

# How long XREAD may block if it cannot be ended early. New streams are read only when it has ended.
IMPATIENT_SECONDS: Final = 0.25
FIRST_COUNT: Final = 100
LONGEST_PAUSE_SECONDS: Final = 2.0
# Which failures in a row are logged, besides every tenth: the first attempts follow each other quickly.
LOGGED_FAILURES: Final = (1, 5)
# How many lazy streams one XREAD names, since each stream may have an entry of a megabyte.
STREAMS_PER_READ: Final = 250

_log: Final = logging.getLogger(__name__)


class Waker(Protocol):
    """Ends blocked reads. `unblock.Unblocker` implements it. `works` is True if Redis has shown that it permits it."""

    works: bool

    def unblock(self) -> None:
        """Have another task end the blocked XREAD of each reader on which `wake` was called. Never waits."""
        ...


class Publisher(gap_check.Hub, Protocol):
    """What a reader passes entries to. `hub.jobs.fanout.Fanout` implements it."""

    def publish(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        """Pass on the entries from index `start` on, and move the queue's cursor after them.

        One call takes a limited time. It returns the index of the first entry that was not passed on, or
        `len(entries)`. The caller goes on from this index after a checkpoint.
        """
        ...


class StreamReader:
    """Reads one or several streams over one connection.

    Streams that clients wait for are read with XREAD BLOCK. The others are read together a few times a second, since
    being woken for each of their entries would cost thirty times as much.

    Args:
        target: Where Redis is.
        publisher: Gets the entries that were read. Its `cursors` say after which id to read each stream.
        audience: Says for which queues clients wait.
        unblocker: Ends this reader's XREAD early when the reader is woken, if Redis permits it.
        readers: How many readers the process has. The cost of idle streams is limited for all readers together.
        pauses: The intervals of reads and checks.

    Attributes:
        client_id: Redis's id of the connection while XREAD blocks; None if it does not block, or if the id is unknown.
    """

    def __init__(
        self,
        target: RedisTarget,
        publisher: Publisher,
        audience: Audience,
        unblocker: Waker,
        readers: int = 1,
        pauses: Pauses = USUAL_PAUSES,
    ) -> None:
        self.client_id: int | None = None
        self._target = target
        self._publisher = publisher
        self._unblocker = unblocker
        self._schedule = Schedule(audience, readers, pauses)
        self._gap_check = GapCheck(publisher)
        self._count = FIRST_COUNT
        self._woken = anyio.Event()

    @property
    def streams(self) -> Collection[ReadState]:
        """The streams that this reader reads."""
        return self._schedule.streams

    @property
    def is_woken(self) -> bool:
        """Whether `wake` was called and the reader has not yet reacted."""
        return self._woken.is_set()

    def add(self, stream: ReadState) -> None:
        """Read one more stream from now on."""
        self._schedule.add(stream)
        self.wake()

    def remove(self, stream: ReadState) -> None:
        """Stop reading a stream, and drop its entries that still arrive."""
        stream.is_removed = True
        self._schedule.remove(stream)

    def wake(self) -> None:
        """Have `run` read all streams now, also those that it would read only after an interval. Never waits."""
        self._schedule.hurry()
        self._woken.set()
        if self.client_id is not None:
            self._unblocker.unblock()

    async def run(self) -> None:
        """Read and publish until cancelled. Trouble with Redis is logged, and reading is tried again.

        Any exception that this method raises is a bug.
        """
        retry = Retry(LONGEST_PAUSE_SECONDS)
        while True:
            try:
                connection = await Connection.open(self._target)
                try:
                    if retry.failures:
                        _log.info("Redis at %s answers again", self._target.address)
                    retry.reset()
                    await self._read_on(connection)
                finally:
                    connection.close()
            except (RedisUnavailableError, RedisRefusedError) as error:
                pause = retry.fail()
                if retry.failures in LOGGED_FAILURES or retry.failures % 10 == 0:
                    _log.warning("%s; %s waits and tries again", error, self._names())
                for stream in self.streams:
                    stream.problem = str(error)
                await anyio.sleep(pause)

    def _names(self) -> str:
        names = [stream.queue.label for stream in self.streams]
        return f'queue "{names[0]}"' if len(names) == 1 else f"the reader of {len(names)} queues"

    async def _read_on(self, connection: Connection) -> None:
        """Read and check the streams until the connection breaks, which raises RedisUnavailableError."""
        (client_id,) = await connection.execute(("CLIENT", "ID"), timeout_seconds=self._schedule.pauses.answer_seconds)
        schedule = self._schedule
        schedule.begin()
        while True:
            if self._woken.is_set():
                self._woken = anyio.Event()
            now = anyio.current_time()
            if due := schedule.to_check(now):
                await self._gap_check.examine(connection, due)
            schedule.sort(now)
            lazy = schedule.to_read_lazily(now)
            for start in range(0, len(lazy), STREAMS_PER_READ):
                await self._read(connection, lazy[start : start + STREAMS_PER_READ])
            seconds = schedule.seconds_left(anyio.current_time())
            if not schedule.eager:
                with anyio.move_on_after(seconds):
                    await self._woken.wait()
            elif self._woken.is_set():
                await self._read(connection, schedule.eager)
            else:
                await self._wait(connection, client_id, seconds)

    async def _wait(self, connection: Connection, client_id: Reply, seconds: float) -> None:
        """Wait with XREAD BLOCK for entries of the streams in `Schedule.eager`, and publish them.

        Args:
            connection: The connection to read from.
            client_id: Redis's id of the connection, with which `wake` ends the wait early. If Redis did not tell the
                id, or has not shown that it permits this, the wait takes at most 0.25 s.
            seconds: How long to wait at most.
        """
        if isinstance(client_id, int) and self._unblocker.works:
            self.client_id = client_id
        else:
            seconds = min(seconds, IMPATIENT_SECONDS)
        try:
            # At least 1 ms, since BLOCK 0 has no limit.
            await self._read(connection, self._schedule.eager, "BLOCK", int(seconds * 1000) + 1)
        finally:
            self.client_id = None

    async def _read(self, connection: Connection, streams: Sequence[ReadState], *options: str | int) -> None:
        """Read new entries of these streams, and publish them. `options` are those of XREAD."""
        cursors = self._publisher.cursors
        received = connection.received_bytes
        streams = [stream for stream in streams if not stream.is_removed]
        if not streams:
            return
        count = max(1, self._count // len(streams))
        keys = [stream.key for stream in streams]
        after = [cursors[stream.queue.label] for stream in streams]
        command = ("XREAD", "COUNT", count, *options, "STREAMS", *keys, *after)
        reply = await connection.ask(*command, timeout_seconds=self._schedule.pauses.answer_seconds)
        self.client_id = None
        now = anyio.current_time()
        for stream in streams:
            stream.answered(now)
        found = dict(_entries_of(reply))
        if not found:
            return
        read = [(stream, found[stream.key]) for stream in streams if stream.key in found]
        await self._gap_check.check_cursors(connection, [stream for stream, _ in read])
        turn = Turn()
        for stream, entries in read:
            await self._deliver(stream, entries, turn)
        self._schedule.note_read([(stream, len(entries)) for stream, entries in read], count, now)
        self._adapt(sum(len(entries) for _, entries in read), connection.received_bytes - received)

    async def _deliver(self, stream: ReadState, entries: Sequence[Entry], turn: Turn) -> None:
        index = 0
        try:
            while index < len(entries) and not stream.is_removed:
                index = self._publisher.publish(stream.queue.label, entries, index)
                # Not a checkpoint each time, which would cost as much as a few entries that nobody wants.
                await turn.pause()
        finally:
            if not stream.is_removed:
                self._gap_check.note_read(stream, entries[:index])

    def _adapt(self, entries: int, received_bytes: int) -> None:
        if entries:
            most = min(MAX_COUNT, self._count * 2)
            self._count = batch_size(entries, received_bytes, wanted_bytes=REPLY_BYTES, most=most)


def _entries_of(reply: Reply) -> Sequence[KeyAndEntries]:
    """Return the key and the entries of each stream, from XREAD's reply under RESP2. The reply None has no entries."""
    if reply is None:
        return ()
    if not isinstance(reply, list):
        raise RedisUnavailableError(f"Redis answered XREAD with {reply!r}")
    return cast("list[KeyAndEntries]", reply)
