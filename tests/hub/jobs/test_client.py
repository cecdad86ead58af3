"""After any order of requests, look-ups and events, the rooms are consistent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw

from jobws.bullmq.snapshot import LookUp
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.pending import UNAVAILABLE
from jobws.hub.jobs.replay import deliver_outcome, replay
from jobws.hub.outbox import Outbox
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.codec import encode
from jobws.protocol.messages import JobSnapshot, Pong, PongData
from jobws.protocol.request_types import Room
from jobws.protocol.session import Close, Session
from tests.support import SEEDS
from tests.support.fanout import ignore, new_fanout
from tests.support.sight import EVERYTHING
from tests.support.steps import ask_for, begin_again, do_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.hub.jobs.query import Query

QUEUES = ("http", "analyzer")
DONE = [b"event", b"completed", b"jobId", b"1"]
# What the streams hold.
ENTRIES: dict[tuple[str, bytes], list[bytes]] = {}
CLIENTS = 2
NOTHING = LookUp({}, {}, {})
MAX_SUBSCRIPTIONS = 4

job_ids = st.sampled_from(("1", "2", "3"))
rooms = st.builds(Room, st.sampled_from((None, *QUEUES)), job_ids)
events = st.sampled_from((None, ["completed"], ["*"], ["active", "failed"]))


def fanout_with_queues(on_gap: Callable[[str], None] = ignore) -> Fanout:
    fanout = new_fanout(on_gap=on_gap)
    for queue in QUEUES:
        do_all(fanout.fill(queue, [], "0-0"))
    return fanout


def publish(fanout: Fanout, queue: str, stream_id: bytes, fields: list[bytes]) -> None:
    ENTRIES[queue, stream_id] = fields
    assert fanout.publish(queue, [(stream_id, fields)]) == 1


class Client:
    """A client, and what it has got."""

    def __init__(self, fanout: Fanout) -> None:
        self.fanout = fanout
        session = Session(QUEUES, 262144, 10, EVERYTHING)
        self.hub_client = JobClient(session, fanout, QUEUES, MAX_SUBSCRIPTIONS, 1 << 20, lambda: None, lambda _: None)
        self.pending: list[PendingSubscription] = []
        self.queries: dict[PendingSubscription, Query] = {}
        self.unanswered: set[int] = set()
        self.answered: list[int] = []
        self.seen: list[tuple[str, str]] = []
        self.live: dict[Room, int] = {}

    def ask(self, event: str, data: object, ref: int) -> None:
        self.unanswered.add(ref)
        pending = self.hub_client.receive(json.dumps({"event": event, "data": data, "ref": ref}), 100.0 * ref)
        if pending is not None:
            self.pending.append(pending)
            self.queries[pending] = ask_for(pending, QUEUES, self.fanout)

    def pong(self) -> dict[str, str]:
        self.drain()
        self.hub_client.receive('{"event": "ping"}', 0.0)
        after: dict[str, str] = self.drain()[-1]["data"]["after"]
        return after

    def complete(self, pending: PendingSubscription) -> None:
        """Answer a subscription: Redis knows no job, and past events are replayed."""
        query = self.queries.pop(pending)
        query.keep_answer(NOTHING)
        do_all(self.hub_client.complete(pending, query, 0.0))
        self.read_back()

    def read_back(self) -> None:
        while backlog := self.hub_client.backlog:
            events, _ = backlog.take(16)
            for of, index in events:
                stream_id = of.stream_ids[index]
                replay(self.fanout, of, index, (stream_id, ENTRIES[of.queue, stream_id]))

    def drain(self) -> list[dict[str, Any]]:
        frames = [json.loads(frame.payload) for frame in self.hub_client.outbox.take()]
        for frame in frames:
            if frame["event"] == "pong":
                continue
            if "ref" in frame:
                assert frame["ref"] in self.unanswered, "an answer too many"
                self.unanswered.remove(frame["ref"])
                self.answered.append(frame["ref"])
            else:
                self.seen.append((frame["data"]["queue"], frame["id"]))
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
    """Two clients, two queues and three job ids. Everything happens in any order."""

    @initialize()
    def start(self) -> None:
        self.fanout = fanout_with_queues()
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
        assert room not in client.hub_client.keys

    @precondition(lambda self: any(client.pending for client in self.clients))
    @rule(data=st.data(), available=st.booleans())
    def answer(self, data: st.DataObject, available: bool) -> None:
        client = data.draw(st.sampled_from([client for client in self.clients if client.pending]))
        pending = client.pending.pop(data.draw(st.integers(0, len(client.pending) - 1)))
        if available:
            client.complete(pending)
        else:
            client.hub_client.fail(pending, UNAVAILABLE)

    @rule(queue=st.sampled_from(QUEUES), job_id=job_ids, event=st.sampled_from(("active", "completed", "failed", "x")))
    def publish(self, queue: str, job_id: str, event: str) -> None:
        wanted = [
            sum(
                subscription.acked
                and subscription.request.key.queue in (None, queue)
                and subscription.request.key.job_id in (None, job_id)
                and (subscription.request.events is None or event in subscription.request.events)
                for subscription in client.hub_client._subscriptions
            )
            for client in self.clients
        ]
        for client in self.clients:
            client.drain()
        before = [len(client.seen) for client in self.clients]
        self.entry += 1
        fields = [b"event", event.encode(), b"jobId", job_id.encode(), b"returnvalue", b"1"]
        publish(self.fanout, queue, b"%d-0" % self.entry, fields)
        for client, count, wants in zip(self.clients, before, wanted, strict=True):
            client.drain()
            assert len(client.seen) - count == wants, "live subscriptions and deliveries differ"

    @rule(number=st.integers(0, CLIENTS - 1))
    def leave(self, number: int) -> None:
        client = self.clients[number]
        client.hub_client.close(Close(CloseCode.SERVICE_RESTART, ""))
        client.drain()
        assert not client.hub_client.keys
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
            registered |= {(id(m.client), m.request.key) for m in registry.whole_queue(queue)}
        assert all(rooms), "an empty room stays"
        for members in rooms:
            registered |= {(id(member.client), member.request.key) for member in members}
        own = {
            (id(client.hub_client), subscription.request.key)
            for client in self.clients
            for subscription in client.hub_client._subscriptions
            if subscription.acked
        }
        assert registered == own
        for client in self.clients:
            assert len(client.hub_client.keys) <= MAX_SUBSCRIPTIONS

    @invariant()
    def every_request_has_one_answer(self) -> None:
        for client in getattr(self, "clients", ()):
            client.drain()
            pending = {pending.request.ref for pending in client.pending}
            assert client.unanswered <= pending, "a request without an answer"

    @invariant()
    def nothing_is_held(self) -> None:
        for client in getattr(self, "clients", ()):
            connection = client.hub_client
            connection.outbox.take()
            assert connection.outbox.size == 0
            assert not any(subscription.held for subscription in connection._subscriptions)
            assert not connection.outbox.overflowed


TestHub = pytest.mark.long(Hub.TestCase)
TestHub.settings = settings(max_examples=SEEDS, stateful_step_count=40)


def test_what_happened_before_the_ack_is_read_back_after_it() -> None:
    fanout = fanout_with_queues()
    client = Client(fanout)
    client.ask("subscribe-job", "1", 1)
    publish(fanout, "http", b"1-0", DONE)
    assert client.drain() == []
    client.complete(client.pending[0])
    frames = client.drain()
    assert [frame["event"] for frame in frames] == ["ack", "completed"]
    assert frames[0]["data"]["after"] == {"http": f"0-{2**64 - 1}"}
    assert "unknown" not in frames[0]["data"]


def test_a_client_that_does_not_read_overflows_alone() -> None:
    fanout = fanout_with_queues()
    slow, good = Client(fanout), Client(fanout)
    for client in (slow, good):
        client.ask("subscribe-job", "1", 1)
        client.complete(client.pending[0])
        client.drain()
    for number in range(1, 41):
        publish(fanout, "http", b"%d-0" % number, [*DONE, b"returnvalue", b'"%b"' % (b"x" * 60_000)])
        assert len(good.drain()) == 1
    assert slow.hub_client.outbox.overflowed
    assert slow.hub_client.outbox.size <= 1 << 20


def test_a_large_result_of_several_subscriptions_counts_once() -> None:
    fanout = fanout_with_queues()
    client = Client(fanout)
    for ref in (1, 2, 3):
        client.ask("subscribe-job", {"sub": ref, "jobId": "1"}, ref)
        client.complete(client.pending[-1])
        client.drain()
    publish(fanout, "http", b"1-0", [*DONE, b"returnvalue", b'"%b"' % (b"x" * 900_000)])
    outbox = client.hub_client.outbox
    assert 900_000 < outbox.size < 901_000
    frames = outbox.take()
    assert len({id(frame.tail) for frame in frames}) == 1
    assert [json.loads(frame.payload)["sub"] for frame in frames] == [1, 2, 3]
    assert [b"".join(frame.wire)[-len(frame) :] for frame in frames] == [frame.payload for frame in frames]
    outbox.written()
    assert outbox.size == 0


def test_a_pong_names_no_queue_in_which_something_is_still_to_be_read_back() -> None:
    """It was acknowledged, so a client that resumes from this pong would lose the event."""
    fanout = fanout_with_queues()
    client = Client(fanout)
    publish(fanout, "http", b"5-0", DONE)
    fanout.verified["http"] = "5-0"
    client.ask("subscribe-job", {"jobId": "1", "queue": "http"}, 1)
    do_all(client.hub_client.complete(client.pending[0], client.queries[client.pending[0]], 0.0))
    assert client.pong() == {}
    client.read_back()
    assert client.pong() == {"http": "5-0"}


def test_nobody_waits_for_room_at_a_client_that_is_gone() -> None:
    outbox = Outbox(10, lambda: None)
    outbox.append(encode(Pong(PongData({}))))
    told: list[bool] = []
    outbox.when_below_low_water(lambda: told.append(True))
    assert (outbox.below_low_water, told) == (False, [])
    outbox.abandon()
    assert (outbox.below_low_water, told) == (True, [True])


def ended(finished_on: float = 5.0) -> JobSnapshot:
    return JobSnapshot("http", "1", "x", "completed", None, finished_on=finished_on, returnvalue=Raw(b"1"))


def test_a_hole_that_is_found_while_a_look_up_is_under_way_has_the_job_looked_up_again() -> None:
    holed: list[str] = []
    fanout = fanout_with_queues(holed.append)
    for queue in ("analyzer", "http"):
        do_all(fanout.fill(queue, [], "0-0"))
        fanout.cursors[queue] = fanout.verified[queue] = "9-0"
    client = Client(fanout)
    client.ask("subscribe-job", {"jobId": "1", "queue": "http"}, 1)
    (pending,) = client.pending
    query = ask_for(pending, QUEUES, fanout)
    query.keep_answer(LookUp({("http", "1"): None}, {("http", "1"): "9-0"}, {"http": "9-0"}))
    begin_again(fanout, "analyzer", "trimmed", "0-0", "0-0")
    assert query.being_reread(pending.present) == [], "it is about another queue"
    begin_again(fanout, "http", "trimmed", "12-0", "11-0")
    assert query.being_reread(pending.present) == ["http"]
    fanout.cursors["http"] = "12-0"
    fanout.end_reread("http", "11-0")
    assert query.being_reread(pending.present) == []
    fanout.without_position.clear()
    holed.clear()
    do_all(client.hub_client.complete(pending, query, 10.0))
    (ack,) = client.drain()
    assert (ack["data"]["gap"], ack["data"]["unknown"]) == (True, True)
    assert (holed, fanout.without_position) == (["http"], {"http"}), "no position is told before the job was looked up"


def test_a_client_that_comes_back_twice_does_not_get_an_outcome_again_whose_job_is_gone() -> None:
    """The stream still has the outcome, so each ack has a position in this queue."""
    fanout = fanout_with_queues()
    publish(fanout, "http", b"5-0", DONE)
    after: object = None
    for ref, expected in enumerate((["ack", "completed"], ["ack"], ["ack"]), 1):
        client = Client(fanout)
        client.ask("subscribe-job", {"jobId": "1"} if after is None else {"jobId": "1", "after": after}, ref)
        client.complete(client.pending[0])
        frames = client.drain()
        assert [frame["event"] for frame in frames] == expected
        after = {"http": "5-0"} if ref == 1 else frames[0]["data"]["after"]
        assert after == {"http": "5-0"}


def test_a_position_does_not_pass_an_outcome_that_comes_from_the_hash() -> None:
    fanout = fanout_with_queues()
    do_all(fanout.fill("http", [], "8-0"))
    fanout.cursors["http"] = fanout.verified["http"] = "9-0"
    client = Client(fanout)
    client.ask("subscribe-job", {"jobId": "1", "queue": "http"}, 1)
    (pending,) = client.pending
    query = ask_for(pending, QUEUES, fanout)
    query.keep_answer(LookUp({("http", "1"): ended()}, {("http", "1"): "9-0"}, {"http": "9-0"}))
    do_all(client.hub_client.complete(pending, query, 10.0))
    (ack,) = client.drain()
    assert ack["data"]["after"] == {"http": "0-0"}
    backlog = client.hub_client.backlog
    assert backlog is not None
    (owed,) = backlog.take(16)[1]
    deliver_outcome(fanout, owed, ended(), "9-0", fanout.known("http"))
    (outcome,) = client.drain()
    assert (outcome["event"], outcome["id"]) == ("completed", "9-0~5.0")
