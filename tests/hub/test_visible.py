"""A client gets exactly the bytes that it would get from a bridge that has only what the client may see.

It asks for one job in all ways, and for what it may not read. `JOBWS_SEEDS` is the number of random runs.
"""

from __future__ import annotations

import json
import os
from random import Random
from typing import Any, Final

import pytest

from jobws.protocol.messages import AuthenticatedData
from jobws.protocol.request_types import Authenticate
from tests.hub.two_worlds import STRANGER, Judge, Right, World, snapshot_of
from tests.support.sight import sight

QUEUES: Final = ("http", "analyzer", "sparql", "z")
JOBS: Final = ("1", "2")
NAMES: Final = ("added", "active", "progress", "completed", "failed", "removed", "waiting")
OF_QUEUES: Final = ("drained", "paused", "completed")
SEEDS: Final = int(os.environ.get("JOBWS_SEEDS", "40"))
STEPS: Final = 160


def some_rights(random: Random) -> list[Right]:
    """Return up to three rights, mostly without `*`, which hides nothing."""
    pool = [None, *QUEUES]
    rights = [Right(random.choice(pool), random.choice((None, *JOBS))) for _ in range(random.randrange(1, 4))]
    rights += [Right(random.choice(pool), None, is_of_queue=True) for _ in range(random.randrange(3))]
    return [each for each in rights if each.queue is not None or random.random() < 0.2]


