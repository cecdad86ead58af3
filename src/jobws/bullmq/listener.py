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

from jobws.bullmq import gap_check
from jobws.bullmq.backfill import MAX_COUNT, READ_TIMEOUT_SECONDS, REPLY_BYTES
from jobws.bullmq.connect import Connection, RedisTarget, Reply
from jobws.bullmq.gap_check import GapCheck
from jobws.errors import RedisRefusedError, RedisUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from jobws.bullmq.events import Entry
    from jobws.bullmq.tail import Tail

ReadStream: TypeAlias = "tuple[bytes, Sequence[Entry]]"

# Health turns red after 5 s without a successful read, so an idle read must come back well before.
BLOCK_MILLISECONDS: Final = 2000
# Where a blocked read cannot be ended early, new streams are read this late.
IMPATIENT_MILLISECONDS: Final = 250
FIRST_COUNT: Final = 100
RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
LAZY_SECONDS: Final = 0.25
"""Between two reads of streams that nobody listens to, as long as they are few."""
# A read of a stream that has nothing new takes Redis about 1 us; all of them may take 1 % of its time.
LAZY_SECONDS_PER_STREAM: Final = 0.0001
# A check takes us 100 us; those of streams that nobody listens to may take half a percent of a core.
CHECK_SECONDS_PER_STREAM: Final = 0.02
# In one command: each may have an entry of a megabyte.
STREAMS_PER_READ: Final = 250
# Who listens to what is asked so often without a sign of a change.
SORT_SECONDS: Final = 1.0

_log: Final = logging.getLogger(__name__)


class Audience(Protocol):
    """Who listens to which queue."""

    def is_wanted(self, queue: str) -> bool:
        """Whether somebody waits for the queue's next event, so that it is to be read immediately."""
        ...


