"""Subscriptions to whole queues that return: what they missed follows the ack, in order, and each once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobws.hub.jobs.pending import REPLAY_SIZE
from jobws.hub.jobs.queue_replay import QueueReplay
from jobws.hub.jobs.replay import replay
from jobws.protocol.messages import AuthenticatedData
from jobws.protocol.request_types import Authenticate
from tests.hub.one_bridge import Bridge, Client, event
from tests.support.sight import sight
from tests.support.steps import begin_again

if TYPE_CHECKING:
    from jobws.redis.commands import Entry

DRAINED = [b"event", b"drained"]


class World:
    """A bridge that has read a stream, and a client of it. `stream` is what Redis has of the stream."""

    def __init__(self, count: int = 6) -> None:
        self.bridge = Bridge()
        self.stream: dict[str, list[bytes]] = {}
        for number in range(1, count + 1):
            self.add(f"{number}-0", event(("active", "completed")[number % 2], str(number // 2), returnvalue="1"))
        self.client = Client(self.bridge)

    def add(self, stream_id: str, fields: list[bytes]) -> None:
        self.stream[stream_id] = fields
        self.bridge.publish(stream_id, fields)

    def subscribe(self, after: object = "0-0", *, end: str = "6-0", **data: object) -> dict[str, Any]:
        """Subscribe to all events of the queue, and return the data of the ack."""
        asked = {"queue": "http", "events": ["*"], "after": after, **data}
        self.client.complete(self.client.begin(asked, "subscribe-queue"), {("http", ""): None}, end)
        (ack,) = self.client.frames()
        found: dict[str, Any] = ack["data"]
        return found

    def take(self, count: int) -> list[tuple[QueueReplay, int, Entry | None]]:
        """Read some of what the client missed."""
        backlog = self.client.hub_client.backlog
        assert backlog is not None
        read: list[tuple[QueueReplay, int, Entry | None]] = []
        for each, index in backlog.take(count)[0]:
            assert isinstance(each, QueueReplay)
            stream_id = each.stream_ids[index]
            fields = self.stream.get(stream_id.decode())
            read.append((each, index, None if fields is None else (stream_id, fields)))
        return read

    def deliver(self, read: list[tuple[QueueReplay, int, Entry | None]]) -> list[tuple[str, str | None]]:
        for each, index, entry in read:
            replay(self.bridge.fanout, each, index, entry)
        return self.client.received()

    def rest(self) -> list[tuple[str, str | None]]:
        return self.deliver(self.take(1000))


def test_all_that_came_after_the_position_follows_and_then_what_happens() -> None:
    world = World()
    assert world.subscribe("2-0") == {"request": "subscribe-queue", "after": {"http": "2-0"}}
    world.add("7-0", DRAINED)
    assert world.client.received() == []
    assert world.deliver(world.take(2)) == [("completed", "3-0"), ("active", "4-0")]
    read = world.take(9)
    for each, index, entry in read:
        replay(world.bridge.fanout, each, index, entry)
    frames = world.client.frames()
    assert [frame.get("replayed") for frame in frames] == [True, True, None]
    assert [frame["id"] for frame in frames] == ["5-0", "6-0", "7-0"]
    world.add("8-0", DRAINED)
    assert world.client.received() == [("drained", "8-0")]
    assert world.bridge.fanout.counts["replayed"] == 4


def test_only_chosen_events_follow() -> None:
    world = World()
    world.subscribe("1-0", events=["completed"])
    assert world.rest() == [("completed", "3-0"), ("completed", "5-0")]
    assert world.client.member().held is None
    assert world.bridge.fanout.counts["replayed"] == 2


@pytest.mark.parametrize("after", ["6-0", None])
def test_where_nothing_was_missed_it_begins_now(after: str | None) -> None:
    world = World()
    assert world.subscribe(after) == {"request": "subscribe-queue", "after": {"http": "6-0"}}
    assert not world.client.hub_client.backlog
    assert world.client.member().held is None


def test_events_that_the_stream_has_lost_since_are_one_gap() -> None:
    world = World(8)
    world.subscribe("1-0", sub=7, end="8-0")
    for number in (2, 4, 5, 8):
        del world.stream[f"{number}-0"]
    for each, index, entry in world.take(9):
        replay(world.bridge.fanout, each, index, entry)
    frames = world.client.frames()
    gap = {"event": "gap", "sub": 7, "data": {"queue": "http", "reason": "trimmed", "jobs": None}}
    assert [frame.get("id", frame) for frame in frames] == [gap, "3-0", gap, "6-0", "7-0", gap]


def test_what_the_history_has_forgotten_since_is_a_gap() -> None:
    world = World()
    world.subscribe("1-0")
    world.bridge.fanout.forget_before("http", "4-0")
    assert world.rest() == [("gap", None), ("active", "4-0"), ("completed", "5-0"), ("active", "6-0")]
    world.client.hub_client.end(world.client.member())
    world.subscribe("4-0")
    world.bridge.fanout.forget_before("http", "7-0")
    world.stream.clear()
    assert world.rest() == [("gap", None)]
    assert world.client.member().held is None


def test_an_event_that_was_not_chosen_and_is_lost_is_no_gap() -> None:
    world = World()
    world.subscribe("4-0", events=["completed"])
    del world.stream["6-0"]
    assert world.rest() == [("completed", "5-0")]


def test_another_event_with_the_same_id_is_not_the_one_that_was_missed() -> None:
    world = World()
    world.subscribe("5-0")
    world.stream["6-0"] = event("failed", "9")
    assert world.rest() == [("gap", None)]


def test_a_position_of_another_stream_hides_nothing_of_this_one() -> None:
    world = World()
    ack = world.subscribe("9-0")
    assert (ack["gap"], ack["after"]) == (True, {"http": "0-0"})
    assert [position for _, position in world.rest()] == [f"{number}-0" for number in range(1, 7)]


def test_a_position_that_is_trimmed_is_told() -> None:
    world = World()
    world.bridge.fanout.forget_before("http", "4-0")
    assert world.subscribe("2-0")["gap"]
    assert [position for _, position in world.rest()] == ["4-0", "5-0", "6-0"]


def test_a_client_of_a_faster_bridge_gets_nothing_twice() -> None:
    world = World()
    assert world.subscribe("8-0", end="8-0") == {"request": "subscribe-queue", "after": {"http": "8-0"}}
    for number in (7, 8, 9):
        world.add(f"{number}-0", DRAINED)
    assert world.client.received() == [("drained", "9-0")]


def test_a_client_of_a_faster_bridge_gets_what_another_stream_has() -> None:
    world = World()
    world.subscribe("8-0", end="8-0")
    begin_again(world.bridge.fanout, "http", "ahead", "4-0", "0-0")
    world.add("7-0", DRAINED)
    assert world.client.received() == [("gap", None), ("drained", "7-0")]


def test_after_the_stream_was_read_again_what_was_missed_has_no_position() -> None:
    world = World()
    world.subscribe("3-0", sub=1)
    assert world.deliver(world.take(1)) == [("active", "4-0")]
    read = world.take(1)
    _, floor = begin_again(world.bridge.fanout, "http", "recreated", "0-0", "0-0")
    assert world.deliver(read) == [("gap", None), ("completed", None)]
    world.stream.clear()
    world.add("1-1", DRAINED)
    world.bridge.fanout.end_reread("http", floor)
    for each, index, entry in world.take(9):
        replay(world.bridge.fanout, each, index, entry)
    frames = world.client.frames()
    assert [(frame["event"], frame.get("id"), frame["data"].get("reason")) for frame in frames] == [
        *(("gap", None, "trimmed"), ("gap", None, "recreated"), ("drained", "1-1", None))
    ]


def test_events_without_a_job_need_their_right_when_they_are_read_back_too() -> None:
    world = World(1)
    world.add("2-0", DRAINED)
    world.add("3-0", event("active"))
    data = AuthenticatedData("authenticate", None, (), 0)
    world.client.hub_client.renew(sight("read:jobs:http"), Authenticate("x", None), data)
    world.client.frames()
    world.subscribe("1-0", end="3-0")
    assert world.rest() == [("active", "3-0")]


def test_another_token_counts_for_what_was_read_but_not_sent() -> None:
    world = World(1)
    for number, fields in enumerate((DRAINED, event("active"), DRAINED), 2):
        world.add(f"{number}-0", fields)
    world.subscribe("1-0", end="4-0")
    read = world.take(9)
    data = AuthenticatedData("authenticate", None, (), 0)
    world.client.hub_client.renew(sight("read:jobs:http"), Authenticate("x", None), data)
    world.client.frames()
    assert world.deliver(read) == [("active", "3-0")]
    assert world.client.member().held is None


def test_one_that_ends_meanwhile_gets_nothing() -> None:
    world = World()
    world.subscribe("1-0")
    read = world.take(2)
    world.client.hub_client.end_all()
    assert world.deliver(read) == []


def test_many_queues_in_one_request() -> None:
    world = World(2)
    client = world.client
    data = {
        "queues": ["http", {"queue": "analyzer", "after": "0-0"}, 7, "none"],
        "events": ["*"],
        "after": {"http": "1-0"},
    }
    pending = client.begin(data, "subscribe-queue")
    assert pending.size == 4 + 2 * REPLAY_SIZE
    client.complete(pending, {("http", ""): None, ("analyzer", ""): None}, "2-0")
    (ack,) = client.frames()
    results = ack["data"]["results"]
    assert [each.get("error", {}).get("code") for each in results] == [None, None, "bad-queue", "unknown-queue"]
    assert ack["data"]["after"] == {"http": "2-0", "analyzer": "0-0"}
    assert results[0] == {"after": {"http": "1-0"}}
    assert world.rest() == [("active", "2-0")]
    client.ask("unsubscribe-queue", ["http", "analyzer", "none"])
    assert [each.get("left") for each in client.frames()[0]["data"]["results"]] == [True, True, None]


def test_a_list_of_queues_is_a_list() -> None:
    client = World(0).client
    client.ask("subscribe-queue", {"queues": "http"})
    (error,) = client.frames()
    assert error["data"]["message"] == "`queues` must be a list, not a string"
