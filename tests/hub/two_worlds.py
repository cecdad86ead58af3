"""A bridge whose client may see little of what it has, and another bridge that has only what this client may see.

Whatever happens, happens to both. The second bridge does not have the queues in which the client may not read its job.
In the other queues, an event of a job that the client may not read is replaced by an event of an unrelated job, and one
of the queue itself by one that the client did not choose, so that both streams have the same ids. The hub of the second
bridge filters nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Raw

from jobws.bullmq.events import field, kind_of
from jobws.bullmq.snapshot import LookUp
from jobws.hub.job_log.reader import ReadLines
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.query import Query
from jobws.hub.jobs.replay import deliver_outcome, find_missed_outcomes, replay
from jobws.hub.jobs.subscription import Subscription
from jobws.protocol.identifiers import START, before
from jobws.protocol.messages import ItemError, JobSnapshot
from jobws.protocol.request_types import SubscriptionKey, SubscriptionRequest
from jobws.protocol.session import Session
from tests.support.fanout import new_fanout
from tests.support.sight import EVERYTHING
from tests.support.steps import do_all, jobs_of

if TYPE_CHECKING:
    from collections.abc import Collection, Container

    from jobws.bullmq.snapshot import Job
    from jobws.hub.job_log.followers import Group
    from jobws.hub.job_log.reader import ReadResult
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.protocol.request_types import Sight
    from jobws.redis.commands import Entry

STRANGER = "stranger"


class Right(NamedTuple):
    """One right of a token; None stands for `*`. With `is_of_queue` it is for the queue's own events, not for jobs."""

    queue: str | None
    job_id: str | None
    is_of_queue: bool = False

    @property
    def text(self) -> str:
        if self.is_of_queue:
            return f"read:queues:{self.queue or '*'}"
        return f"read:jobs:{self.queue or '*'}/{self.job_id or '*'}"


class Judge:
    """Refuses requests for which there is no right, by a simple search. Otherwise everything may be read."""

    reads_all = True
    reads_a_queue = True
    reads_every_queue = False
    line_queues = None

    def __init__(self, rights: Collection[Right]) -> None:
        self.rights = rights

    @property
    def of_jobs(self) -> list[Right]:
        return [each for each in self.rights if not each.is_of_queue]

    def may_read(self, queue: str, job_id: str | None) -> bool:
        return any(each.queue in (None, queue) and each.job_id in (None, job_id) for each in self.of_jobs)

    def reads_queue(self, _queue: str) -> bool:
        return True

    def reads_children(self, _queue: str, _job_id: str) -> bool:
        raise AssertionError

    def may_read_queue(self, queue: str) -> bool:
        return any(each.is_of_queue and each.queue in (None, queue) for each in self.rights)

    def may_read_lines(self, _queue: str | None) -> bool:
        raise AssertionError

    def reads_somewhere(self, job_id: str | None) -> bool:
        return any(each.job_id in (None, job_id) for each in self.of_jobs)

    def reads_everywhere(self, _job_id: str | None) -> bool:
        raise AssertionError

    def queues_of(self, job_id: str | None, labels: Collection[str]) -> Collection[str]:
        assert job_id is None
        return [label for label in labels if self.may_read(label, None)]

    def container(self, labels: Container[str]) -> Container[str]:
        return labels


class Anything:
    """Stands for the queues that a client may name with discovery: all of them."""

    def __contains__(self, _label: object) -> bool:
        return True


class Asked(NamedTuple):
    """A look-up and its answer."""

    query: Query
    look_up: LookUp