class Hub(gap_check.Hub, Protocol):
    """What a listener tells: `hub.fanout.Fanout`."""

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
        unblock: Ends the blocked read of this listener, if it can. It must not wait.
        listeners: How many there are, which share what idle streams may cost.

    Attributes:
        client_id: By which Redis knows the connection whose read is blocked; None: none is, or it is not known.
        may_unblock: Whether a blocked read can be ended early; else none is long.
    """

    def __init__(
        self,
        target: RedisTarget,
        hub: Hub,
        audience: Audience,
        unblock: Callable[[Listener], None],
        listeners: int = 1,
    ) -> None:
        self.client_id: int | None = None
        self.may_unblock = True
        self._tails: dict[Tail, None] = {}
        self._target = target
        self._hub = hub
        self._audience = audience
        self._unblock = unblock
        self._listeners = listeners
        self._gap_check = GapCheck(hub)
        self._count = FIRST_COUNT
        self._woken = anyio.Event()
        self._eager: list[Tail] = []
        self._lazy: list[Tail] = []
        self._check_at = self._sort_at = self._lazy_at = 0.0

    @property
    def tails(self) -> Collection[Tail]:
        """The streams that it reads."""
        return self._tails.keys()

    @property
    def is_woken(self) -> bool:
        """Whether it has something to do that it does not know of yet."""
        return self._woken.is_set()

    def add(self, tail: Tail) -> None:
        """Read this stream, too, from now on."""
        self._tails[tail] = None
        self.wake()

    def remove(self, tail: Tail) -> None:
        """Read this stream no more; what is on its way is dropped."""
        tail.is_removed = True
        del self._tails[tail]

    def wake(self) -> None:
        """Read all streams now, those that nobody listened to until now, too."""
        self._lazy_at = 0.0
        self._woken.set()
        if self.client_id is not None:
            self._unblock(self)

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
                for tail in self._tails:
                    tail.problem = str(error)
                # Full jitter: many listeners must not knock at a restarting Redis in step.
                await anyio.sleep(random.uniform(wait / 2, wait))  # noqa: S311 - not a secret

    def _names(self) -> str:
        names = [tail.queue.label for tail in self._tails]
        return f'queue "{names[0]}"' if len(names) == 1 else f"the listener of {len(names)} queues"

    async def _read_on(self, connection: Connection) -> None:
        """Read until the connection breaks."""
        (client_id,) = await connection.execute(("CLIENT", "ID"), timeout_seconds=READ_TIMEOUT_SECONDS)
        for tail in self._tails:
            tail.check_at = 0.0
        self._check_at = self._lazy_at = 0.0
        while True:
            if self._woken.is_set():
                self._woken = anyio.Event()
                self._check_at = 0.0
            now = anyio.current_time()
            if now >= self._check_at:
                await self._check(connection, now)
            if now >= self._sort_at:
                self._sort(now)
            if self._lazy and now >= self._lazy_at:
                await self._read_lazily(connection, now)
            milliseconds = self._until_due()
            if not self._eager:
                with anyio.move_on_after(milliseconds / 1000):
                    await self._woken.wait()
            elif self._woken.is_set():
                await self._read(connection, self._eager)
            else:
                if isinstance(client_id, int) and self.may_unblock:
                    self.client_id = client_id
                else:
                    milliseconds = min(milliseconds, IMPATIENT_MILLISECONDS)
                try:
                    await self._read(connection, self._eager, "BLOCK", milliseconds)
                finally:
                    self.client_id = None

    async def _check(self, connection: Connection, now: float) -> None:
        """Check the streams for which it is time."""
        due = [tail for tail in self._tails if now >= tail.check_at]
        if due:
            await self._gap_check.examine(connection, due, max(gap_check.CHECK_SECONDS, self._spread_seconds))
        self._sort_at = 0.0
        wanted = (tail.check_at for tail in self._tails if tail.is_wanted)
        unwanted = (tail.check_at for tail in self._tails if not tail.is_wanted)
        # Those that nobody waits for are checked together.
        together = max(now + gap_check.VERIFY_SECONDS, min(unwanted, default=float("inf")))
        self._check_at = min(now + BLOCK_MILLISECONDS / 1000, together, *wanted)

    @property
    def _spread_seconds(self) -> float:
        """Between two checks of a stream that nobody waits for, so that those of all streams cost little."""
        return len(self._tails) * self._listeners * CHECK_SECONDS_PER_STREAM

    def _sort(self, now: float) -> None:
        """Tell the streams to wait for from those to read now and then. A key that is no stream is neither.

        A stream that nobody waits for is waited for all the same where that costs nothing: while it is quiet, and this
        listener waits for no other one on somebody's behalf.
        """
        self._sort_at = now + SORT_SECONDS
        readable = [tail for tail in self._tails if tail.ready.is_set() and not _is_no_stream(tail)]
        is_wanted = self._audience.is_wanted
        for tail in readable:
            tail.is_wanted = not tail.may_be_lazy(now) or is_wanted(tail.queue.label)
        has_quiet = not any(tail.is_wanted for tail in readable)
        for tail in readable:
            tail.is_lazy = not tail.is_wanted and not (has_quiet and tail.pace.is_quiet(now))
        self._eager = [tail for tail in readable if not tail.is_lazy]
        self._lazy = [tail for tail in readable if tail.is_lazy]

    async def _read_lazily(self, connection: Connection, now: float) -> None:
        lazy = self._lazy
        self._lazy_at = now + max(LAZY_SECONDS, len(lazy) * LAZY_SECONDS_PER_STREAM * self._listeners)
        for start in range(0, len(lazy), STREAMS_PER_READ):
            await self._read(connection, lazy[start : start + STREAMS_PER_READ])

    def _until_due(self) -> int:
        """In how many milliseconds there is something to do besides waiting for entries; not 0, which is for ever."""
        due = min(self._check_at, self._lazy_at if self._lazy else float("inf"))
        return int(max(1, min((due - anyio.current_time()) * 1000 + 1, BLOCK_MILLISECONDS)))

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
            timeout_seconds=READ_TIMEOUT_SECONDS,
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
        for tail, entries in streams:
            await self._deliver(tail, entries)
            if tail.is_lazy and len(entries) == count:
                self._lazy_at = 0.0  # there is more
            self._check_at = min(self._check_at, tail.check_at)
        self._adapt(sum(len(entries) for _, entries in streams), connection.received_bytes - received)

    async def _deliver(self, tail: Tail, entries: Sequence[Entry]) -> None:
        index = 0
        try:
            while index < len(entries) and not tail.is_removed:
                index = self._hub.publish(tail.queue.label, entries, index)
                # Everybody else's turn between two shares of a large batch.
                await anyio.lowlevel.checkpoint()
        finally:
            if not tail.is_removed:
                pause = 0.0 if tail.is_wanted else self._spread_seconds
                self._gap_check.note_read(tail, entries[:index], max(gap_check.VERIFY_SECONDS, pause))

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
