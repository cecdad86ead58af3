"""Plays the vectors against the pure core, without a socket, a Redis and a clock."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from jobws.bullmq import snapshot
from jobws.bullmq.keys import Queue
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.pending import UNAVAILABLE
from jobws.hub.jobs.replay import deliver_outcome, replay
from jobws.protocol.identifiers import can_be_queue
from jobws.protocol.session import Session
from tests.conformance.runner import QUEUES, Vector, load_vectors, play, vector_id
from tests.support.fanout import new_fanout
from tests.support.sight import EVERYTHING
from tests.support.steps import ask_for, do_all, jobs_of

if TYPE_CHECKING:
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.protocol.messages import JobSnapshot
    from jobws.redis.commands import Command, Entry

# Without vectors about the handshake, which the core never sees.
VECTORS = [vector for vector in load_vectors("core") if not {"subprotocols", "headers"} & vector.keys()]
NOW_MILLISECONDS = 1795435729358.0
DEFAULTS = {"max_subscriptions": 1000, "max_message_bytes": 262144, "max_result_bytes": 2097152, "progress_ms": 100}


class MemoryRedis:
    """Answers the few commands that a snapshot asks for."""

    def __init__(self, given: list[Vector]) -> None:
        self.hashes = {
            f"bull:{job['queue']}:{job['jobId']}".encode(): {name: text.encode() for name, text in job["hash"].items()}
            for job in given
        }
        self.ends: dict[bytes, bytes] = {}
        self.members = {f"bull:{job['queue']}:{job['state']}".encode(): [job["jobId"].encode()] for job in given}

    def answer(self, command: Command) -> object:
        key = command[1]
        assert isinstance(key, bytes)
        match command[0]:
            case "XREVRANGE":
                return [[self.ends[key], []]] if key in self.ends else []
            case "LRANGE":
                return self.members.get(key, [])
            case "ZMSCORE":
                return [b"1" if member in self.members.get(key, []) else None for member in command[2:]]
            case "HMGET":
                return [self.hashes.get(key, {}).get(str(name)) for name in command[2:]]
            case "HEXISTS":
                return int(str(command[2]) in self.hashes.get(key, {}))
            case other:
                raise AssertionError(other)


class _Any:
    """Stands for the labels that a client may name: all of them."""

    def __contains__(self, label: object) -> bool:
        return isinstance(label, str) and can_be_queue(label)


class CoreTarget:
    """A client of the hub. Its look-ups are answered when the test waits for a frame."""

    def __init__(self, vector: Vector) -> None:
        self.settings: dict[str, Any] = {**DEFAULTS, **vector.get("settings", {})}
        self.redis = None if vector.get("redis") == "away" else MemoryRedis(vector.get("given", []))
        self.queues = {label: Queue(label, "bull", label) for label in QUEUES}
        self.discovers = "*" in self.settings.get("queues", ())
        self.now = 0.0
        self.fanout = new_fanout(
            max_payload_bytes=self.settings["max_result_bytes"],
            clock=lambda: self.now,
            progress_seconds=self.settings["progress_ms"] / 1000,
        )
        for queue in QUEUES:
            self._read(queue)
        self.entries: list[Entry] = []
        self.written = 0
        self.hub_client = self._connect()
        self.pending: list[PendingSubscription] = []
        self.frames: deque[dict[str, Any]] = deque()

    def _connect(self) -> JobClient:
        session = Session(
            _Any() if self.discovers else self.queues,
            self.settings["max_message_bytes"],
            self.settings["max_subscriptions"],
            EVERYTHING,
        )
        limit = self.settings["max_subscriptions"]
        return JobClient(session, self.fanout, self.queues, limit, 4194304, lambda: None, lambda _: None)

    def _read(self, queue: str) -> None:
        self.fanout.cursors[queue] = self.fanout.verified[queue] = "0-0"
        do_all(self.fanout.fill(queue, [], "0-0"))

    async def make_queue(self, name: str) -> None:
        self._answer_joins()
        self.queues[name] = Queue(name, "bull", name)
        self._read(name)

    async def send(self, message: str | bytes) -> None:
        pending = self.hub_client.receive(message, 0.0)
        if pending is not None:
            self.pending.append(pending)

    async def add_entry(self, queue: str, fields: dict[str, bytes], stream_id: str | None) -> None:
        flat = [part for name, value in fields.items() for part in (name.encode(), value)]
        self.written += 1
        entry = ((stream_id or f"{int(NOW_MILLISECONDS) + self.written}-0").encode(), flat)
        self.entries.append(entry)
        if self.redis is not None:
            self.redis.ends[f"bull:{queue}:events".encode()] = entry[0]
        self.fanout.publish(queue, [entry])
        self.fanout.verified[queue] = self.fanout.cursors[queue]

    def _answer_joins(self) -> None:
        for pending in self.pending:
            if self.redis is None:
                self.hub_client.fail(pending, UNAVAILABLE)
                continue
            query = ask_for(pending, self.queues, self.fanout)
            found: snapshot.Found = {job: self._look_up(*job) for job in jobs_of(query)}
            ends = {queue: self._end(queue) for queue in self.queues}
            query.keep_answer(snapshot.LookUp(found, {job: ends[job[0]] for job in found}, ends))
            do_all(self.hub_client.complete(pending, query, NOW_MILLISECONDS))
            self._read_back()
        self.pending.clear()

    def _end(self, queue: str) -> str:
        assert self.redis is not None
        return self.redis.ends.get(f"bull:{queue}:events".encode(), b"0-0").decode()

    def _read_back(self) -> None:
        while backlog := self.hub_client.backlog:
            events, owed = backlog.take(16)
            for each, index in events:
                kept = [entry for entry in self.entries if entry[0] == each.stream_ids[index]]
                replay(self.fanout, each, index, kept[0] if kept else None)
            for item in owed:
                job_id = item.subscription.request.key.job_id
                found = self._look_up(item.queue, str(job_id), results=True)
                deliver_outcome(self.fanout, item, found, self._end(item.queue), self.fanout.known(item.queue))

    def _look_up(self, label: str, job_id: str, *, results: bool = False) -> JobSnapshot | None:
        assert self.redis is not None
        queue, ids = self.queues[label], [job_id.encode()]
        replies = [self.redis.answer(command) for command in snapshot.commands(queue, ids, None, results=results)[1:-1]]
        (job,) = snapshot.parse(queue, ids, replies, None, results=results)
        assert not isinstance(job, Exception)
        return job

    async def receive(self) -> dict[str, Any]:
        self._answer_joins()
        self._take()
        while not self.frames:  # time passes only while the client waits
            seconds = self.fanout.send_due_progress()
            assert seconds is not None, "no frame comes"
            self.now += seconds
            self._take()
        return self.frames.popleft()

    def _take(self) -> None:
        self.frames += (json.loads(frame.payload) for frame in self.hub_client.outbox.take())

    async def close_code(self) -> int:
        assert self.hub_client.closing is not None
        return int(self.hub_client.closing.code)

    async def read(self) -> None:
        """Do nothing, since entries are published as soon as they are added."""

    async def trim(self, queue: str) -> None:
        assert self.redis is not None
        self.redis.ends.pop(f"bull:{queue}:events".encode(), None)
        self.entries.clear()

    async def add_job_log(self, *_: object) -> None:
        raise AssertionError("nobody reads lists here")

    async def vanish(self, queue: str, job_id: str) -> None:
        raise AssertionError("nothing looks again here")

    async def add_below(self, _below: object) -> None:
        raise AssertionError("nothing looks at lists of children here")

    async def add_line(self, stream_id: str, fields: dict[str, bytes]) -> None:
        raise AssertionError("the log is another endpoint")

    async def trim_log(self, length: int | None) -> None:
        raise AssertionError("the log is another endpoint")

    async def reconnect(self) -> None:
        self.hub_client.end_all()
        assert not self.fanout.rooms
        self.hub_client = self._connect()


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.get("hello", True)], ids=vector_id)
async def test_the_core_keeps_the_rule(vector: Vector) -> None:
    await play(vector, CoreTarget(vector))
