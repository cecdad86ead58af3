"""Subscriptions to every queue: which queues they cover, where they begin, and what takes them away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobws.hub.jobs.matching import MAX_MATCHING
from jobws.hub.jobs.queue_replay import QueueReplay
from jobws.hub.jobs.replay import replay
from jobws.protocol.messages import AuthenticatedData
from jobws.protocol.request_types import Authenticate
from tests.hub.one_bridge import Bridge, Client, event
from tests.support.sight import sight
from tests.support.steps import begin_again

if TYPE_CHECKING:
    from jobws.access.visible import IdentitySight

ALL = {"queue": "*", "events": ["*"]}
DRAINED = [b"event", b"drained"]


def renew(client: Client, rights: IdentitySight) -> list[dict[str, Any]]:
    """Replace the client's token, and return the frames before the ack."""
    client.hub_client.renew(rights, Authenticate("x", None), AuthenticatedData("authenticate", None, (), 0))
    *frames, ack = client.frames()
    assert ack["data"]["request"] == "authenticate"
    return frames


def subscribe(client: Client, data: object = ALL, **ends: str) -> dict[str, Any]:
    """Subscribe, and return the data of the ack. `ends` are the last ids of the queues' streams."""
    pending = client.begin(data, "subscribe-queue")
    client.complete(pending, {(queue, ""): None for queue in ends}, max(ends.values(), default="0-0"))
    (ack,) = client.frames()
    assert ack["event"] == "ack", ack
    found: dict[str, Any] = ack["data"]
    return found


def read_back(bridge: Bridge, client: Client, streams: dict[tuple[str, bytes], list[bytes]]) -> list[str | None]:
    """Deliver what the client missed, and return the positions of the frames."""
    backlog = client.hub_client.backlog
    assert backlog is not None
    for each, index in backlog.take(100)[0]:
        assert isinstance(each, QueueReplay)
        stream_id = each.stream_ids[index]
        replay(bridge.fanout, each, index, (stream_id, streams[each.queue, stream_id]))
    return [position for _, position in client.received()]


def test_it_gets_the_events_of_all_queues_and_of_those_that_are_found_later() -> None:
    bridge = Bridge()
    client = Client(bridge)
    bridge.publish("1-0", DRAINED)
    assert subscribe(client) == {"request": "subscribe-queue", "after": {"analyzer": "0-0", "http": "1-0"}}
    assert bridge.listened == [None]
    bridge.open("later")
    for number, queue in enumerate(("http", "later", "analyzer"), 2):
        bridge.publish(f"{number}-0", event("active"), queue)
    assert [(frame["data"]["queue"], frame["id"]) for frame in client.frames()] == [
        *(("http", "2-0"), ("later", "3-0"), ("analyzer", "4-0"))
    ]
    client.ask("ping")
    (pong,) = client.frames()
    assert pong["data"]["after"] == {"analyzer": "4-0", "http": "2-0", "later": "3-0"}
    bridge.fanout.forget("later")
    client.ask("ping")
    assert set(client.frames()[0]["data"]["after"]) == {"analyzer", "http"}
    client.ask("unsubscribe-queue", "*")
    assert client.frames()[0]["data"]["left"] is True
    assert bridge.listened == [None, None]
    assert not bridge.fanout.rooms


def test_all_queues_are_read_immediately_but_none_is_kept_for_it() -> None:
    bridge = Bridge()
    client = Client(bridge)
    rooms = bridge.fanout.rooms
    renew(client, sight("read:jobs:http"))
    subscribe(client)
    assert [rooms.is_listened_to(queue) for queue in ("http", "analyzer")] == [True, False]
    assert not rooms.is_named("http")
    assert len(rooms) == 1


def test_it_covers_the_queues_that_the_client_may_read() -> None:
    bridge = Bridge()
    client = Client(bridge)
    renew(client, sight("read:jobs:http", "read:jobs:later", "read:queues:later", "read:jobs:analyzer/1"))
    assert subscribe(client)["after"] == {"http": "0-0"}
    bridge.open("later")
    for queue in ("http", "analyzer", "later"):
        bridge.publish("1-0", event("active"), queue)
        bridge.publish("2-0", DRAINED, queue)
    assert [(frame["data"]["queue"], frame["id"]) for frame in client.frames()] == [
        *(("http", "1-0"), ("later", "1-0"), ("later", "2-0"))
    ]
    begin_again(bridge.fanout, "analyzer", "trimmed", "3-0", "0-0")
    begin_again(bridge.fanout, "http", "trimmed", "3-0", "0-0")
    assert [frame["data"]["queue"] for frame in client.frames()] == ["http"]


def test_without_a_right_to_a_whole_queue_it_is_refused() -> None:
    client = Client(Bridge())
    renew(client, sight("read:jobs:http/1", "read:queues:*"))
    assert client.ask("subscribe-queue", ALL) is None
    assert client.frames()[0]["data"]["code"] == "forbidden"
    assert client.ask("subscribe-queue", {"queue": "*", "events": ["queue-stats"]}) is not None
    renew(client, sight("read:jobs:http"))
    assert client.ask("subscribe-queue", {"queue": "*", "events": ["queue-stats"]}) is None


