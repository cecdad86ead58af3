"""Redis and bridges in memory, in steps: streams and hashes change, and several hubs read them later.

Every event has its own number, so a frame shows which event it is about.
"""

from __future__ import annotations

import json
from collections import defaultdict
from copy import deepcopy
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from msgspec import Raw

from jobws.bullmq.events import kind_of
from jobws.bullmq.snapshot import LookUp
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.missed import FINISHED
from jobws.hub.jobs.replay import deliver_outcome, find_missed_outcomes, replay
from jobws.protocol.identifiers import START, before, position
from jobws.protocol.messages import ItemError, JobSnapshot
from jobws.protocol.session import Session
from tests.support.fanout import new_fanout
from tests.support.sight import EVERYTHING
from tests.support.steps import ask_for, do_all, jobs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from jobws.bullmq.events import HistoryEntry
    from jobws.bullmq.snapshot import Job
    from jobws.hub.jobs.missed import Owed, Replay
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.hub.jobs.query import Query
    from jobws.hub.jobs.queue_history import KnownStream
    from jobws.redis.commands import Entry

    Choose = Callable[[int], int]

# Only a few, so that much happens to the same job.
JOBS = ("1", "2")
# By how many milliseconds a worker's clock may be ahead of that of Redis.
SKEWS = (0, -4_000, 3_600_000, -3_600_000)
PAUSES = (0, 1, 1, 1, 7, 500, 10_000, 70_000)


class Written(NamedTuple):
    """An event that was written. `at` is the step in which this happened."""

    number: int
    queue: str
    job_id: str
    name: str
    stream_id: str
    at: int

    @property
    def job(self) -> Job:
        return self.queue, self.job_id


class Hash(NamedTuple):
    """A job's hash. `number` is the number of the event with its outcome, or 0 if there is none."""

    state: str
    number: int
    finished_on: int


