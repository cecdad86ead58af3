"""The queues that the bridge serves, and the readers that read their streams.

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
from jobws.bullmq.reading.read_state import ReadState
from jobws.bullmq.reading.reader import StreamReader
from jobws.bullmq.reading.unblock import Unblocker
from jobws.protocol.identifiers import START, can_be_queue, position
from jobws.server.supervisor import Health, supervise

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping

    from anyio.abc import TaskGroup

    from jobws.bullmq.reading.schedule import Pauses
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.queue_history import KnownStream
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
        configured: The queues that the bridge serves from the start.
        discover_prefix: The prefix under which discovery finds other queues. None means that there is no discovery.
        discover_seconds: The time between two passes of discovery.
        forget_seconds: How long the keys of a queue that discovery found must be gone before the queue is forgotten.
        fanout: Publishes the events that are read.
        pauses: The intervals of the readers' reads and checks, in seconds.

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
        self._streams: dict[str, ReadState] = {}
        self._tasks: TaskGroup | None = None
        self.discovery: Discovery | None = None
        if discover_prefix is not None:
            self.discovery = Discovery(target, discover_prefix, discover_seconds, forget_seconds, self)
            fanout.knows_all = False
        # The prefix and the name of each configured queue; its label may be another one.
        self._places = {(queue.prefix, queue.name) for queue in self._configured}
        # The queues that subscriptions name and that do not exist yet, in the order in which discovery looks for them.
        self._awaited: dict[str, None] = {}
        self._reader_of: dict[ReadState, StreamReader] = {}
        self._unblocker = Unblocker(target, self._readers)
        for queue in self._configured:
            self.by_label[queue.label] = queue
            self._streams[queue.label] = ReadState(queue)

    def start(self, tasks: TaskGroup) -> None:
        """Start the readers and discovery in `tasks`. Returns immediately."""
        self._tasks = tasks
        tasks.start_soon(supervise, "what ends blocked reads", self._unblocker.run, Health())
        for queue in self._configured:
            self._listen(self._streams[queue.label], tasks)
        if self.discovery is not None:
            tasks.start_soon(supervise, "discovery", self.discovery.run, Health())

    def must_wait_for(self, label: str) -> bool:
        """Whether requests about a queue must wait: it is unknown, or `wait_until_read` would wait for it."""
        stream = self._streams.get(label)
        return stream is None or not self._is_ready(stream)

    async def wait_until_read(self, labels: Iterable[str]) -> None:
        """Wait until the old entries of these queues' streams were read: those before the first one that is published.

        If a stream is being read a second time, this waits for the end of that, too. It does not wait for unknown
        queues, or for a queue that is forgotten meanwhile.
        """
        # Find those that are not ready first: of ten thousand queues, nearly all are.
        unready = [each for label in labels if (each := self._streams.get(label)) and not self._is_ready(each)]
        for stream in unready:
            await stream.ready.wait()
            while not self._is_ready(stream):
                await stream.wait_moved()

    def _is_ready(self, stream: ReadState) -> bool:
        return stream.is_removed or (stream.ready.is_set() and self._fanout.history.filled(stream.queue.label))

    async def wait_until_published(
        self, ends: Mapping[str, str], known: Mapping[str, KnownStream], seconds: float = LAG_SECONDS
    ) -> set[str]:
        """Wait until all entries up to these stream ids, by label, were published. Return the labels that take longer.

        This does not wait for a queue that is forgotten meanwhile, or whose stream begins again: the new stream may
        never reach the ids of the old one. `known` is what the hub had of the streams before the stream ids in `ends`
        were read. If it has another history now, the stream has begun again.
        """

        def lags(stream: ReadState, end: str) -> bool:
            label = stream.queue.label
            cursor = self._fanout.cursors.get(label, START)
            return (
                cursor != end
                and not stream.is_removed
                and position(cursor) < position(end)
                and self._fanout.history.is_current(label, known[label].history)
            )

        lagging = [(each, end) for label, end in ends.items() if (each := self._streams.get(label)) and lags(each, end)]
        for reader in {self._reader_of[stream] for stream, _ in lagging if stream.is_lazy}:
            reader.wake()
        with anyio.move_on_after(seconds):
            for stream, end in lagging:
                while lags(stream, end):
                    await stream.wait_moved()
        return {stream.queue.label for stream, end in lagging if lags(stream, end)}

    def is_wanted(self, queue: str) -> bool:
        """Whether a client waits for the queue's next event, so that the event must be read immediately.

        If there are at most MAX_READERS queues, a client that looks for a job id in any queue waits for all of them.
        """
        rooms = self._fanout.rooms
        return rooms.is_listened_to(queue) or (rooms.seeking and len(self._streams) <= MAX_READERS)

    def note_listened(self, queue: str | None) -> None:
        """Have the queue read immediately if clients want its events now. With None, do so for all queues.

        `Rooms` says when this is called (`on_listened`). Discovery looks for a
        queue that does not exist yet as long as clients want its events. Never waits.
        """
        if queue is not None and self.discovery is not None and not self.knows(queue):
            if self._fanout.rooms.is_named(queue):
                self._awaited[queue] = None
            else:
                self._awaited.pop(queue, None)
        streams = self._streams.values() if queue is None else filter(None, [self._streams.get(queue)])
        for stream in list(streams):
            if not stream.is_wanted and self.is_wanted(stream.queue.label):
                stream.is_wanted = True
                stream.check_by(anyio.current_time() + self._pauses.verify_seconds)
                self._reader_of[stream].wake()

    @property
    def nameable(self) -> Container[str]:
        """The labels that a client may name, with discovery also those of queues that may appear later; a live view."""
        return self.by_label if self.discovery is None else _Nameable(self)

    async def find(self, labels: Collection[str]) -> None:
        """Have discovery look for those of the queues `labels` that are unknown, and wait until Redis has answered.

        If all are known, only wait until discovery has finished its first pass. If there is no discovery, return
        immediately. Cancelling is safe.
        """
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
        """Return whether a queue of that name is read, or cannot be read since the name cannot be its label.

        Another queue may have this label already, and the label `*` means all queues.
        """
        return name == DISCOVER or name in self.by_label or (self._prefix, name) in self._places

    def found(self, name: str, since: str | None) -> None:
        """Add an unknown queue, with its name as label. Read it after the stream id `since`; None means from now on."""
        queue = Queue(name, self._prefix, name)
        if since is not None:
            self._fanout.cursors[name] = since
        self._awaited.pop(name, None)
        self._streams[name] = ReadState(queue)
        self.by_label[name] = queue
        if self._tasks is not None:
            self._listen(self._streams[name], self._tasks)

    def found_all(self) -> None:
        """Note that all queues that existed at the start were found."""
        self._fanout.knows_all = True

    def next_unknown(self, count: int) -> Collection[str]:
        """Return up to `count` queues that clients name and discovery has not found: in turn, if there are more."""
        names = list(islice(self._awaited, count))
        for name in names:
            del self._awaited[name]
            self._awaited[name] = None
        return names

    def is_needed(self, name: str) -> bool:
        """Whether the queue with this label must be kept: a subscription names it, or waits for a job found in it."""
        return self._fanout.rooms.is_named(name)

    def forget(self, name: str) -> None:
        """Forget the queue with this label, which is gone, and stop reading its stream."""
        stream = self._streams.pop(name)
        del self.by_label[name]
        self._reader_of.pop(stream).remove(stream)
        self._fanout.forget(name)
        # This ends `wait_until_read` and `wait_until_published` for tasks that wait for the queue.
        stream.ready.set()
        stream.moved()

    @property
    def _prefix(self) -> str:
        return "" if self.discovery is None else self.discovery.prefix

    # ---- health ----

    def last_reads(self) -> dict[str, float | None]:
        """Return, by label, when Redis last answered a read of the stream, on anyio's clock; None if it never did."""
        return {label: stream.last_read for label, stream in self._streams.items()}

    def problems(self, now: float) -> dict[str, str]:
        """Return, by label, why a queue is not being read at the time `now` on anyio's clock.

        Other keys are `*` if discovery has not ended its first pass, and `reader 0` or so for readers that crashed.
        """
        found: dict[str, str] = {}
        if not self.is_scanned:
            found["*"] = "not discovered yet"
        for label, stream in self._streams.items():
            if stream.problem is not None:
                found[label] = stream.problem
            elif not self._fanout.history.filled(label):
                found[label] = "what its stream holds is being read"
            elif stream.last_read is None or now - stream.last_read > STALE_SECONDS:
                found[label] = f"no successful read for {STALE_SECONDS:g} s"
        for number, health in enumerate(self.health):
            if (crash := health.problem(now)) is not None:
                found[f"reader {number}"] = crash
        return found

    def _listen(self, stream: ReadState, tasks: TaskGroup) -> None:
        if len(self._readers) < MAX_READERS:
            reader = StreamReader(self._target, self._fanout, self, self._unblocker, MAX_READERS, self._pauses)
            self._readers.append(reader)
            health = Health()
            self.health.append(health)
            tasks.start_soon(supervise, f'the reader of "{stream.queue.label}"', reader.run, health)
        else:
            reader = min(self._readers, key=lambda each: len(each.streams))
        self._reader_of[stream] = reader
        reader.add(stream)


class _Nameable:
    """The labels of the queues that the bridge serves, and all other labels that a queue found later could have."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def __contains__(self, label: object) -> bool:
        if not isinstance(label, str) or label in self._queues.by_label:
            return label in self._queues.by_label
        return can_be_queue(label) and not self._queues.knows(label)
