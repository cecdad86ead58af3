"""Which queues there are, and the listeners that tail them.

One listener a queue, up to sixteen; more queues share them, so connections to Redis stay constant. Every listener is
supervised: one that crashes is started again from the last entry that was published, and no socket closes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from jobws.bullmq.connect import Connection, RedisTarget
from jobws.bullmq.keys import Queue, meta_pattern, queue_of_meta
from jobws.bullmq.listener import Listener
from jobws.bullmq.tail import Tail
from jobws.bullmq.unblock import Unblocker
from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.protocol.identifiers import START, before, position
from jobws.server.supervise import Health, supervise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anyio.abc import TaskGroup

    from jobws.bullmq.schedule import Pauses
    from jobws.hub.fanout import Fanout

MAX_LISTENERS: Final = 16
# A queue without a successful read for so long makes the bridge unready.
STALE_SECONDS: Final = 5.0
# A stream that is not read up to its end after so long is not waited for.
BEHIND_SECONDS: Final = 5.0
SCAN_COUNT: Final = 1000
TIMEOUT_SECONDS: Final = 5.0

_log: Final = logging.getLogger(__name__)


class Queues:
    """The queues that the bridge serves.

    Args:
        target: Where Redis is.
        configured: The queues that are known from the start.
        discover_prefix: Look for other queues under this prefix, too; None: do not. Also an attribute.
        discover_seconds: How often to look.
        fanout: Takes what is read.
        pauses: How long listeners wait for what.

    Attributes:
        by_label: The queues. Discovery adds to it.
        health: Of each listener, in the order of their start.
    """

    def __init__(
        self,
        target: RedisTarget,
        configured: Iterable[Queue],
        discover_prefix: str | None,
        discover_seconds: float,
        fanout: Fanout,
        pauses: Pauses,
    ) -> None:
        self._pauses = pauses
        self.by_label: dict[str, Queue] = {}
        self.health: list[Health] = []
        self._target = target
        self._configured = list(configured)
        self.discover_prefix = discover_prefix
        self._discover_seconds = discover_seconds
        self._fanout = fanout
        self._listeners: list[Listener] = []
        self._tails: dict[str, Tail] = {}
        self._listener_of: dict[Tail, Listener] = {}
        self._unblocker = Unblocker(target, self._listeners)
        self._scanned = anyio.Event()
        for queue in self._configured:
            self.by_label[queue.label] = queue
            self._tails[queue.label] = Tail(queue)

    def start(self, tasks: TaskGroup) -> None:
        """Start the listeners, and discovery, in `tasks`; returns at once."""
        tasks.start_soon(supervise, "what ends blocked reads", self._unblocker.run, Health())
        for queue in self._configured:
            self._listen(self._tails[queue.label], tasks)
        if self.discover_prefix is None:
            self._scanned.set()
        else:
            tasks.start_soon(supervise, "discovery", lambda: self._discover(tasks), Health())

    async def ready(self, labels: Iterable[str]) -> None:
        """Wait until what the queues' streams hold is known, and what is written from now on will be published.

        A queue that is forgotten meanwhile is not waited for.
        """
        # Of ten thousand queues next to none has to be waited for.
        for tail in [tail for label in labels if (tail := self._tails.get(label)) and not self._is_ready(tail)]:
            await tail.ready.wait()
            while not self._is_ready(tail):
                await tail.wait_moved()

    def _is_ready(self, tail: Tail) -> bool:
        return tail.is_removed or (tail.ready.is_set() and self._fanout.recent.filled(tail.queue.label))

    async def passed(self, ends: Mapping[str, str]) -> None:
        """Wait until everything up to those stream ids was published, but not longer than 5 s.

        A queue that is forgotten meanwhile is not waited for.
        """
        behind = [
            (tail, end) for label, end in ends.items() if (tail := self._tails.get(label)) and self._lags(tail, end)
        ]
        for listener in {self._listener_of[tail] for tail, _ in behind if tail.is_lazy}:
            listener.wake()
        with anyio.move_on_after(BEHIND_SECONDS):
            for tail, end in behind:
                while self._lags(tail, end):
                    await tail.wait_moved()

    def _lags(self, tail: Tail, end: str) -> bool:
        cursor = self._fanout.cursors.get(tail.queue.label, START)
        return cursor != end and not tail.is_removed and position(cursor) < position(end)

    def is_wanted(self, queue: str) -> bool:
        """Whether somebody waits for the queue's next event.

        Where there are few queues, that is also so while somebody waits for a job that none of them has yet.
        """
        rooms = self._fanout.rooms
        return rooms.listened(queue) or (rooms.seeking and len(self._tails) <= MAX_LISTENERS)

    def note_listened(self, queue: str | None) -> None:
        """Somebody begins or ceases to listen to a queue; None: to all queues, for a job that no queue has yet."""
        tails = self._tails.values() if queue is None else filter(None, [self._tails.get(queue)])
        for tail in list(tails):
            if not tail.is_wanted and self.is_wanted(tail.queue.label):
                tail.is_wanted = True
                tail.check_by(anyio.current_time() + self._pauses.verify_seconds)
                self._listener_of[tail].wake()

    async def scanned(self) -> None:
        """Wait until discovery has looked once."""
        await self._scanned.wait()

    def last_reads(self) -> dict[str, float | None]:
        """By label, when the queue was last read, in seconds on anyio's clock; None: not yet."""
        return {label: tail.last_read for label, tail in self._tails.items()}

    def problems(self, now: float) -> dict[str, str]:
        """By label, why a queue is not being read. Empty: all is well."""
        found: dict[str, str] = {} if self._scanned.is_set() else {"*": "not discovered yet"}
        for label, tail in self._tails.items():
            if tail.problem is not None:
                found[label] = tail.problem
            elif not self._fanout.recent.filled(label):
                found[label] = "what its stream holds is being read"
            elif tail.last_read is None or now - tail.last_read > STALE_SECONDS:
                found[label] = f"no successful read for {STALE_SECONDS:g} s"
        for number, health in enumerate(self.health):
            if (crash := health.problem(now)) is not None:
                found[f"listener {number}"] = crash
        return found

    def _listen(self, tail: Tail, tasks: TaskGroup) -> None:
        if len(self._listeners) < MAX_LISTENERS:
            listener = Listener(self._target, self._fanout, self, self._unblocker, MAX_LISTENERS, self._pauses)
            self._listeners.append(listener)
            health = Health()
            self.health.append(health)
            tasks.start_soon(supervise, f'the listener of "{tail.queue.label}"', listener.run, health)
        else:
            listener = min(self._listeners, key=lambda each: len(each.tails))
        self._listener_of[tail] = listener
        listener.add(tail)

    async def _discover(self, tasks: TaskGroup) -> None:
        """Look for new queues for ever."""
        connection: Connection | None = None
        previous: str | None = None
        try:
            while True:
                try:
                    if connection is None or connection.closed:
                        connection = await Connection.open(self._target)
                    previous = await self._scan(connection, previous, tasks)
                    self._scanned.set()
                except (RedisUnavailableError, RedisRefusedError) as error:
                    _log.debug("discovery waits: %s", error)
                await anyio.sleep(self._discover_seconds if self._scanned.is_set() else 0.5)
        finally:
            if connection is not None:
                connection.close()

    async def _scan(self, connection: Connection, previous: str | None, tasks: TaskGroup) -> str:
        """Add what is new, and return where queues are read from that the next scan finds.

        A queue that a later scan finds is read from the time of the scan before: that it was not there then means
        that its entries are younger.
        """
        time = await connection.ask("TIME", timeout_seconds=TIMEOUT_SECONDS)
        for name in await queue_names(connection, str(self.discover_prefix)):
            known = self.by_label.get(name)
            if known is not None or any(
                (queue.prefix, queue.name) == (self.discover_prefix, name) for queue in self.by_label.values()
            ):
                if known is not None and (known.prefix, known.name) != (self.discover_prefix, name):
                    _log.debug('queue %s:%s has no label: "%s" is taken', self.discover_prefix, name, name)
                continue
            queue = Queue(name, str(self.discover_prefix), name)
            if previous is not None:
                self._fanout.cursors[name] = previous
                _log.info('found queue "%s"', name)
            self._tails[name] = Tail(queue)
            self.by_label[name] = queue
            self._listen(self._tails[name], tasks)
        seconds, microseconds = (
            (int(part) for part in time if isinstance(part, bytes)) if isinstance(time, list) else (0, 0)
        )
        # Entries of the very millisecond are younger, too.
        return before(f"{seconds * 1000 + microseconds // 1000}-0")