class Worlds:
    """Both bridges. The client must get the same from both."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.rights = some_rights(random)
        self.judge = Judge(self.rights)
        self.job_id = random.choice(JOBS)
        self.seen = [queue for queue in QUEUES if self.judge.may_read(queue, self.job_id)]
        discovers = self.discovers = random.random() < 0.5
        self.whole = World(sight(*(each.text for each in self.rights)), discovers=discovers, others=True)
        self.part = World(self.judge, discovers=discovers, others=False)
        self.clock, self.number = 1_000_000, 0
        self.positions: dict[str, str] = {}
        if not discovers:
            for queue in QUEUES:
                self.find(queue)

    def both(self, queue: str, name: str, *args: Any, **keys: Any) -> None:
        getattr(self.whole, name)(queue, *args, **keys)
        if queue in self.seen:
            getattr(self.part, name)(queue, *args, **keys)

    # ---- steps ----

    def write(self) -> None:
        queue, job_id = self.random.choice(QUEUES), self.random.choice(JOBS)
        name = self.random.choice(NAMES)
        self.clock += self.random.choice((1, 5, 900, 50_000))
        self.number += 1
        fields = {"event": name, "jobId": job_id, "prev": "active", "returnvalue": str(self.number)}
        fields |= {"failedReason": str(self.number), "data": str(self.number)}
        is_readable = self.judge.may_read(queue, job_id)
        for world, its_job in ((self.whole, job_id), (self.part, job_id if is_readable else STRANGER)):
            if world is self.whole or queue in self.seen:
                flat = [part.encode() for pair in {**fields, "jobId": its_job}.items() for part in pair]
                state = name if name in ("completed", "failed") else "active"
                snapshot = None if name == "removed" else snapshot_of((queue, its_job), state, self.number)
                world.event(queue, f"{self.clock}-0", flat, snapshot)
        if self.random.random() < 0.7:
            self.both(queue, "read")

    def write_of_queue(self) -> None:
        """Write an event of a queue itself."""
        queue, name = self.random.choice(QUEUES), self.random.choice(OF_QUEUES)
        self.clock += 1
        fields = [b"event", name.encode(), b"returnvalue", b"1"]
        self.whole.write_entry(queue, f"{self.clock}-0", fields)
        if queue in self.seen:
            is_readable = self.judge.may_read_queue(queue)
            self.part.write_entry(queue, f"{self.clock}-0", fields if is_readable else [b"event", b"hidden"])

    def vanish(self) -> None:
        job = self.random.choice(QUEUES), self.random.choice(JOBS)
        self.whole.vanish(job)
        if self.judge.may_read(*job):
            self.part.vanish(job)

    def log(self) -> None:
        job = self.random.choice(QUEUES), self.random.choice(JOBS)
        self.number += 1
        for world in (self.whole, self.part):
            if world is self.whole or (job[0] in self.seen and self.judge.may_read(*job)):
                world.write(job, b"line %d" % self.number)

    def read_lines(self) -> None:
        for queue in self.random.sample(QUEUES, 2):
            self.both(queue, "read_lines", self.job_id)

    def send_lines(self) -> None:
        for queue in QUEUES:
            self.both(queue, "send_lines", self.job_id)

    def find(self, queue: str | None = None) -> None:
        self.both(queue or self.random.choice(QUEUES), "find", quiet=self.random.random() < 0.2)

    def forget(self) -> None:
        if self.discovers and self.random.random() < 0.3:
            self.both(self.random.choice(QUEUES), "forget")

    def read(self) -> None:
        for queue in QUEUES:
            self.both(queue, "read")

    def hole(self) -> None:
        queue = self.random.choice(QUEUES)
        self.both(queue, "begin_reread", self.random.choice(("trimmed", "recreated")), self.random.randrange(8))

    def heal(self) -> None:
        for queue in QUEUES:
            self.both(queue, "end_reread")

    def sweep(self) -> None:
        self.both(self.random.choice(QUEUES), "sweep")

    def ask(self) -> None:
        with_job = self.random.choice((None, *JOBS))
        self.whole.ask(with_job)
        self.part.ask(with_job)

    def answer(self) -> None:
        self.whole.answer(float(self.clock))
        self.part.answer(float(self.clock))

    def read_back(self) -> None:
        self.whole.read_back()
        self.part.read_back()

    def disturb(self) -> None:
        item: dict[str, Any] = {"jobId": self.random.choice(JOBS), "events": ["*"], "logs": True}
        if self.random.random() < 0.5:
            item["queue"] = self.random.choice(QUEUES)
        self.whole.disturb({"event": "subscribe-job", "data": item})

    # ---- requests ----

    def request(self) -> None:
        draw = self.random.random()
        data: Any
        if draw < 0.15:
            message: dict[str, Any] = {"event": "ping"}
        elif draw < 0.25:
            message = {"event": "unsubscribe-job", "data": self.room()}
        elif draw < 0.4:
            message = {
                "event": self.random.choice(("subscribe-queue", "subscribe-queue", "unsubscribe-queue")),
                "data": {
                    "queue": self.random.choice((*QUEUES, "none", "*", "*")),
                    "events": [*NAMES, *OF_QUEUES],
                    **({"after": self.after()} if self.random.random() < 0.5 else {}),
                },
            }
        else:
            data = [self.item() for _ in range(self.random.randrange(1, 4))]
            if self.random.random() < 0.5:
                data = data[0]
            message = {"event": "subscribe-job", "data": data}
        message["ref"] = self.number = self.number + 1
        self.whole.receive(message, float(self.number))
        self.part.receive(message, float(self.number))

    def room(self) -> dict[str, Any]:
        """Return the client's job, or something that it may not read."""
        queue = self.random.choice((None, None, *QUEUES, "none"))
        job_id = self.random.choice(JOBS)
        readable = self.judge.reads_somewhere(job_id) if queue is None else self.judge.may_read(queue, job_id)
        room: dict[str, Any] = {"jobId": self.job_id if readable else job_id, "sub": self.random.randrange(4)}
        return room if queue is None else {**room, "queue": queue}

    def item(self) -> dict[str, Any]:
        item: dict[str, Any] = {**self.room(), "events": self.random.choice((["*"], ["progress"], ["completed"]))}
        if self.random.random() < 0.3:
            item["until"] = "end"
        if self.random.random() < 0.3:
            item["logs"] = True
        if self.random.random() < 0.5:
            item["after"] = self.after()
        unknown = [queue for queue in QUEUES if not any(each.queue in (None, queue) for each in self.rights)]
        if unknown and not self.discovers and self.random.random() < 0.3:  # the form of a position does not matter here
            item.setdefault("after", {})[unknown[0]] = "no position"
            item["logs"] = {"after": {unknown[0]: "no position"}}
        return item

    def after(self) -> dict[str, str]:
        """Return positions, also in queues that the client may not see."""
        hidden = {queue: f"{self.random.randrange(2_000_000)}-0" for queue in QUEUES if queue not in self.seen}
        return {**self.positions, **hidden}

    # ---- comparing ----

    def compare(self, step: str) -> None:
        received, expected = self.whole.frames(), self.part.frames()
        assert received == expected, f"after {step}, with {self.rights} for the job {self.job_id}"
        if self.seen and self.random.random() < 0.2:
            self.positions[self.random.choice(self.seen)] = f"{self.clock - self.random.randrange(60_000)}-0"

    # ---- another token ----

    def renew(self) -> list[dict[str, Any]]:
        """The client sends another token. Return what it gets before the ack."""
        self.rights = some_rights(self.random)
        self.judge.rights = self.rights
        data = AuthenticatedData("authenticate", None, (), 0)
        self.whole.client.renew(sight(*(each.text for each in self.rights)), Authenticate("x", None), data)
        *frames, ack = [json.loads(frame) for frame in self.whole.frames()]
        assert ack["data"]["request"] == "authenticate"
        return frames

    def check(self, text: bytes) -> None:
        """A frame names only queues in which the client may read its job."""
        for queue in QUEUES:
            assert self.judge.may_read(queue, self.job_id) or f'"{queue}"'.encode() not in text, (text, self.rights)


