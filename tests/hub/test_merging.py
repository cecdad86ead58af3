"""Merged progress, in any order of events, requests and time: what each subscription gets, and when.

Jobs of two queues report progress and have other events. Subscriptions to a job, in one queue or in any, and to whole
queues come and go, choose different events, and lose and regain rights. Each frame is checked against what happened.
"""

from __future__ import annotations

import json
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest

from jobws.bullmq.snapshot import LookUp
from jobws.hub.jobs.client import JobClient
from jobws.protocol.identifiers import position
from jobws.protocol.messages import AuthenticatedData, JobSnapshot
from jobws.protocol.request_types import Authenticate
from jobws.protocol.session import Session
from tests.hub.one_bridge import Bridge, event
from tests.support import SEEDS
from tests.support.sight import EVERYTHING, sight
from tests.support.steps import ask_for, do_all, jobs_of

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUES: Final = ("http", "analyzer")
JOBS: Final = ("1", "2", "3")
OTHERS: Final = ("active", "waiting", "completed", "mine")
CHOICES: Final = (("*",), ("progress",), ("progress", "completed"), ("completed", "active"), ("progress", "mine"))
SECONDS: Final = 1.0
# An update is sent within one window, and the next one is closed within this time.
LONG: Final = 3.5
SCOPES: Final = (
    ("admin",),
    ("read:jobs:http", "read:queues:http", "read:jobs:analyzer"),
    ("read:jobs:http", "read:jobs:analyzer/1"),
    ("read:jobs:analyzer",),
    ("read:jobs:*/1", "read:jobs:http/2"),
)


class Happened:
    """An event that was published. `at` is when, in seconds."""

    def __init__(self, queue: str, job_id: str, name: str, number: int, at: float) -> None:
        self.queue = queue
        self.job_id = job_id
        self.name = name
        self.number = number
        self.at = at


class Watch:
    """A subscription, and what it must get.

    Attributes:
        waiting: By queue and job, the updates that may be held: of each, the last one must come before anything later.
        due: The other events, which do not wait.
        last: By queue, the id of the last event that came.
        paced_at: By queue, when the last update came that nothing else made due; for a subscription to progress alone.
    """

    def __init__(self, sub: int, queue: str | None, job_id: str | None, events: tuple[str, ...]) -> None:
        self.sub = sub
        self.queue = queue
        self.job_id = job_id
        self.events = events
        self.waiting: dict[tuple[str, str], list[Happened]] = {}
        self.due: list[Happened] = []
        self.last: dict[str, int] = {}
        self.paced_at: dict[str, float] = {}

    def gets(self, each: Happened, scope: Any) -> bool:
        is_mine = self.queue in (None, each.queue) and self.job_id in (None, each.job_id)
        is_chosen = "*" in self.events or each.name in self.events
        return is_mine and is_chosen and self.may_get(each, scope)

    def may_get(self, each: Happened, scope: Any) -> bool:
        """Whether the rights allow this event. Subscriptions that they do not allow at all have ended."""
        return self.queue is not None or bool(scope.may_read(each.queue, self.job_id))

    def happened(self, each: Happened) -> None:
        if each.name == "progress":
            self.waiting.setdefault((each.queue, each.job_id), []).append(each)
        else:
            self.due.append(each)

    def received(self, queue: str, number: int, name: str, data: dict[str, Any]) -> None:
        """Take an event: everything earlier of the queue has come, and of the progress of each job the latest."""
        assert number > self.last.get(queue, 0), "the order of the ids"
        self.last[queue] = number
        if name == "progress":
            job = queue, data["jobId"]
            waiting = self.waiting[job]
            assert number in [each.number for each in waiting], "it was not reported, or it came twice"
            assert data["data"] == number
            self.waiting[job] = [each for each in waiting if each.number > number]
        else:
            assert self.due[0].number == number, f"{self.due[0].number} is missing before {number}"
            del self.due[0]
        self.reached(queue, number)

    def reached(self, queue: str, number: int) -> None:
        """Check that nothing up to this id is still to come, but updates for which a later one will come."""
        assert not [each for each in self.due if each.queue == queue and each.number <= number]
        for (its_queue, _), waiting in self.waiting.items():
            is_late = bool(waiting) and its_queue == queue and waiting[-1].number <= number
            assert not is_late, f"progress {waiting[-1].number} was held at {number}"

    def keep_pace(self, queue: str, now: float) -> None:
        """Check that an update does not come too soon after the one before."""
        if self.events == ("progress",) and self.job_id is not None:
            assert now - self.paced_at.get(queue, 0.0) > SECONDS - 1e-6, "a second update in the same window"
            self.paced_at[queue] = now

    def lose(self, allows: Callable[[Happened], bool]) -> None:
        """Drop what another token does not allow."""
        self.waiting = {job: waiting for job, waiting in self.waiting.items() if not waiting or allows(waiting[0])}
        self.due = [each for each in self.due if allows(each)]


