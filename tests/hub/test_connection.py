"""Any interleaving of requests, look-ups and events leaves the rooms consistent and keeps G1 and G2."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw

from jobws.bullmq.snapshot import LookUp
from jobws.hub.connection import UNAVAILABLE, Connection
from jobws.hub.fanout import Fanout
from jobws.hub.lacking import Unsettled
from jobws.hub.outbox import Outbox
from jobws.hub.replaying import settle
from jobws.hub.rooms import Rooms
from jobws.protocol.close import CloseCode
from jobws.protocol.codec import encode
from jobws.protocol.identifiers import position
from jobws.protocol.messages import JobSnapshot, Pong, PongData, Room
from jobws.protocol.session import Close, Session
from tests.support.steps import do_all

if TYPE_CHECKING:
    from jobws.hub.joining import Join

QUEUES = ("http", "analyzer")
CLIENTS = 2
NOTHING = LookUp({}, {}, {})
MAX_SUBSCRIPTIONS = 4

job_ids = st.sampled_from(("1", "2", "3"))
rooms = st.builds(Room, st.sampled_from((None, *QUEUES)), job_ids)
events = st.sampled_from((None, ["completed"], ["*"], ["active", "failed"]))


def new_fanout() -> Fanout:
    fanout = Fanout(Rooms(lambda _queue: None), 1 << 20, lambda: 0.0)
    for queue in QUEUES:
        do_all(fanout.fill(queue, [], "0-0"))
    return fanout


class Client:
    """A connection, and what its client has seen."""

    def __init__(self, fanout: Fanout) -> None:
        session = Session(QUEUES, 262144, 10)
        self.connection = Connection(session, fanout, QUEUES, MAX_SUBSCRIPTIONS, 1 << 20, lambda: None)
        self.joins: list[Join] = []
        self.unanswered: set[int] = set()
        self.answered: list[int] = []
        self.seen: list[tuple[str, str]] = []
        self.live: dict[Room, int] = {}

    def ask(self, event: str, data: object, ref: int) -> None:
        self.unanswered.add(ref)
        join = self.connection.receive(json.dumps({"event": event, "data": data, "ref": ref}), 100.0 * ref)
        if join is not None:
            self.joins.append(join)

    def drain(self) -> list[dict[str, Any]]:
        frames = [json.loads(frame.payload) for frame in self.connection.outbox.take()]
        for frame in frames:
            if "ref" in frame:
                assert frame["ref"] in self.unanswered, "an answer too many"
                self.unanswered.remove(frame["ref"])
                self.answered.append(frame["ref"])
            else:
                key = (frame["data"]["queue"], frame["id"])
                assert key not in self.seen, "delivered twice"
                self.seen.append(key)
        return frames


def data_of(room: Room, chosen: list[str] | None = None, *, until_end: bool = False) -> dict[str, object]:
    data: dict[str, object] = {"jobId": room.job_id}
    if room.queue is not None:
        data["queue"] = room.queue
    if chosen is not None:
        data["events"] = chosen
    if until_end:
        data["until"] = "end"
    return data


class Hub(RuleBasedStateMachine):
    """Two clients, two queues, three ids; everything in any order."""

    @initialize()
    def start(self) -> None:
        self.fanout = new_fanout()
        self.clients = [Client(self.fanout) for _ in range(CLIENTS)]
        self.ref = 0
        self.entry = 0

    @rule(number=st.integers(0, CLIENTS - 1), room=rooms, chosen=events, until_end=st.booleans())
    def subscribe(self, number: int, room: Room, chosen: list[str] | None, until_end: bool) -> None:
        self.ref += 1
        self.clients[number].ask("subscribe-job", data_of(room, chosen, until_end=until_end), self.ref)

    @rule(number=st.integers(0, CLIENTS - 1), some=st.lists(rooms, min_size=1, max_size=3))
    def subscribe_many(self, number: int, some: list[Room]) -> None:
        self.ref += 1
        self.clients[number].ask("subscribe-job", [data_of(room) for room in some], self.ref)

    @rule(number=st.integers(0, CLIENTS - 1), queue=st.sampled_from(QUEUES))
    def subscribe_queue(self, number: int, queue: str) -> None:
        self.ref += 1
        self.clients[number].ask("subscribe-queue", queue, self.ref)

    @rule(number=st.integers(0, CLIENTS - 1), room=rooms)
    def unsubscribe(self, number: int, room: Room) -> None:
        client = self.clients[number]
        client.drain()
        self.ref += 1
        client.ask("unsubscribe-job", data_of(room), self.ref)
        assert room not in client.connection.rooms

    @precondition(lambda self: any(client.joins for client in self.clients))
    @rule(data=st.data(), available=st.booleans())
    def answer(self, data: st.DataObject, available: bool) -> None:
        client = data.draw(st.sampled_from([client for client in self.clients if client.joins]))
        join = client.joins.pop(data.draw(st.integers(0, len(client.joins) - 1)))
        if available:
            client.connection.complete(join, NOTHING, 0.0)
        else:
            client.connection.fail(join, UNAVAILABLE)

    @rule(queue=st.sampled_from(QUEUES), job_id=job_ids, event=st.sampled_from(("active", "completed", "failed", "x")))
    def publish(self, queue: str, job_id: str, event: str) -> None:
        wanted = [
            any(
                membership.held is None
                and membership.subscription.room.queue in (None, queue)
                and membership.subscription.room.job_id in (None, job_id)
                and (membership.subscription.events is None or event in membership.subscription.events)
                for membership in client.connection._memberships.values()
            )
            for client in self.clients
        ]
        for client in self.clients:
            client.drain()
        before = [len(client.seen) for client in self.clients]
        self.entry += 1
        fields = [b"event", event.encode(), b"jobId", job_id.encode(), b"returnvalue", b"1"]
        assert self.fanout.publish(queue, [(b"%d-0" % self.entry, fields)]) == 1
        for client, count, wants in zip(self.clients, before, wanted, strict=True):
            client.drain()
            assert len(client.seen) - count == wants, "live subscriptions and deliveries differ"

    @rule(number=st.integers(0, CLIENTS - 1))
    def leave(self, number: int) -> None:
        client = self.clients[number]
        client.connection.close(Close(CloseCode.SERVICE_RESTART, ""))
        client.drain()
        assert not client.connection.rooms
        self.clients[number] = Client(self.fanout)

    @invariant()
    def rooms_are_what_the_clients_are_in(self) -> None:
        if not hasattr(self, "clients"):
            return
        registered: set[tuple[int, Room]] = set()
        registry = self.fanout.rooms
        rooms = list(registry.anywhere.values())
        for queue in QUEUES:
            rooms += registry.named(queue).values()
            registered |= {(id(m.connection), m.subscription.room) for m in registry.whole_queue(queue)}
        assert all(rooms), "an empty room stays"
        for members in rooms:
            registered |= {(id(member.connection), member.subscription.room) for member in members}
        own = {(id(client.connection), room) for client in self.clients for room in client.connection.rooms}
        assert registered == own
        for client in self.clients:
            assert len(client.connection.rooms) <= MAX_SUBSCRIPTIONS

    @invariant()
    def every_request_has_one_answer(self) -> None:
        for client in getattr(self, "clients", ()):
            client.drain()
            pending = {join.request.ref for join in client.joins}
            assert client.unanswered <= pending, "a request without an answer"

    @invariant()
    def the_outbox_counts_what_is_held(self) -> None:
        for client in getattr(self, "clients", ()):
            connection = client.connection
            connection.outbox.take()
            held = {
                id(each): len(each.frame)
                for membership in connection._memberships.values()
                for each in membership.held or ()
                if not each.delivered
            }
            assert connection.outbox.size == sum(held.values())
            assert not connection.outbox.overflowed


TestHub = pytest.mark.long(Hub.TestCase)
TestHub.settings = settings(max_examples=150, stateful_step_count=40)


def test_the_ack_precedes_the_events_that_came_meanwhile() -> None:
    fanout = new_fanout()
    client = Client(fanout)
    client.ask("subscribe-job", "1", 1)
    fanout.publish("http", [(b"1-0", [b"event", b"completed", b"jobId", b"1"])])
    assert client.drain() == []
    client.connection.complete(client.joins[0], NOTHING, 0.0)
    frames = client.drain()
    assert [frame["event"] for frame in frames] == ["ack", "completed"]
    assert frames[0]["data"]["replays"] == 1, "an ack of nothing would say that there is no such job"


def test_a_client_that_does_not_read_overflows_alone() -> None:
    fanout = new_fanout()
    slow, good = Client(fanout), Client(fanout)
    for client in (slow, good):
        client.ask("subscribe-job", "1", 1)
        client.connection.complete(client.joins[0], NOTHING, 0.0)
        client.drain()
    for number in range(40):
        fields = [b"event", b"completed", b"jobId", b"1", b"returnvalue", b'"%b"' % (b"x" * 60_000)]
        fanout.publish("http", [(b"%d-0" % number, fields)])
        assert len(good.drain()) == 1
    assert slow.connection.outbox.overflowed
    assert slow.connection.outbox.size <= 1 << 20


def test_a_pong_does_not_count_what_is_held_for_a_second_answer() -> None:
    """It was acknowledged once, so whoever resumes from the pong would lose the outcome."""
    fanout = new_fanout()
    client = Client(fanout)
    for ref in (1, 2):
        client.ask("subscribe-job", data_of(Room("http", "1")), ref)
        if ref == 1:
            client.connection.complete(client.joins[0], NOTHING, 0.0)
    fanout.publish("http", [(b"5-0", [b"event", b"completed", b"jobId", b"1"])])
    client.drain()
    client.connection.receive('{"event": "ping"}', 200.0)
    (pong,) = (json.loads(frame.payload) for frame in client.connection.outbox.take())
    assert "http" not in pong["data"]["cursor"]


def test_nobody_waits_for_room_at_a_client_that_is_gone() -> None:
    outbox = Outbox(10, lambda: None)
    outbox.append(encode(Pong(PongData({}))))
    told: list[bool] = []
    outbox.when_roomy(lambda: told.append(True))
    assert (outbox.roomy, told) == (False, [])
    outbox.abandon()
    assert (outbox.roomy, told) == (True, [True])


@pytest.mark.parametrize("ends_before_the_answer", [True, False])
def test_a_whole_queue_is_told_of_a_gap_that_came_while_it_was_pending(ends_before_the_answer: bool) -> None:
    """In its answer, if those who were live were told before that; else as they are."""
    fanout = new_fanout()
    client = Client(fanout)
    client.ask("subscribe-queue", "http", 1)
    fanout.begin_again("http", "5-0")
    if ends_before_the_answer:
        do_all(fanout.end_again("http", "trimmed", "4-0"))
    client.connection.complete(client.joins[0], NOTHING, 0.0)
    (ack,) = client.drain()
    assert ack["data"].get("gap", False) == ends_before_the_answer
    if not ends_before_the_answer:
        do_all(fanout.end_again("http", "trimmed", "4-0"))
        (gap,) = [json.loads(frame.payload) for frame in client.connection.outbox.take()]
        assert gap["event"] == "gap"
    client.ask("subscribe-queue", "http", 2)
    client.connection.complete(client.joins[1], NOTHING, 0.0)
    (ack,) = client.drain()
    assert "gap" not in ack["data"]


def prepared(floor: str) -> tuple[Fanout, Client, Join]:
    """A subscription to a job of a queue that was read up to 9-0, after its position was taken."""
    fanout = new_fanout()
    do_all(fanout.fill("http", [], floor))
    fanout.cursors["http"] = fanout.verified["http"] = "9-0"
    client = Client(fanout)
    client.ask("subscribe-job", {"jobId": "1", "queue": "http"}, 1)
    (join,) = client.joins
    assert join.prepare(fanout)
    return fanout, client, join


def test_a_position_from_before_a_second_reading_does_not_pass_what_that_found() -> None:
    """The stream is read again while a subscription is pending, and has an outcome that was not known before."""
    fanout, client, join = prepared("0-0")
    assert fanout.begin_again("http", "9-0") == "0-0"
    fanout.publish("http", [(b"5-0", [b"event", b"completed", b"jobId", b"1", b"returnvalue", b"1"])])
    client.connection.complete(join, NOTHING, 10.0)
    ack, outcome = (json.loads(frame.payload) for frame in client.connection.outbox.take())
    assert (outcome["event"], outcome["id"]) == ("completed", "5-0")
    assert position(ack["data"]["cursor"]["http"]) < position("5-0")


def test_a_position_does_not_pass_an_outcome_that_a_sweep_found_meanwhile() -> None:
    """It is made from the hash, so it has no id, and waits for the answer like any other."""
    fanout, client, join = prepared("8-0")
    (membership,) = join.present()
    result = JobSnapshot("http", "1", "x", "completed", None, finished_on=5.0, returnvalue=Raw(b"1"))
    settle(fanout, Unsettled(membership, "http", "9-0"), result)
    client.connection.complete(join, LookUp({("http", "1"): result}, {("http", "1"): "9-0"}, {"http": "9-0"}), 10.0)
    ack, outcome = (json.loads(frame.payload) for frame in client.connection.outbox.take())
    assert (outcome["event"], "id" in outcome) == ("completed", False)
    assert ack["data"]["cursor"] == {"http": "0-0"}