class Redis:
    """Streams and hashes."""

    def __init__(self, choose: Choose, queues: tuple[str, ...], quiet: frozenset[str]) -> None:
        self.choose = choose
        self.queues = queues
        self.quiet = quiet
        self.step = 0
        # Whether nothing more happens on its own.
        self.calm = False
        self.written: dict[int, Written] = {}
        self.moment = 1_000_000
        self.sequence = 0
        self.streams: dict[str, list[Entry]] = {queue: [] for queue in queues}
        self.generated = dict.fromkeys(queues, START)
        self.trimmed: set[str] = set()
        self.hashes: dict[Job, Hash] = {}
        # The jobs whose hash vanished without an event before they had an outcome.
        self.vanished: set[Job] = set()
        self.undone: set[int] = set()
        self.restored_at = -1
        self.backup: tuple[object, ...] | None = None
        self.has_lost = False
        self.on_loss: list[Callable[[str, str, set[int]], None]] = []

    def write(self) -> None:
        """Let something happen to a job, as it could with BullMQ."""
        job = self.queues[self.choose(len(self.queues))], JOBS[self.choose(len(JOBS))]
        known = self.hashes.get(job)
        if known is None:
            self._live(job, "added")
        elif known.state in FINISHED:
            match self.choose(4):
                case 0:
                    del self.hashes[job]
                    self._add(job, "removed", prev=known.state)
                case 1:
                    del self.hashes[job]
                case _:
                    self._live(job, "waiting", prev=known.state)
        else:
            match self.choose(10):
                case 0:
                    del self.hashes[job]
                    self._add(job, "removed", prev="wait")
                case 1:
                    del self.hashes[job]
                    self.vanished.add(job)
                case 2 | 3 | 4:
                    self._end(job)
                case _:
                    self._add(job, ("progress", "active", "progress")[self.choose(3)])

    def _live(self, job: Job, name: str, **fields: str) -> None:
        self.vanished.discard(job)
        self.hashes[job] = Hash("active", 0, 0)
        self._add(job, name, **fields)

    def _end(self, job: Job) -> None:
        name = ("completed", "failed")[self.choose(2)]
        number = self._add(job, name, prev="active")
        if self.choose(8):
            skew = SKEWS[self.choose(len(SKEWS))]
            self.hashes[job] = Hash(name, number, self.moment + skew)
        else:
            del self.hashes[job]  # removeOnComplete

    def _add(self, job: Job, name: str, **fields: str) -> int:
        queue, job_id = job
        pause = PAUSES[self.choose(len(PAUSES))]
        self.sequence = self.sequence + 1 if not pause else 0
        self.moment += pause
        number = len(self.written) + 1
        stream_id = f"{self.moment}-{self.sequence}"
        values = {"event": name, "jobId": job_id, "n": str(number), **fields}
        if name == "completed":
            values["returnvalue"] = str(number)
        if name == "failed":
            values["failedReason"] = str(number)
        if name == "progress":
            values["data"] = str(number)
        flat = [part.encode() for item in values.items() for part in item]
        self.written[number] = Written(number, queue, job_id, name, stream_id, self.step)
        self.generated[queue] = stream_id
        if queue not in self.quiet:
            self.streams[queue].append((stream_id.encode(), flat))
        return number

    def has(self, number: int) -> bool:
        """Whether a stream still has this event."""
        event = self.written[number]
        return any(entry[0] == event.stream_id.encode() for entry in self.streams[event.queue])

    def trim(self, keep: int, queue: str) -> None:
        stream = self.streams[queue]
        gone = stream[: max(len(stream) - keep, 0)]
        if gone:
            self.trimmed.add(queue)
            self.streams[queue] = stream[len(gone) :]
            self._lose(queue, "trimmed", gone)

    def delete(self) -> None:
        """Delete a stream. It begins again with the next event."""
        queue = self.queues[self.choose(len(self.queues))]
        gone, self.streams[queue], self.generated[queue] = self.streams[queue], [], START
        self.trimmed.discard(queue)
        self._lose(queue, "recreated", gone)

    def save(self) -> None:
        self.backup = deepcopy(
            (self.streams, self.generated, self.trimmed, self.hashes, self.vanished, len(self.written))
        )

    def restore(self) -> None:
        """Return Redis to its state when `save` was called. Only its clock goes on."""
        if self.backup is None:
            return
        old = self.streams
        self.restored_at = self.step
        self.streams, self.generated, self.trimmed, self.hashes, self.vanished, count = deepcopy(self.backup)  # type: ignore[assignment]
        self.undone.update(range(count + 1, len(self.written) + 1))  # type: ignore[operator]
        for queue in self.queues:
            kept = {entry[0] for entry in self.streams[queue]}
            self._lose(queue, "ahead", [entry for entry in old[queue] if entry[0] not in kept])

    def _lose(self, queue: str, reason: str, gone: Iterable[Entry]) -> None:
        self.has_lost = True
        numbers = {int(entry[1][5]) for entry in gone}
        for tell in self.on_loss:
            tell(queue, reason, numbers)

    def snapshot(self, job: Job) -> JobSnapshot | None:
        found = self.hashes.get(job)
        if found is None:
            return None
        queue, job_id = job
        snapshot = JobSnapshot(queue, job_id, "x", found.state, None)
        if not found.number:
            return snapshot
        return JobSnapshot(
            *(queue, job_id, "x", found.state, None),
            finished_on=found.finished_on,
            returnvalue=Raw(str(found.number).encode()),
            failed_reason=str(found.number),
        )

    def end(self, queue: str) -> str:
        """Return the last id of a stream, as XREVRANGE does."""
        stream = self.streams[queue]
        return stream[-1][0].decode() if stream else START


class Looking(NamedTuple):
    """A look-up that was made, and its result."""

    query: Query
    look_up: LookUp


# A request that is not answered, and its look-up.
Waiting: TypeAlias = "tuple[JobClient, PendingSubscription, Looking | None]"


class InHand(NamedTuple):
    """What was read for a client's replays, and what was known of the queues before that."""

    entries: list[tuple[Replay, int, Entry | None]]
    owed: list[Owed]
    look_up: LookUp
    seen: dict[str, KnownStream]