def test_another_token_changes_the_queues_or_ends_it() -> None:
    bridge = Bridge()
    client = Client(bridge)
    subscribe(client, {**ALL, "sub": 1})
    assert renew(client, sight("read:jobs:analyzer")) == []
    bridge.publish("1-0", event("active"), "http")
    bridge.publish("1-0", event("active"), "analyzer")
    assert renew(client, sight("read:jobs:*")) == [
        {"event": "active", "id": "1-0", "sub": 1, "data": {"queue": "analyzer", "jobId": "1"}}
    ]
    bridge.publish("2-0", event("active"), "http")
    bridge.publish("3-0", DRAINED, "http")
    (active, ended) = renew(client, sight("read:jobs:http/1"))
    assert active["id"] == "2-0"
    data = {"code": "forbidden", "message": "the token does not allow this", "queue": "*"}
    assert ended == {"event": "ended", "sub": 1, "data": data}


def test_what_was_missed_comes_queue_by_queue_and_new_queues_from_their_first_event_on() -> None:
    bridge = Bridge()
    client = Client(bridge)
    streams = {}
    for queue in ("http", "analyzer", "sparql"):
        if queue == "sparql":
            bridge.open(queue)
        for number in (1, 2, 3):
            streams[queue, b"%d-0" % number] = event("active")
            bridge.publish(f"{number}-0", event("active"), queue)
    after = {"http": "2-0", "analyzer": "3-0", "gone": "1-0"}
    ack = subscribe(client, {**ALL, "after": after}, http="3-0", analyzer="3-0")
    assert ack["after"] == {"analyzer": "3-0", "http": "2-0", "sparql": "0-0"}
    bridge.publish("4-0", event("active"), "analyzer")
    client.ask("ping")
    assert client.frames() == [{"event": "pong", "data": {"after": {}}}]
    assert read_back(bridge, client, streams) == ["3-0", "1-0", "2-0", "3-0", "4-0"]
    assert client.member().held is None


def test_a_client_of_a_faster_bridge_gets_nothing_twice() -> None:
    bridge = Bridge()
    client = Client(bridge)
    ack = subscribe(client, {**ALL, "after": {"http": "3-0", "analyzer": "0-0"}}, http="3-0", analyzer="3-0")
    assert ack["after"] == {"analyzer": "0-0", "http": "3-0"}
    for queue in ("http", "analyzer"):
        for number in (2, 3, 4):
            bridge.publish(f"{number}-0", event("active"), queue)
    assert client.received() == [("active", "4-0"), *(("active", f"{number}-0") for number in (2, 3, 4))]


def test_a_queue_that_is_found_before_the_answer_needs_another_look_up() -> None:
    bridge = Bridge()
    client = Client(bridge)
    pending = client.begin(ALL, "subscribe-queue")
    query = client.complete(pending, meanwhile=lambda: bridge.open("later"))
    assert (client.frames(), pending.is_begun) == ([], False)
    assert query.must_wait_for(client.member())
    del bridge.queues["later"], bridge.queues["http"]
    assert not query.must_wait_for(client.member())


def test_one_that_returns_waits_while_a_stream_is_read_again() -> None:
    bridge = Bridge()
    clients = [Client(bridge) for _ in range(3)]
    renew(clients[2], sight("read:jobs:analyzer"))
    begin_again(bridge.fanout, "http", "recreated", "0-0", "0-0")
    waits = []
    for client, data in zip(clients, (ALL, {**ALL, "after": {}}, {**ALL, "after": {}}), strict=True):
        pending = client.begin(data, "subscribe-queue")
        waits.append(client.complete(pending).being_reread(pending.present))
        assert pending.size == 1
    assert waits == [[], ["http"], []]


def test_its_events_count_for_each_job() -> None:
    bridge = Bridge()
    client = Client(bridge)
    for number in range(MAX_MATCHING // 2):
        subscribe(client, {**ALL, "sub": number})
        subscribe(client, {"queue": "http", "sub": number})
    for data in (ALL, "http"):
        client.complete(client.begin(data, "subscribe-queue"))
        assert client.frames()[0]["data"]["code"] == "too-many-subscriptions"
    subscribe(client, "analyzer")


def test_the_numbers_of_every_queue() -> None:
    bridge = Bridge()
    client, other = Client(bridge), Client(bridge)
    renew(client, sight("read:queues:*"))
    renew(other, sight("read:queues:http", "read:jobs:analyzer"))
    numbers = {"queue": "*", "events": ["queue-stats"]}
    assert subscribe(client, numbers)["after"] == {"analyzer": "0-0", "http": "0-0"}
    assert subscribe(other, numbers)["after"] == {"http": "0-0"}
    rooms = bridge.fanout.rooms
    both = [client.member(), other.member()]
    assert rooms.wanting_stats(bridge.queues) == {"http": both, "analyzer": both[:1]}
    assert bridge.wanted == 2
    assert (rooms.wanting_stats([]), rooms.may_want_stats) == ({}, True)
    bridge.publish("1-0", event("active"))
    assert client.frames() == other.frames() == []
    assert [each["data"]["queue"] for each in renew(client, sight("read:jobs:*"))] == ["*"]
    assert rooms.wanting_stats(bridge.queues) == {"http": both[1:]}
