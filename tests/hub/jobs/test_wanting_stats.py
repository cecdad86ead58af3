"""Which subscriptions want the numbers of a queue, and what these look like."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jobws.protocol.messages import AuthenticatedData
from jobws.protocol.queue_stats import QueueStats, stats_tail
from jobws.protocol.request_types import Authenticate
from tests.hub.one_bridge import Bridge, Client, event
from tests.support.fanout import new_fanout
from tests.support.sight import sight

if TYPE_CHECKING:
    from jobws.access.visible import IdentitySight

STATS = {"queue": "http", "events": ["queue-stats"]}


def renew(client: Client, rights: IdentitySight) -> None:
    """Replace the client's token."""
    client.hub_client.renew(rights, Authenticate("x", None), AuthenticatedData("authenticate", None, (), 0))


def subscribe(client: Client, data: object) -> None:
    client.complete(client.begin(data, "subscribe-queue"))
    client.frames()


def test_those_that_name_the_numbers_want_them() -> None:
    bridge = Bridge()
    client, other = Client(bridge), Client(bridge)
    assert bridge.fanout.rooms.wanting_stats(bridge.queues) == {}
    subscribe(client, {"queue": "http", "events": ["*"]})
    subscribe(client, {"queue": "analyzer", "events": ["completed"]})
    subscribe(client, "analyzer")
    assert bridge.fanout.rooms.wanting_stats(bridge.queues) == {}
    assert bridge.wanted == 0
    subscribe(other, STATS)
    subscribe(client, {"queue": "http", "events": ["*", "queue-stats"], "sub": 1})
    assert bridge.wanted == 2
    assert {queue: len(members) for queue, members in bridge.fanout.rooms.wanting_stats(bridge.queues).items()} == {
        "http": 2
    }
    client.hub_client.end_all()
    assert bridge.fanout.rooms.wanting_stats(bridge.queues) == {"http": [other.member()]}
    assert bridge.fanout.rooms.may_want_stats
    other.hub_client.end_all()
    assert not bridge.fanout.rooms.may_want_stats


def test_they_are_wanted_when_the_subscription_is_ready_to_get_them() -> None:
    """Before its ack it holds all that it gets, so an earlier signal would be in vain."""
    bridge = Bridge()
    ready: list[bool] = []

    def note() -> None:
        ready.append(client.member().held is None and client.member().acked)

    bridge.fanout = fanout = new_fanout(on_stats_wanted=note)
    client = Client(bridge)
    for queue in bridge.queues:
        bridge.open(queue)
    subscribe(client, STATS)
    assert ready == [True]
    client.member().held = []
    fanout.limit(client.member(), sight("read:queues:http"))
    assert ready == [True]
    fanout.release(client.member())
    assert ready == [True, True]


def test_a_right_that_is_taken_and_given_back() -> None:
    bridge = Bridge()
    client = Client(bridge)
    subscribe(client, {"queue": "http", "events": ["completed", "queue-stats"]})
    renew(client, sight("read:jobs:http"))
    assert bridge.fanout.rooms.wanting_stats(bridge.queues) == {}
    renew(client, sight("read:jobs:http", "read:queues:http"))
    assert bridge.wanted == 3
    assert bridge.fanout.rooms.wanting_stats(bridge.queues) == {"http": [client.member()]}
    renew(client, sight("read:queues:http"))
    assert client.received()[-2:] == [("ended", None), ("ack", None)]


def test_the_numbers_alone_need_no_right_to_jobs() -> None:
    bridge = Bridge()
    client = Client(bridge)
    subscribe(client, STATS)
    renew(client, sight("read:queues:http"))
    assert bridge.fanout.rooms.wanting_stats(bridge.queues) == {"http": [client.member()]}
    client.frames()
    bridge.publish("1-0", event("queue-stats"))
    bridge.publish("2-0", [b"event", b"queue-stats"])
    assert client.frames() == []
    renew(client, sight("read:jobs:http"))
    assert client.received()[0] == ("ended", None)
    assert client.ask("subscribe-queue", STATS) is None
    assert client.frames()[0]["data"]["code"] == "forbidden"


def test_a_frame_has_all_numbers() -> None:
    stats = QueueStats("http", False, {"waiting": 1}, 0.5, 2, None, None)
    assert json.loads(b"{" + stats_tail(stats).removeprefix(b",")) == {
        "data": {
            **{"queue": "http", "paused": False, "counts": {"waiting": 1}, "oldestWaitingSeconds": 0.5},
            **{"completedPerMinute": 2, "failedPerMinute": None, "workers": None},
        }
    }


def test_the_last_event_of_a_name_is_found() -> None:
    bridge = Bridge()
    history = bridge.fanout.history.of("http")
    for number, name in enumerate(("waiting", "active", "waiting", "active"), 1):
        bridge.publish(f"{number}-0", event(name))
    assert history.last(b"1", "waiting") == b"3-0"
    assert history.last(b"1", "completed") is None
    assert history.last(b"2", "waiting") is None
    history.resize(1)
    assert history.last(b"1", "waiting") is None
    assert history.last(b"1", "active") == b"4-0"
