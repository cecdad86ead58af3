"""Tails event streams from a cursor.

Never from `$`: the cursor is taken once, and every read goes on from the entry that was published last, so nothing that
was written meanwhile is missed. A broken connection is made again, for ever.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

import anyio

from jobws.bullmq.streams import gap_check
from jobws.bullmq.streams.backfill import MAX_COUNT, REPLY_BYTES
from jobws.bullmq.streams.gap_check import GapCheck
from jobws.bullmq.streams.schedule import USUAL_PAUSES, Schedule
from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.redis.batch_size import batch_size
from jobws.redis.connection import Connection, RedisTarget, Reply
from jobws.redis.retry import Retry
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jobws.bullmq.streams.read_state import Tail
    from jobws.bullmq.streams.schedule import Audience, Pauses
    from jobws.redis.commands import Entry

ReadStream: TypeAlias = "tuple[bytes, Sequence[Entry]]"

# Where a blocked read cannot be ended early, new streams are read this late.
IMPATIENT_SECONDS: Final = 0.25
FIRST_COUNT: Final = 100
LONGEST_PAUSE_SECONDS: Final = 2.0
# The first attempts come quickly and are many; then one line each tenth says that it is still tried.
TOLD_FAILURES: Final = (1, 5)
# In one command: each may have an entry of a megabyte.
STREAMS_PER_READ: Final = 250

_log: Final = logging.getLogger(__name__)


class Waker(Protocol):
    """What ends blocked reads: `unblock.Unblocker`."""

    works: bool

    def unblock(self) -> None:
        """End those of the listeners that are woken, soon. Never waits."""
        ...


class Hub(gap_check.Hub, Protocol):
    """What a listener tells: `hub.jobs.fanout.Fanout`."""

    def publish(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        """Take entries from `start` on, and say how far it came."""
        ...


class Listener:
    """Reads one or several streams over one connection.

    Streams that somebody waits for are read in a blocked read. The others are read a few times a second, all in one go,
    since to be woken for each of their entries would cost thirty times as much.

    Args:
        target: Where Redis is.
        hub: Takes what was read. Its cursors say after which id to read.
        audience: Who listens to which queue.
        unblocker: Ends the blocked read of this listener, if it can.
        listeners: How many there are, which share what idle streams may cost.
        pauses: How long to wait for what.

    Attributes:
        client_id: By which Redis knows the connection whose read is blocked; None: none is, or it is not known.
    """

    def __init__(
        self,
        target: RedisTarget,
        hub: Hub,
        audience: Audience,
        unblocker: Waker,
        listeners: int = 1,
        pauses: Pauses = USUAL_PAUSES,
    ) -> None:
        self.client_id: int | None = None
        self._target = target
        self._hub = hub
        self._unblocker = unblocker
        self._schedule = Schedule(audience, listeners, pauses)
        self._gap_check = GapCheck(hub)
        self._count = FIRST_COUNT
        self._woken = anyio.Event()

    @property
    def tails(self) -> Collection[Tail]:
        """The streams that it reads."""
        return self._schedule.tails

    @property
    def is_woken(self) -> bool:
        """Whether it was woken and has not looked yet what there is to do."""
        return self._woken.is_set()

    def add(self, tail: Tail) -> None:
        """Read this stream, too, from now on."""
        self._schedule.add(tail)
        self.wake()

    def remove(self, tail: Tail) -> None:
        """Read this stream no more; what is on its way is dropped."""
        tail.is_removed = True
        self._schedule.remove(tail)

    def wake(self) -> None:
        """Read all streams now, those that nobody listened to until now, too."""
        self._schedule.hurry()
        self._woken.set()
        if self.client_id is not None:
            self._unblocker.unblock()

    async def run(self) -> None:
        """Read and publish until cancelled. Trouble with Redis is logged and tried again; only bugs come out."""
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
                if retry.failures in TOLD_FAILURES or retry.failures % 10 == 0:
                    _log.warning("%s; %s waits and tries again", error, self._names())
                for tail in self.tails:
                    tail.problem = str(error)
                await anyio.sleep(pause)

    def _names(self) -> str:
        names = [tail.queue.label for tail in self.tails]
        return f'queue "{names[0]}"' if len(names) == 1 else f"the listener of {len(names)} queues"

    async def _read_on(self, connection: Connection) -> None:
        """Read until the connection breaks."""
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
        """Wait for entries of the streams that are waited for, and publish them."""
        if isinstance(client_id, int) and self._unblocker.works:
            self.client_id = client_id
        else:
            seconds = min(seconds, IMPATIENT_SECONDS)
        try:
            # Not 0 ms, which is for ever.
            await self._read(connection, self._schedule.eager, "BLOCK", int(seconds * 1000) + 1)
        finally:
            self.client_id = None

    async def _read(self, connection: Connection, tails: Sequence[Tail], *options: str | int) -> None:
        """Read what came to these streams, and publish it. `options` are XREAD's."""
        cursors = self._hub.cursors
        received = connection.received_bytes
        tails = [tail for tail in tails if not tail.is_removed]
        if not tails:
            return
        count = max(1, self._count // len(tails))
        reply = await connection.ask(
            *("XREAD", "COUNT", count, *options, "STREAMS"),
            *[tail.key for tail in tails],
            *[cursors[tail.queue.label] for tail in tails],
            timeout_seconds=self._schedule.pauses.answer_seconds,
        )
        self.client_id = None
        now = anyio.current_time()
        for tail in tails:
            tail.answered(now)
        found = dict(_streams(reply))
        if not found:
            return
        streams = [(tail, found[tail.key]) for tail in tails if tail.key in found]
        await self._gap_check.look_behind(connection, [tail for tail, _ in streams])
        turn = Turn()
        for tail, entries in streams:
            await self._deliver(tail, entries, turn)
        self._schedule.note_read([(tail, len(entries)) for tail, entries in streams], count, now)
        self._adapt(sum(len(entries) for _, entries in streams), connection.received_bytes - received)

    async def _deliver(self, tail: Tail, entries: Sequence[Entry], turn: Turn) -> None:
        index = 0
        try:
            while index < len(entries) and not tail.is_removed:
                index = self._hub.publish(tail.queue.label, entries, index)
                # Not after each stream: a checkpoint costs as much as a few entries of those that nobody wants.
                await turn.pause()
        finally:
            if not tail.is_removed:
                self._gap_check.note_read(tail, entries[:index])

    def _adapt(self, entries: int, received_bytes: int) -> None:
        if entries:
            most = min(MAX_COUNT, self._count * 2)
            self._count = batch_size(entries, received_bytes, wanted_bytes=REPLY_BYTES, most=most)


def _streams(reply: Reply) -> Sequence[ReadStream]:
    """The streams of XREAD's answer under RESP2: key and entries each; a time-out is answered with nil."""
    if reply is None:
        return ()
    if not isinstance(reply, list):
        raise RedisUnavailableError(f"Redis answered XREAD with {reply!r}")
    return cast("list[ReadStream]", reply)