ROOMS: Final = ("anywhere", "_named", "_queues", "_every_queue", "_found", "_limited", "_counts")
STEP_NAMES: Final = (
    *("write", "write", "write", "write", "write_of_queue", "write_of_queue", "request", "request", "ask", "ask"),
    *("answer", "answer", "read_back", "read_back", "log", "read_lines", "read_lines", "send_lines"),
    *("sweep", "disturb", "read", "find", "forget", "vanish", "hole", "heal", "heal"),
)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_client_gets_what_a_bridge_sends_that_has_only_what_it_may_see(seed: int) -> None:
    worlds = Worlds(seed)
    for _ in range(STEPS):
        step = worlds.random.choice(STEP_NAMES)
        getattr(worlds, step)()
        worlds.compare(step)
    assert {job for job in worlds.whole.looked_up if not worlds.judge.may_read(*job)} == set()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_follows_of_what_another_token_does_not_allow(seed: int) -> None:
    worlds = Worlds(seed)
    for number in range(1, 2 * STEPS):
        getattr(worlds, worlds.random.choice(STEP_NAMES))()
        for text in worlds.whole.frames():
            worlds.check(text)
        if number % 40 == 0:
            worlds.part.client.end_all()  # it has other rights
            for frame in worlds.renew():
                queue = frame["data"].get("queue")
                if frame["event"] == "ended" and queue == "*":
                    assert not worlds.judge.reads_somewhere(None)
                elif frame["event"] == "ended" and queue is not None:
                    assert not worlds.judge.may_read(queue, frame["data"].get("jobId"))
                elif frame["event"] == "ended":
                    assert not worlds.judge.reads_somewhere(frame["data"]["jobId"])
                else:
                    worlds.check(json.dumps(frame).encode())
    rooms = worlds.whole.fanout.rooms
    for subscription in list(worlds.whole.client._subscriptions):
        assert all(map(subscription.gets_events_of, subscription.job_states))
        assert subscription.sight is None or subscription.sight is worlds.whole.client.session.sight
    worlds.whole.client.end_all()
    if worlds.whole.other is not None:
        worlds.whole.other.end_all()
    assert not any(vars(rooms)[name] for name in ROOMS)
