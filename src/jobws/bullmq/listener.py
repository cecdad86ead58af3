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
import hiredis

from jobws.bullmq.connect import Connection, RedisTarget, Reply
from jobws.errors import RedisRefusedError, RedisUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.bullmq.events import Entry
    from jobws.bullmq.keys import Queue
    from jobws.protocol.messages import Cursor

Stream: TypeAlias = "tuple[bytes, Sequence[Entry]]"

# Health turns red after 5 s without a successful read, so an idle read must come back well before.
BLOCK_MILLISECONDS: Final = 2000
READ_TIMEOUT_SECONDS: Final = 5.0
FIRST_COUNT: Final = 100
# More entries a read are more frames a send.
MAX_COUNT: Final = 10_000
# Entries hold whole results: the count adapts so that one reply stays near this size.
REPLY_BYTES: Final = 8 * 1024 * 1024
RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0)

_log: Final = logging.getLogger(__name__)


class Publish(Protocol):
    """`Fanout.publish`: takes entries from `start` on, and says how far it came."""

    def __call__(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        """See `jobws.hub.fanout.Fanout.publish`."""
        ...


class Tail:
    """One queue's stream as a listener reads it.

    Attributes:
        positioned: Set once the listener knows where it reads from: what is written after that is not missed.
        last_read: When Redis last answered a read of this stream, on anyio's clock; None: never.
        problem: Why it is not being read now; None: it is.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.key = queue.key("events")
        self.positioned = anyio.Event()
        self.last_read: float | None = None
        self.problem: str | None = "not read yet"


class Listener:
    """Reads one or several streams over one connection.

    Args:
        target: Where Redis is.
        cursors: By label, the id after which to read. Filled for a queue that is not in it, and advanced by whoever
            publishes.
        publish: Takes what was read.

    Attributes:
        tails: The streams to read; may be added to at any time, and takes effect at the next read.
    """

    def __init__(self, target: RedisTarget, cursors: Cursor, publish: Publish) -> None:
        self.tails: list[Tail] = []
        self._target = target
        self._cursors = cursors
        self._publish = publish
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
        readable: list[Tail] = []
        known = 0
        while True:
            if known != len(self.tails):
                known = len(self.tails)
                readable = await self._position(connection)
            if not readable:
                await anyio.sleep(RETRY_SECONDS[-1])
                continue
            received = connection.received_bytes
            reply = await connection.ask(
                *("XREAD", "COUNT", self._count, "BLOCK", BLOCK_MILLISECONDS, "STREAMS"),
                *(tail.key for tail in readable),
                *(self._cursors[tail.queue.label] for tail in readable),
                timeout_seconds=READ_TIMEOUT_SECONDS,
            )
            now = anyio.current_time()
            for tail in readable:
                tail.last_read = now
                tail.problem = None
            streams = _streams(reply)
            await self._deliver(streams, readable)
            self._adapt(sum(len(entries) for _, entries in streams), connection.received_bytes - received)

    async def _position(self, connection: Connection) -> list[Tail]:
        """The tails that can be read. A key that is no stream must not stop the others, which share the XREAD."""
        tails = list(self.tails)
        replies = await connection.execute(
            *(("XREVRANGE", tail.key, "+", "-", "COUNT", 1) for tail in tails), timeout_seconds=READ_TIMEOUT_SECONDS
        )
        readable = []
        for tail, reply in zip(tails, replies, strict=True):
            if not isinstance(reply, list):
                if not (isinstance(reply, hiredis.ReplyError) and str(reply).startswith("WRONGTYPE")):
                    raise RedisUnavailableError(f"Redis cannot read streams now: {reply!r}")
                if tail.problem is None or not tail.problem.startswith("WRONGTYPE"):
                    _log.error('queue "%s" is not read: %s holds no stream', tail.queue.label, tail.key.decode())
                tail.problem = str(reply)
                continue
            last = _entry_id(reply[0]) if reply else "0-0"
            self._cursors.setdefault(tail.queue.label, last)
            tail.positioned.set()
            tail.last_read = anyio.current_time()
            tail.problem = None
            readable.append(tail)
        return readable

    async def _deliver(self, streams: Sequence[Stream], readable: Sequence[Tail]) -> None:
        labels = {tail.key: tail.queue.label for tail in readable}
        for key, entries in streams:
            index = 0
            while index < len(entries):
                index = self._publish(labels[key], entries, index)
                # Everybody else's turn between two shares of a large batch.
                await anyio.lowlevel.checkpoint()

    def _adapt(self, entries: int, received_bytes: int) -> None:
        if entries:
            fitting = REPLY_BYTES * entries // max(received_bytes, 1)
            self._count = max(1, min(MAX_COUNT, fitting, self._count * 2))


def _streams(reply: Reply) -> Sequence[Stream]:
    """The streams of XREAD's answer under RESP2: key and entries each; a time-out is answered with nil."""
    if reply is None:
        return ()
    if not isinstance(reply, list):
        raise RedisUnavailableError(f"Redis answered XREAD with {reply!r}")
    return cast("list[Stream]", reply)


def _entry_id(entry: Reply) -> str:
    """The id of a stream entry of a reply."""
    stream_id = entry[0] if isinstance(entry, list) else None
    if not isinstance(stream_id, bytes):
        raise RedisUnavailableError("Redis answered with something that is no stream entry")
    return stream_id.decode()
