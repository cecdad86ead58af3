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
    from collections.abc import Sequence

    from jobws.bullmq.events import Entry
    from jobws.bullmq.tail import Tail

ReadStream: TypeAlias = "tuple[bytes, Sequence[Entry]]"

# Health turns red after 5 s without a successful read, so an idle read must come back well before.
BLOCK_MILLISECONDS: Final = 2000
FIRST_COUNT: Final = 100
RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0)

_log: Final = logging.getLogger(__name__)


class Hub(gap_check.Hub, Protocol):
    """What a listener tells: `hub.fanout.Fanout`."""

    def publish(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        """Take entries from `start` on, and say how far it came."""
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
        self._gap_check = GapCheck(hub)
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
            now = anyio.current_time()
            await self._gap_check.examine(connection, [tail for tail in self.tails if now >= tail.check_at])
            readable = [tail for tail in self.tails if tail.ready.is_set() and not _is_no_stream(tail)]
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
            await self._gap_check.look_behind(connection, [by_key[key] for key, _ in streams])
            for key, entries in streams:
                await self._deliver(by_key[key], entries)
            self._adapt(sum(len(entries) for _, entries in streams), connection.received_bytes - received)

    def _until_check(self) -> int:
        """How many milliseconds to wait for entries; not 0, which is for ever."""
        left = min((tail.check_at for tail in self.tails), default=0.0) - anyio.current_time()
        return max(1, min(BLOCK_MILLISECONDS, int(left * 1000) + 1))

    async def _deliver(self, tail: Tail, entries: Sequence[Entry]) -> None:
        index = 0
        try:
            while index < len(entries):
                index = self._hub.publish(tail.queue.label, entries, index)
                # Everybody else's turn between two shares of a large batch.
                await anyio.lowlevel.checkpoint()
        finally:
            self._gap_check.note_read(tail, entries[:index])

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