class Client:
    def __init__(self, bridge: Bridge, random: Random) -> None:
        self.bridge = bridge
        self.random = random
        self.scope: Any = EVERYTHING
        session = Session(bridge.queues, 1 << 18, 100, EVERYTHING)
        self.hub_client = JobClient(session, bridge.fanout, bridge.queues, 100, 1 << 26, lambda: None, lambda _: None)
        self.watches: dict[int, Watch] = {}
        self.count = 0

    def ask(self, name: str, data: Any = None) -> Any:
        return self.hub_client.receive(json.dumps({"event": name, "data": data}), 1e4 * self.count)

    def subscribe(self) -> None:
        self.count += 1
        job_id = self.random.choice((None, *JOBS))
        queue = self.random.choice((None, *QUEUES))
        watch = Watch(self.count, queue, job_id, self.random.choice(CHOICES))
        data: dict[str, Any] = {"sub": watch.sub, "events": watch.events}
        # With positions, so that nothing of the past is sent.
        data |= {} if job_id is None else {"jobId": job_id, "after": dict(self.bridge.fanout.cursors)}
        data |= {"queue": queue or "*"} if job_id is None or queue is not None else {}
        pending = self.ask("subscribe-queue" if job_id is None else "subscribe-job", data)
        if pending is None:
            self.take()
            return
        query = ask_for(pending, self.bridge.queues, self.bridge.fanout)
        found = {job: JobSnapshot(*job, "n", "active", None) for job in jobs_of(query)}
        ends = dict(self.bridge.fanout.cursors)
        query.keep_answer(LookUp({**found}, {job: ends[job[0]] for job in found}, ends))
        self.take()
        do_all(self.hub_client.complete(pending, query, 0.0))
        (ack,) = self.frames()
        if ack["event"] == "ack":
            self.watches[watch.sub] = watch
            for at, text in ack["data"]["after"].items():
                watch.last[at] = position(text)[0]

    def unsubscribe(self) -> None:
        if self.watches:
            watch = self.watches.pop(self.random.choice([*self.watches]))
            data: dict[str, Any] = {"sub": watch.sub, "jobId": watch.job_id, "queue": watch.queue}
            data |= {"queue": watch.queue or "*"} if watch.job_id is None else {}
            name = "unsubscribe-queue" if watch.job_id is None else "unsubscribe-job"
            self.take(watch)
            self.ask(name, data)
            assert [frame["event"] for frame in self.frames()] == ["ack"], "nothing of it follows"

    def ping(self) -> None:
        self.take()
        self.ask("ping")
        *frames, pong = self.frames()
        assert pong["event"] == "pong"
        for frame in frames:
            self.took(frame)
        for watch in self.watches.values():
            for queue, text in pong["data"]["after"].items():
                if watch.queue in (None, queue):
                    watch.reached(queue, position(text)[0])

    def renew(self) -> None:
        """Another token. What was held is sent if both tokens allow it, and what is left out never comes."""
        self.take()
        before, self.scope = self.scope, sight(*self.random.choice(SCOPES))
        data = AuthenticatedData("authenticate", None, (), 0)
        self.hub_client.renew(self.scope, Authenticate("x", None), data)
        *frames, _ack = self.frames()
        for frame in frames:
            if frame["event"] == "ended":
                del self.watches[frame["sub"]]
        for frame in frames:
            assert frame["event"] == "ended" or self.scope.may_read(frame["data"]["queue"], frame["data"]["jobId"])
            assert frame["event"] == "ended" or before.may_read(frame["data"]["queue"], frame["data"]["jobId"])
        for watch in self.watches.values():
            watch.lose(partial(watch.may_get, scope=self.scope))
        for frame in frames:
            if frame["event"] != "ended":
                self.took(frame)
        for watch in self.watches.values():
            for waiting in watch.waiting.values():
                assert not waiting, "what is held goes out with the token under which it was reported"

    def frames(self) -> list[dict[str, Any]]:
        frames = [json.loads(frame.payload) for frame in self.hub_client.outbox.take()]
        self.hub_client.outbox.written()
        return frames

    def take(self, and_of: Watch | None = None) -> list[dict[str, Any]]:
        frames = self.frames()
        for frame in frames:
            if and_of is not None and frame.get("sub") == and_of.sub:
                continue
            if frame["event"] != "error":
                self.took(frame)
                self.watches[frame["sub"]].keep_pace(frame["data"]["queue"], self.bridge.fanout._clock())
        return frames

    def took(self, frame: dict[str, Any]) -> None:
        watch, data = self.watches[frame["sub"]], frame["data"]
        watch.received(data["queue"], position(frame["id"])[0], frame["event"], data)