class Bridge:
    """A hub, and what reads Redis for it."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.choose = redis.choose
        self.began_at = redis.step
        self.now = 0.0
        self.fanout = new_fanout(
            on_gap=self._holed, clock=lambda: self.now, progress_seconds=float(self.choose(2)), on_progress=self._hold
        )
        self.holds = False
        self.fanout.without_events |= redis.quiet
        self.holed: set[str] = set()
        self.suspicions: dict[str, str] = {}
        # By queue whose stream is being read again: the clients that must still get the gap, how far to read, and the
        # floor.
        self.telling: dict[str, Iterator[None]] = {}
        self.again: dict[str, tuple[str, str]] = {}
        self.expected: dict[str, str] = {}
        self.missed: set[int] = set()
        # The queues whose streams went back while they were read again. The bridge finds this out only after that.
        self.unordered: set[str] = set()
        # Messages that are being received, and answers that are being given, with the steps that are left.
        self.entering: dict[JobClient, Generator[None, None, PendingSubscription | None]] = {}
        self.answering: list[tuple[Waiting, Iterator[None]]] = []
        self.pending: list[Waiting] = []
        self.in_hand: dict[
            JobClient, tuple[list[tuple[Replay, int, Entry | None]], list[Owed], LookUp, dict[str, KnownStream]]
        ] = {}
        self.late: list[tuple[Owed, JobSnapshot | None, str, KnownStream]] = []
        self.connections: list[JobClient] = []
        redis.on_loss.append(self._lost)
        for queue in redis.queues:
            stream = redis.streams[queue]
            past: list[HistoryEntry] = [(entry[0], entry[1][3], _kind(entry)) for entry in reversed(stream)]
            self.fanout.cursors[queue] = self.fanout.verified[queue] = redis.generated[queue]
            floor = before(stream[0][0]) if stream else redis.generated[queue]
            do_all(self.fanout.fill(queue, past, floor if queue in redis.trimmed or queue in redis.quiet else START))

    def stop(self) -> None:
        self.redis.on_loss.remove(self._lost)

    def _hold(self) -> None:
        self.holds = True

    def wait(self) -> None:
        """Let a part of a second pass, and have progress sent whose time has come."""
        self.now += self.choose(5) / 4
        if self.holds:
            self.holds = self.fanout.send_due_progress() is not None

    def _holed(self, queue: str) -> None:
        self.holed.add(queue)

    def _lost(self, queue: str, reason: str, numbers: set[int]) -> None:
        if queue in self.redis.quiet:
            return
        cursor = position(self.fanout.cursors[queue])
        unread = {number for number in numbers if position(self.redis.written[number].stream_id) > cursor}
        self.missed |= unread
        if reason != "trimmed":
            if queue in self.again:
                self.unordered.add(queue)
            went_back = position(self.redis.generated[queue]) < cursor
            self.suspicions[queue] = "ahead" if went_back and self.redis.streams[queue] else "recreated"
        elif unread:
            self.suspicions.setdefault(queue, "trimmed")

    # ---- reading ----

    def unread(self, queue: str) -> list[Entry]:
        cursor = position(self.fanout.cursors[queue])
        return [entry for entry in self.redis.streams[queue] if position(entry[0]) > cursor]

    def tell(self, queue: str) -> bool:
        """Send a gap to some more clients. Return whether all have it."""
        steps, count = self.telling.get(queue), 1 + self.choose(3)
        if steps is not None:
            if len(list(islice(steps, count))) == count:
                return False
            del self.telling[queue]
        return True

    def read(self, queue: str, count: int) -> None:
        if queue in self.redis.quiet:
            self.fanout.cursors[queue] = self.fanout.verified[queue] = self.redis.generated[queue]
            return
        if not self.tell(queue):
            return
        self.fanout.publish(queue, self.unread(queue)[:count])
        cursor = position(self.fanout.cursors[queue])
        if queue in self.again:
            end, floor = self.again[queue]
            if not self.unread(queue) or cursor >= position(end):
                del self.again[queue]
                self.fanout.cursors[queue] = max(end, self.fanout.cursors[queue], key=position)
                self.fanout.end_reread(queue, floor)
                self.fanout.verified[queue] = self.fanout.cursors[queue]
        elif queue in self.expected and cursor >= position(self.expected[queue]):
            end = self.expected.pop(queue)
            if queue not in self.suspicions:
                self.fanout.verified[queue] = end

    def check(self, queue: str) -> None:
        """Compare counts. If entries were lost, send a gap, and read the stream again."""
        if queue in self.again or queue in self.redis.quiet:
            return
        stream, generated = self.redis.streams[queue], self.redis.generated[queue]
        reason = self.suspicions.pop(queue, None)
        if reason is not None:
            self.expected.pop(queue, None)
            oldest = before(stream[0][0]) if stream else generated
            start, floor = self.fanout.begin_reread(queue, generated, oldest)
            self.fanout.verified[queue] = start
            end = self.redis.end(queue)
            self.telling[queue] = self.fanout.send_gap(queue, reason, floor)
            self.again[queue] = generated if position(end) <= position(start) else end, floor
            self.read(queue, self.choose(4))
            return
        self.fanout.forget_before(queue, stream[0][0].decode() if stream else generated)
        if self.unread(queue):
            self.expected[queue] = self.redis.end(queue)
        else:
            self.fanout.verified[queue] = self.fanout.cursors[queue]

    def look_up(self, jobs: Iterable[Job]) -> LookUp:
        """Look jobs up one by one, since something may happen between two of them."""
        look_up = LookUp({}, {}, {})
        for job in jobs:
            look_up.found[job] = self.redis.snapshot(job)
            look_up.moments[job] = look_up.ends[job[0]] = self.redis.end(job[0])
            while not (self.redis.calm or self.choose(4)):
                self.redis.write()
                self.read(self.redis.queues[self.choose(len(self.redis.queues))], 2)
        for queue in look_up.ends:
            look_up.ends[queue] = self.redis.end(queue)
        return look_up

    def behind(self, look_up: LookUp) -> bool:
        return any(position(self.fanout.cursors[queue]) < position(end) for queue, end in look_up.ends.items())

    def sweep(self, queue: str) -> None:
        """Look up every job with a subscription, if there was a hole."""
        is_hole = queue in self.holed
        rooms = self.fanout.rooms
        found = rooms.watched(queue) if is_hole or queue in self.redis.quiet else rooms.awaiting_outcome(queue)
        job_ids = [job_id.decode() for job_id in found if job_id is not None]
        self.holed.discard(queue)
        look_up = self.look_up([(queue, job_id) for job_id in job_ids])
        if self.choose(4):
            self.read(queue, 1000)
        complete = all(list(find_missed_outcomes(self.fanout, queue, job_ids, look_up)))
        if is_hole and not complete:
            self.holed.add(queue)
        elif is_hole and queue not in self.holed:
            self.fanout.resolve(queue)

    # ---- clients ----

    def connect(self) -> JobClient:
        session = Session(self.redis.queues, 262144, 100, EVERYTHING)
        connection = JobClient(session, self.fanout, self.redis.queues, 100, 1 << 24, lambda: None, lambda _: None)
        self.connections.append(connection)
        return connection

    def disconnect(self, connection: JobClient) -> None:
        connection.end_all()
        self.connections.remove(connection)
        self.in_hand.pop(connection, None)
        self.entering.pop(connection, None)
        self.pending = [each for each in self.pending if each[0] is not connection]

    def receive(self, connection: JobClient, message: dict[str, object]) -> None:
        while connection in self.entering:  # a message waits for the one before
            self._enter(connection)
        self.entering[connection] = connection.receive_in_steps(json.dumps(message), 1000.0 * self.redis.step)
        self._enter(connection)

    def _enter(self, connection: JobClient) -> None:
        """Take some of the steps in which a message is received."""
        try:
            for _ in range(1 + self.choose(6)):
                next(self.entering[connection])
        except StopIteration as end:
            del self.entering[connection]
            if end.value is not None:
                self.pending.append((connection, end.value, None))

    def look(self) -> None:
        if self.pending:
            index = self.choose(len(self.pending))
            connection, pending, looking = self.pending[index]
            if looking is None and not (self.again and self.choose(3)):
                query = ask_for(pending, self.redis.queues, self.fanout)
                self.pending[index] = connection, pending, Looking(query, self.look_up(jobs_of(query)))

    def answer(self) -> None:
        """Do some steps of an answer. Other things may happen between two steps."""
        if self.entering and self.choose(2):
            self._enter([*self.entering][self.choose(len(self.entering))])
        if self.answering and self.choose(4):
            item, steps = self.answering.pop(self.choose(len(self.answering)))
            count = 1 + self.choose(4)
            if len([*islice(steps, count)]) == count:
                self.answering.append((item, steps))
            elif not item[1].is_begun:
                self.pending.append(item)
            return
        for index, (connection, pending, looking) in enumerate(self.pending):
            # A bridge waits until it has read everything that the look-up reflects, but not for ever.
            if looking is None or (self.behind(looking.look_up) and self.choose(8)):
                continue
            looking.query.keep_answer(looking.look_up)
            if not looking.query.being_reread(pending.present):
                del self.pending[index]
                steps = connection.complete(pending, looking.query, float(self.redis.moment))
                self.answering.append(((connection, pending, looking), steps))
                return

    def read_back(self) -> None:
        """Do one step of a client's replays: ask Redis, or deliver its answer."""
        if self.choose(2):
            self.deliver_late()
        ready = [each for each in self.connections if each.backlog or each in self.in_hand]
        if not ready:
            return
        connection = ready[self.choose(len(ready))]
        if connection not in self.in_hand:
            assert connection.backlog is not None
            events, owed = connection.backlog.take(1 + self.choose(3))
            if any(each.queue in self.again for each in owed):
                connection.backlog.add(owed)
                return
            found = [(each, index, self._entry(each.queue, each.stream_ids[index])) for each, index in events]
            jobs = [(each.queue, each.subscription.request.key.job_id or "") for each in owed]
            seen = {queue: self.fanout.known(queue) for queue, _ in jobs}
            self.in_hand[connection] = InHand(found, owed, self.look_up(jobs), seen)
            return
        entries, owed, look_up, seen = self.in_hand.pop(connection)
        for each, index, entry in entries:
            replay(self.fanout, each, index, entry)
        for item in owed:
            job = item.queue, item.subscription.request.key.job_id or ""
            snapshot = look_up.found[job]
            assert not isinstance(snapshot, ItemError)
            self.late.append((item, snapshot, look_up.moments[job], seen[item.queue]))
        self.deliver_late()

    def deliver_late(self) -> None:
        """Deliver outcomes, except those before which entries were not read yet."""
        self.late = [each for each in self.late if not deliver_outcome(self.fanout, *each)]

    def _entry(self, queue: str, stream_id: bytes) -> Entry | None:
        return next((entry for entry in self.redis.streams[queue] if entry[0] == stream_id), None)

    def rest(self) -> None:
        """Do everything that is left to do."""
        for _ in range(100):
            for queue in self.redis.queues:
                self.check(queue)
                self.read(queue, 1000)
                self.check(queue)
                self.read(queue, 1000)
            for queue in self.redis.queues:
                self.sweep(queue)
            for _ in range(30):
                self.look()
                self.answer()
                self.read_back()
                self.wait()
            self.deliver_late()
            working = self.pending or self.entering or self.answering or self.in_hand or self.late
            if (
                not (working or self.holds or self.again or self.holed or self.suspicions)
                and not any(each.backlog for each in self.connections)
                and not any(map(self.unread, self.redis.queues))
            ):
                return
        raise AssertionError("it does not come to rest")


def _kind(entry: Entry):  # type: ignore[no-untyped-def]
    kind = kind_of(entry[1])
    assert kind is not None
    return kind


Numbers = defaultdict[str, set[int]]