class World:
    """One of the two bridges, with its Redis and its client.

    Attributes:
        looked_up: The jobs that were looked up, or whose log was read, for this client alone.
    """

    def __init__(self, sight: Sight, *, discovers: bool, others: bool) -> None:
        self.labels: dict[str, None] = {}
        self.holed: set[str] = set()
        self.rereads: dict[str, tuple[str, str]] = {}
        self.is_answering = False
        self.fanout = new_fanout(on_gap=self.holed.add, on_job_log_news=self._note_news)
        self.streams: dict[str, list[Entry]] = {}
        self.hashes: dict[Job, JobSnapshot] = {}
        self.lines: dict[Job, list[bytes]] = {}
        self.being_read: dict[Job, list[tuple[Group, ReadResult]]] = {}
        self.looked_up: set[Job] = set()
        nameable: Container[str] = Anything() if discovers else self.labels
        self.client = self._client(nameable, sight)
        self.other = self._client(Anything(), EVERYTHING) if others else None
        self.pending: list[tuple[PendingSubscription, Asked | None]] = []

    def _client(self, nameable: Container[str], sight: Sight) -> JobClient:
        session = Session(nameable, 1 << 18, 100, sight)
        return JobClient(session, self.fanout, self.labels, 20, 1 << 26, lambda: None, lambda _: None)

    def _note_news(self, job: Job, _urgent: bool) -> None:
        if self.is_answering:
            self.looked_up.add(job)

    # ---- what happens ----

    def write_entry(self, queue: str, stream_id: str, fields: list[bytes]) -> None:
        self.streams.setdefault(queue, []).append((stream_id.encode(), fields))

    def event(self, queue: str, stream_id: str, fields: list[bytes], snapshot: JobSnapshot | None) -> None:
        """Change a job as BullMQ does, and write the event."""
        job = queue, fields[3].decode()
        self.write_entry(queue, stream_id, fields)
        self.hashes.pop(job, None)
        if snapshot is not None:
            self.hashes[job] = snapshot

    def vanish(self, job: Job) -> None:
        self.hashes.pop(job, None)

    def write(self, job: Job, line: bytes) -> None:
        self.lines.setdefault(job, []).append(line)

    def end(self, queue: str) -> str:
        stream = self.streams.get(queue)
        return stream[-1][0].decode() if stream else START

    # ---- what the bridge does ----

    def find(self, queue: str, *, quiet: bool) -> None:
        """Let discovery find a queue, with what its stream holds."""
        if queue in self.labels:
            return
        stream = [] if quiet else self.streams.get(queue, [])
        past = [
            (entry[0], field(entry[1], b"jobId"), kind) for entry in reversed(stream) if (kind := kind_of(entry[1]))
        ]
        do_all(self.fanout.fill(queue, past, START))
        self.fanout.cursors[queue] = self.fanout.verified[queue] = self.end(queue)
        if quiet:
            self.fanout.without_events.add(queue)
        self.labels[queue] = None

    def forget(self, queue: str) -> None:
        if queue in self.labels:
            del self.labels[queue]
            self.fanout.forget(queue)
            self.rereads.pop(queue, None)
            self.holed.discard(queue)

    def read(self, queue: str) -> None:
        """Publish the entries that were written since."""
        if queue not in self.labels:
            return
        if queue in self.fanout.without_events:
            self.fanout.cursors[queue] = self.fanout.verified[queue] = self.end(queue)
            return
        cursor = self.fanout.cursors[queue].encode()
        self.fanout.publish(queue, [entry for entry in self.streams.get(queue, []) if _after(entry[0], cursor)])
        if queue not in self.rereads:
            self.fanout.verified[queue] = self.fanout.cursors[queue]

    def begin_reread(self, queue: str, reason: str, keep: int) -> None:
        """Trim the stream, and let the bridge find the hole."""
        if queue not in self.labels or queue in self.rereads or queue in self.fanout.without_events:
            return
        stream = self.streams.get(queue, [])
        self.streams[queue] = stream = stream[max(0, len(stream) - keep) :]
        oldest = before(stream[0][0]) if stream else self.fanout.cursors[queue]
        generated = self.end(queue) if stream else self.fanout.cursors[queue]
        self.rereads[queue] = self.fanout.begin_reread(queue, generated, oldest)
        do_all(self.fanout.send_gap(queue, reason, self.rereads[queue][1]))

    def end_reread(self, queue: str) -> None:
        if queue in self.rereads:
            self.read(queue)
            _, floor = self.rereads.pop(queue)
            self.fanout.end_reread(queue, floor)

    def sweep(self, queue: str) -> None:
        if queue not in self.labels:
            return
        job_ids = [job_id.decode() for job_id in self.fanout.rooms.watched(queue) if job_id is not None]
        look_up = self._look_up([(queue, each) for each in job_ids])
        do_all(find_missed_outcomes(self.fanout, queue, job_ids, look_up))
        # Whether or not anyone watches a job, since another client's jobs are watched in one bridge only.
        all_read = not _after(self.end(queue).encode(), self.fanout.cursors[queue].encode())
        if queue in self.holed and all_read and queue not in self.rereads:
            self.holed.discard(queue)
            self.fanout.resolve(queue)

    def read_lines(self, queue: str, job_id: str) -> None:
        """Read a job's log for its followers, unless lines of it were read that were not sent yet."""
        job = queue, job_id
        if job not in self.being_read:
            groups, _ = self.fanout.job_logs.groups(job)
            self.being_read[job] = [(group, self._lines_for(group)) for group in groups]

    def send_lines(self, queue: str, job_id: str) -> None:
        """Send the lines that were read, and all further ones."""
        for group, result in self.being_read.pop((queue, job_id), ()):
            self.fanout.job_logs.send(group, result)
            while result.again:
                group.reader = result.reader
                result = self._lines_for(group)
                self.fanout.job_logs.send(group, result)

    def _lines_for(self, group: Group) -> ReadResult:
        lines, asked = self.lines.get(group.job, []), group.reader.slice
        if asked.start is None:
            return group.reader.result_of(ReadLines(lines[-asked.limit :], len(lines)))
        return group.reader.result_of(ReadLines(lines[asked.start : asked.start + asked.limit]))

    # ---- the client ----

    def receive(self, message: dict[str, Any], now: float) -> None:
        pending = self.client.receive(json.dumps(message), now)
        if pending is not None:
            self.pending.append((pending, None))

    def ask(self, with_job: str | None) -> None:
        """Look up the jobs of the oldest request that waits, and maybe a job that another client wants."""
        for index, (pending, asked) in enumerate(self.pending):
            if asked is None:
                others = []
                if self.other is not None and with_job is not None:
                    request = SubscriptionRequest(SubscriptionKey(None, with_job))
                    others.append(Subscription(self.other, request, self.fanout.rooms, EVERYTHING))
                query = Query([*others, *pending.present], self.labels, self.fanout)
                query.note_streams()
                if not others:
                    self.looked_up |= set(jobs_of(query))
                self.pending[index] = pending, Asked(query, self._look_up(jobs_of(query)))
                return

    def answer(self, now_milliseconds: float) -> None:
        for index, (pending, asked) in enumerate(self.pending):
            if asked is not None:
                asked.query.keep_answer(asked.look_up)
                if not asked.query.being_reread(pending.present):
                    del self.pending[index]
                    self.is_answering = True
                    do_all(self.client.complete(pending, asked.query, now_milliseconds))
                    self.is_answering = False
                    if not pending.is_begun:
                        self.pending.insert(index, (pending, None))
                return

    def read_back(self) -> None:
        """Deliver some of what the client missed."""
        if not self.client.backlog:
            return
        events, owed = self.client.backlog.take(2)
        for each, index in events:
            stream_id = each.stream_ids[index]
            entry = next((entry for entry in self.streams.get(each.queue, []) if entry[0] == stream_id), None)
            replay(self.fanout, each, index, entry)
        for outcome in owed:
            queue, job_id = outcome.queue, outcome.subscription.request.key.job_id or ""
            if queue in self.rereads:
                self.client.backlog.add([outcome])
            else:
                snapshot, known = self.hashes.get((queue, job_id)), self.fanout.known(queue)
                if not deliver_outcome(self.fanout, outcome, snapshot, self.end(queue), known):
                    self.client.backlog.add([outcome])

    def disturb(self, message: dict[str, Any]) -> None:
        """Let another client, which may read everything, ask and be answered."""
        if self.other is not None:
            pending = self.other.receive(json.dumps(message), 0.0)
            if pending is not None:
                query = Query(pending.present, self.labels, self.fanout)
                query.note_streams()
                query.keep_answer(self._look_up(jobs_of(query)))
                if query.being_reread(pending.present):
                    self.other.fail(pending, ItemError("unavailable", "later"))
                else:
                    do_all(self.other.complete(pending, query, 0.0))

    def frames(self) -> list[bytes]:
        frames = [frame.payload for frame in self.client.outbox.take()]
        self.client.outbox.written()
        return frames

    def _look_up(self, jobs: Collection[Job]) -> LookUp:
        ends = {queue: self.end(queue) for queue, _ in jobs}
        return LookUp({job: self.hashes.get(job) for job in jobs}, {job: ends[job[0]] for job in jobs}, ends)


def snapshot_of(job: Job, state: str, number: int) -> JobSnapshot:
    """Return the snapshot of a job after the event with this number."""
    if state not in ("completed", "failed"):
        return JobSnapshot(*job, "x", state, None)
    result, text = Raw(b"%d" % number), str(number)
    return JobSnapshot(*job, "x", state, None, finished_on=number, returnvalue=result, failed_reason=text)


def _after(first: bytes, second: bytes) -> bool:
    return [int(part) for part in first.split(b"-")] > [int(part) for part in second.split(b"-")]
