"""The queues that are known, and the readers that read their streams.

There is a reader for each queue. If there are more than sixteen queues, they share sixteen readers, since each reader
has a connection to Redis. A reader that crashes starts again after the last entry that was published, and no client is
disconnected.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import anyio

from jobws.bullmq.keys import DISCOVER, Queue
from jobws.bullmq.reading.discovery import Discovery
from jobws.bullmq.reading.read_state import Tail
from jobws.bullmq.reading.reader import StreamReader
from jobws.bullmq.reading.unblock import Unblocker
from jobws.protocol.identifiers import START, can_be_queue, position
from jobws.server.supervisor import Health, supervise

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping

    from anyio.abc import TaskGroup

    from jobws.bullmq.reading.schedule import Pauses
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.history import KnownStream
    from jobws.redis.connection import RedisTarget

MAX_READERS: Final = 16
# If a queue was not read successfully for this time, `/readyz` answers that the bridge is not ready.
STALE_SECONDS: Final = 5.0
# How long to wait until a stream is read up to its end.
LAG_SECONDS: Final = 5.0


class Queues:
    """The queues that the bridge serves.

    Args:
        target: Where Redis is.
        configured: The queues that are known from the start.
        discover_prefix: The prefix under which discovery finds other queues. None means that there is no discovery.
        discover_seconds: The time between two passes of discovery.
        forget_seconds: How long the keys of a queue that discovery found must be gone before the queue is forgotten.
        fanout: Publishes the events that are read.
        pauses: The pauses of readers.

    Attributes:
        by_label: The queues. Discovery adds new ones and removes those that are gone.
        discovery: Finds other queues. None if there is no discovery.
        health: The health of each reader, in the order of their start.
    """

    def __init__(
        self,
        target: RedisTarget,
        configured: Iterable[Queue],
        discover_prefix: str | None,
        discover_seconds: float,
        forget_seconds: float,
        fanout: Fanout,
        pauses: Pauses,
    ) -> None:
        self._pauses = pauses
        self.by_label: dict[str, Queue] = {}
        self.health: list[Health] = []
        self._target = target
        self._configured = list(configured)
        self._fanout = fanout
        self._readers: list[StreamReader] = []
        self._tails: dict[str, Tail] = {}
        self._tasks: TaskGroup | None = None
        self.discovery: Discovery | None = None
        if discover_prefix is not None:
            self.discovery = Discovery(target, discover_prefix, discover_seconds, forget_seconds, self)
            fanout.knows_all = False
        # The prefix and the name of each configured queue; its label may be another one.
        self._places = {(queue.prefix, queue.name) for queue in self._configured}
        # The queues that subscriptions name and that do not exist yet, in the order in which discovery looks for them.
        self._awaited: dict[str, None] = {}
        self._reader_of: dict[Tail, StreamReader] = {}
        self._unblocker = Unblocker(target, self._readers)
        for queue in self._configured:
            self.by_label[queue.label] = queue
            self._tails[queue.label] = Tail(queue)

    def start(self, tasks: TaskGroup) -> None:
        """Start the readers and discovery in `tasks`. Returns immediately."""
        self._tasks = tasks
        tasks.start_soon(supervise, "what ends blocked reads", self._unblocker.run, Health())
        for queue in self._configured:
            self._listen(self._tails[queue.label], tasks)
        if self.discovery is not None:
            tasks.start_soon(supervise, "discovery", self.discovery.run, Health())

    def is_awaited(self, label: str) -> bool:
        """Whether requests about a queue must wait: it is unknown, or what its stream already held was not read yet."""
        tail = self._tails.get(label)
        return tail is None or not self._is_ready(tail)

    async def ready(self, labels: Iterable[str]) -> None:
        """Wait until what these queues' streams already hold was read, so that all later events will be published.

        This waits until a second reading of a stream has ended, too. It does not wait for unknown queues, or for a
        queue that is forgotten meanwhile.
        """
        # Find those that are not ready first: of ten thousand queues, nearly all are.
        for tail in [tail for label in labels if (tail := self._tails.get(label)) and not self._is_ready(tail)]:
            await tail.ready.wait()
            while not self._is_ready(tail):
                await tail.wait_moved()

    def _is_ready(self, tail: Tail) -> bool:
        return tail.is_removed or (tail.ready.is_set() and self._fanout.history.filled(tail.queue.label))

    async def published(self, ends: Mapping[str, str], known: Mapping[str, KnownStream]) -> None:
        """Wait until all entries up to these stream ids were published, but no longer than LAG_SECONDS.

        This does not wait for a queue that is forgotten meanwhile, or whose stream begins again: the new stream may
        never reach the ids of the old one.

        Args:
            ends: The stream ids, by label.
            known: By label, what was known of the stream before its end was read. If its history is another one now,
                the stream has begun again.
        """

        def lags(tail: Tail, end: str) -> bool:
            label = tail.queue.label
            cursor = self._fanout.cursors.get(label, START)
            return (
                cursor != end
                and not tail.is_removed
                and position(cursor) < position(end)
                and self._fanout.history.is_current(label, known[label].history)
            )

        lagging = [(tail, end) for label, end in ends.items() if (tail := self._tails.get(label)) and lags(tail, end)]
        for reader in {self._reader_of[tail] for tail, _ in lagging if tail.is_lazy}:
            reader.wake()
        with anyio.move_on_after(LAG_SECONDS):
            for tail, end in lagging:
                while lags(tail, end):
                    await tail.wait_moved()

    def is_wanted(self, queue: str) -> bool:
        """Whether a client waits for the queue's next event, so that the event must be read immediately.

        If there are at most MAX_READERS queues, a client that looks for a job id in any queue waits for all of them.
        """
        rooms = self._fanout.rooms
        return rooms.is_listened_to(queue) or (rooms.seeking and len(self._tails) <= MAX_READERS)

    def note_listened(self, queue: str | None) -> None:
        """Have the queue read immediately if clients want its events now. With None, do so for all queues.

        Called when `Rooms.is_listened_to` has changed for the queue, or `Rooms.seeking` (None). Discovery looks for a
        queue that does not exist yet as long as clients want its events. Never waits.
        """
        if queue is not None and self.discovery is not None and not self.knows(queue):
            if self._fanout.rooms.is_listened_to(queue):
                self._awaited[queue] = None
            else:
                self._awaited.pop(queue, None)
        tails = self._tails.values() if queue is None else filter(None, [self._tails.get(queue)])
        for tail in list(tails):
            if not tail.is_wanted and self.is_wanted(tail.queue.label):
                tail.is_wanted = True
                tail.check_by(anyio.current_time() + self._pauses.verify_seconds)
                self._reader_of[tail].wake()

    @property
    def nameable(self) -> Container[str]:
        """The labels that a client may name; a live view.

        With discovery, these include queues that may appear later.
        """
        return self.by_label if self.discovery is None else _Nameable(self)

    async def find(self, labels: Collection[str]) -> None:
        """Have discovery look for unknown queues now, and wait until Redis has answered. Cancelling is safe."""
        if self.discovery is not None:
            await self.discovery.find(labels)

    @property
    def is_scanned(self) -> bool:
        """Whether discovery has finished its first pass, or there is no discovery."""
        return self.discovery is None or self.discovery.is_complete

    async def scanned(self) -> None:
        """Wait until discovery has finished its first pass. Returns immediately if there is no discovery."""
        if self.discovery is not None:
            await self.discovery.scanned()

    # ---- called by discovery (`Registry`) ----

    def knows(self, name: str) -> bool:
        """Return whether a queue of that name is read, or cannot be read since its label belongs to another queue.

        The label `*` belongs to all of them.
        """
        return name == DISCOVER or name in self.by_label or (self._prefix, name) in self._places

    def found(self, name: str, since: str | None) -> None:
        """Add a queue, and read its stream after the stream id `since`. None means: only what is added from now on."""
        queue = Queue(name, self._prefix, name)
        if since is not None:
            self._fanout.cursors[name] = since
        self._awaited.pop(name, None)
        self._tails[name] = Tail(queue)
        self.by_label[name] = queue
        if self._tasks is not None:
            self._listen(self._tails[name], self._tasks)

    def found_all(self) -> None:
        """Note that all queues that existed at the start were found."""
        self._fanout.knows_all = True

    def awaited(self, count: int) -> Collection[str]:
        """Return up to `count` names of unknown queues that subscriptions name, and move them to the end."""
        names = list(islice(self._awaited, count))
        for name in names:
            del self._awaited[name]
            self._awaited[name] = None
        return names

    def is_needed(self, name: str) -> bool:
        """Whether the queue must be kept: a subscription names it, or names none and its job was found in this one."""
        return self._fanout.rooms.is_listened_to(name)

    def forget(self, name: str) -> None:
        """Forget a queue that is gone, and stop reading its stream."""
        tail = self._tails.pop(name)
        del self.by_label[name]
        self._reader_of.pop(tail).remove(tail)
        self._fanout.forget(name)
        # This ends `ready` and `published` for tasks that wait for the queue.
        tail.ready.set()
        tail.moved()

    @property
    def _prefix(self) -> str:
        return "" if self.discovery is None else self.discovery.prefix

    # ---- health ----

    def last_reads(self) -> dict[str, float | None]:
        """Return, by label, when Redis last answered a read of the stream, on anyio's clock; None if it never did."""
        return {label: tail.last_read for label, tail in self._tails.items()}

    def problems(self, now: float) -> dict[str, str]:
        """Return, by label, why a queue is not being read at the time `now` on anyio's clock.

        Other keys are `*` if discovery has not ended its first pass, and `reader 0` or so for readers that crashed.
        """
        found: dict[str, str] = {}
        if not self.is_scanned:
            found["*"] = "not discovered yet"
        for label, tail in self._tails.items():
            if tail.problem is not None:
                found[label] = tail.problem
            elif not self._fanout.history.filled(label):
                found[label] = "what its stream holds is being read"
            elif tail.last_read is None or now - tail.last_read > STALE_SECONDS:
                found[label] = f"no successful read for {STALE_SECONDS:g} s"
        for number, health in enumerate(self.health):
            if (crash := health.problem(now)) is not None:
                found[f"reader {number}"] = crash
        return found

    def _listen(self, tail: Tail, tasks: TaskGroup) -> None:
        if len(self._readers) < MAX_READERS:
            reader = StreamReader(self._target, self._fanout, self, self._unblocker, MAX_READERS, self._pauses)
            self._readers.append(reader)
            health = Health()
            self.health.append(health)
            tasks.start_soon(supervise, f'the reader of "{tail.queue.label}"', reader.run, health)
        else:
            reader = min(self._readers, key=lambda each: len(each.tails))
        self._reader_of[tail] = reader
        reader.add(tail)


class _Nameable:
    """The labels of queues that are known, or that discovery may find later."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def __contains__(self, label: object) -> bool:
        if not isinstance(label, str) or label in self._queues.by_label:
            return label in self._queues.by_label
        return can_be_queue(label) and not self._queues.knows(label)