async def queue_names(connection: Connection, prefix: str | None) -> list[str]:
    """The names of BullMQ's queues under `prefix`, in order; with None, of all queues, as `prefix:name`.

    Every queue has a `meta` hash with `opts.maxLenEvents`; its `version` may be missing (bullmq-wire: queues fed by
    Python or by a FlowProducer), and another key may end in `:meta`.

    Raises:
        RedisUnavailableError: Redis did not answer.
    """
    names: set[str] = set()
    cursor: bytes | str = "0"
    while True:
        reply = await connection.ask(
            *("SCAN", cursor, "MATCH", meta_pattern(prefix), "COUNT", SCAN_COUNT, "TYPE", "hash"),
            timeout_seconds=TIMEOUT_SECONDS,
        )
        if not (isinstance(reply, list) and isinstance(reply[0], bytes) and isinstance(reply[1], list)):
            raise RedisUnavailableError(f"Redis answered SCAN with {reply!r}")
        keys = [key for key in reply[1] if isinstance(key, bytes)]
        limits = await connection.execute(
            *(("HEXISTS", key, "opts.maxLenEvents") for key in keys), timeout_seconds=TIMEOUT_SECONDS
        )
        for key, exists in zip(keys, limits, strict=True):
            name = queue_of_meta(key, prefix)
            if exists == 1 and name is not None:
                names.add(name)
        cursor = reply[0]
        if cursor == b"0":
            return sorted(names)