class Model:
    """One bridge, three clients, and the time."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.now = 100.0
        self.holds = False
        self.bridge = Bridge(clock=lambda: self.now, progress_seconds=SECONDS, on_progress=self.hold)
        self.number = 0
        # By queue and job, and by queue alone, when the last update was reported.
        self.reported_at: dict[tuple[str, str | None], float] = {}
        self.clients = [Client(self.bridge, random) for _ in range(3)]
        for _ in range(4):
            for client in self.clients:
                client.subscribe()

    def hold(self) -> None:
        self.holds = True

    def publish(self, name: str) -> None:
        queue, job_id = self.random.choice(QUEUES), self.random.choice(JOBS)
        self.number += 1
        each = Happened(queue, job_id, name, self.number, self.now)
        for client in self.clients:
            client.take()
            for watch in client.watches.values():
                if watch.gets(each, client.scope):
                    watch.happened(each)
        fields = event(name, job_id, data=str(self.number), returnvalue="1")
        self.bridge.publish(f"{self.number}-0", fields, queue)
        for client in self.clients:
            client.take()
            for watch in client.watches.values():
                assert not watch.due, "other events do not wait"
                is_quiet = self.now - self.reported_at.get((queue, watch.job_id), 0.0) > LONG
                assert not (is_quiet and watch.waiting.get((queue, job_id))), "the first update of a quiet job waits"
        if name == "progress":
            self.reported_at[queue, job_id] = self.reported_at[queue, None] = self.now

    def progress(self) -> None:
        self.publish("progress")

    def other(self) -> None:
        self.publish(self.random.choice(OTHERS))

    def wait(self) -> None:
        for _ in range(self.random.choice((1, 2, 5, 20))):
            self.now += 0.2
            if self.holds:
                self.holds = self.bridge.fanout.send_due_progress() is not None
            for client in self.clients:
                client.take()
                for waiting in [each for watch in client.watches.values() for each in watch.waiting.values()]:
                    assert all(self.now - each.at < SECONDS for each in waiting), "it is held for too long"

    def subscribe(self) -> None:
        client = self.random.choice(self.clients)
        if len(client.watches) < 12:
            client.subscribe()

    def of_a_client(self, name: str) -> None:
        getattr(self.random.choice(self.clients), name)()

    def rest(self) -> None:
        for _ in range(3):
            self.now += SECONDS
            self.bridge.fanout.send_due_progress()
        assert not self.bridge.fanout.progress
        for client in self.clients:
            client.take()
            for watch in client.watches.values():
                assert not any(watch.waiting.values()), "the last update must come"


STEPS: Final = (
    *(Model.progress,) * 12,
    *(Model.other,) * 2,
    *(Model.wait,) * 3,
    Model.subscribe,
    lambda model: model.of_a_client("ping"),
    lambda model: model.of_a_client("unsubscribe"),
    lambda model: model.of_a_client("renew"),
)


@pytest.mark.parametrize("part", range(4))
def test_the_latest_progress_comes_before_anything_later_and_nothing_else_changes(part: int) -> None:
    for seed in range(SEEDS * part, SEEDS * (part + 1)):
        model = Model(seed)
        try:
            for _ in range(200):
                model.random.choice(STEPS)(model)
            model.rest()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
