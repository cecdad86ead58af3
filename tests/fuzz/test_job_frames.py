"""Messages to `/ws` that are nearly right: nothing raises, nothing leaks, and nothing is left of a client that left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from jobws.protocol.requests import may_read
from jobws.protocol.session import Standing
from tests.fuzz.frames import HIDING, SCOPES, data_of_jobs
from tests.fuzz.walk import EVERY, HIDDEN, SIGHTS, WALKS, Side, Walker, steps
from tests.hub.two_worlds import STRANGER, World, snapshot_of

if TYPE_CHECKING:
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.hub.jobs.subscription import Subscription

QUEUES = ("http", "sparql")
names = st.sampled_from(("added", "active", "progress", "completed", "failed", "removed", "x"))
happening = st.one_of(
    st.tuples(st.just("event"), st.sampled_from(("1", "2")), names),
    st.tuples(st.just("line"), st.sampled_from(("1", "2"))),
    st.sampled_from(
        [
            ("answer",),
            ("read",),
            ("fetch",),
            ("expire",),
            ("time", 0.2),
            ("time", 20.0),
            ("abuse",),
            ("hole",),
            ("read_lines",),
            ("send_lines",),
        ]
    ),
)


class JobSide(Side):
    """A bridge with one client. `job` is the id of the job that is called 1 in the other bridge."""

    def __init__(self, token: str, job: str) -> None:
        self.world = World(SIGHTS[token], discovers=False, others=False)
        for queue in QUEUES:
            self.world.find(queue, quiet=False)
        self.walker = Walker(self.world.client, token)
        self._job = job
        self._clock = 1_000_000
        for state in ("active", "completed"):
            self.event("1", state)
        self.line("1")
        self.read()

    def wait(self, pending: PendingSubscription) -> None:
        self.world.pending.append((pending, None))

    def event(self, job_id: str, name: str) -> None:
        self._clock += 1
        its_job = self._job if job_id == "1" else job_id
        fields = {
            "event": name,
            "jobId": its_job,
            "prev": "active",
            "returnvalue": "7",
            "failedReason": "x",
            "data": "7",
        }
        snapshot = None if name == "removed" else snapshot_of(("http", its_job), name, 7)
        flat = [part.encode() for pair in fields.items() for part in pair]
        self.world.event("http", f"{self._clock}-0", flat, snapshot)

    def line(self, job_id: str) -> None:
        self.world.write(("http", self._job if job_id == "1" else job_id), b"line of %s" % job_id.encode())

    def read(self) -> None:
        self.world.read("http")

    def read_lines(self) -> None:
        for job_id in ("1", "2"):
            self.world.read_lines("http", job_id)

    def send_lines(self) -> None:
        for job_id in ("1", "2"):
            self.world.send_lines("http", job_id)

    def hole(self) -> None:
        self.world.begin_reread("http", "trimmed", 1)
        self.world.end_reread("http")

    def fetch(self) -> None:
        self.world.sweep("http")
        self.world.read_back()

    def answer(self) -> None:
        while self.world.pending:
            self.world.ask(None)
            self.world.answer(0.0)

    # ---- checking ----

    def check(self) -> None:
        """The client has only what it may have, and the rooms have only what the client has."""
        client, fanout = self.world.client, self.world.fanout
        subscriptions = list(client._subscriptions)
        waiting = [each for pending in client._pending for each in pending.present]
        assert client.closing is None or not (subscriptions or client._pending)
        assert len(subscriptions) <= 20
        assert client.session.sight is self.walker.sight
        for each in subscriptions:
            assert not each.ended
            assert may_read(self.walker.sight, each.request.key)
            assert each.sight is None or each.sight is self.walker.sight
            assert each.acked != (each in waiting)
        acked = {each for each in subscriptions if each.acked}
        assert set(members(self)) == acked
        followers = {each for of_job in fanout.job_logs.followers.values() for each in of_job}
        assert followers <= acked
        assert fanout.job_logs.draining.keys() <= acked

    def leave(self) -> None:
        """The client leaves, and nothing of it is left."""
        client, fanout = self.world.client, self.world.fanout
        client.end_all()
        client.outbox.take()
        client.outbox.written()
        assert client.outbox.size == 0
        assert not client._subscriptions.keys
        assert not client._pending
        rooms = vars(fanout.rooms)
        left = [
            name
            for name in ("anywhere", "_named", "_queues", "_found", "_seeking", "_limited", "_counts")
            if rooms[name]
        ]
        logs = fanout.job_logs
        assert (left, logs.followers, logs.draining, logs._draining_of) == ([], {}, {}, {})


def members(side: JobSide) -> list[Subscription]:
    rooms = side.world.fanout.rooms
    of_jobs = [rooms.anywhere, *rooms._named.values()]
    in_jobs = [each for by_id in of_jobs for room in by_id.values() for each in room]
    return in_jobs + [each for room in (rooms._every_queue, *rooms._queues.values()) for each in room]


@WALKS
@given(st.sampled_from(HIDING), st.booleans(), steps(data_of_jobs, HIDDEN, happening))
def test_a_client_without_the_right_learns_nothing_of_the_job(token: str, has_token: bool, taken: list[Any]) -> None:
    sides = [JobSide(token, "1"), JobSide(token, STRANGER)]
    for side in sides:
        if not has_token:
            side.walker.client.session.standing = Standing.WITHOUT_TOKEN
    for step in (*taken, ("answer",), ("read",), ("fetch",)):
        for side in sides:
            side.take(step)
            side.check()
        received, expected = (side.walker.frames() for side in sides)
        assert received == expected, step
    assert ("http", "1") not in sides[0].world.looked_up
    for side in sides:
        side.walker.check_answers()
        side.leave()


def is_of_the_job(frame: dict[str, Any]) -> bool:
    data = frame["data"]
    about = data.get("queue"), data.get("jobId")
    return about == ("http", "1") and frame["event"] not in ("ack", "error", "ended")


@WALKS
@given(st.sampled_from(list(SCOPES)), steps(data_of_jobs, EVERY, happening))
def test_a_client_gets_answers_and_events_of_what_it_may_read(token: str, taken: list[Any]) -> None:
    side = JobSide(token, "1")
    for step in (*taken, ("answer",), ("read",), ("send_lines",), ("read_lines",), ("send_lines",), ("fetch",)):
        side.take(step)
        side.check()
        received = side.walker.frames()
        if not side.walker.sight.may_read("http", "1"):
            assert not any(is_of_the_job(json.loads(frame)) for frame in received), step
    side.walker.check_answers()
    side.leave()


@WALKS
@given(st.sampled_from(list(SCOPES)), steps(data_of_jobs, EVERY, happening))
def test_a_client_that_leaves_before_the_answers_leaves_nothing(token: str, taken: list[Any]) -> None:
    side = JobSide(token, "1")
    for step in taken:
        side.take(step)
    side.walker.frames()
    side.leave()
