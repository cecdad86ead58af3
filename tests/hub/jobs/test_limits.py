"""How a client ends, how many of its subscriptions may get the events of one job, and what it looks up."""

from __future__ import annotations

from typing import Any

import pytest

from jobws.bullmq.snapshot import LookUp
from jobws.hub.client import SEARCH_SIZE
from jobws.hub.jobs.matching import MAX_MATCHING, Matching
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.request_types import Room
from jobws.protocol.session import Close, error_frame
from tests.hub.one_bridge import Bridge, Client, event, hash_of
from tests.support.steps import ask_for


def test_a_client_that_is_closed_is_sent_what_waits_and_heard_no_more() -> None:
    client = Client(Bridge())
    client.subscribe({"jobId": "1", "queue": "http"})
    client.woken = 0
    client.hub_client.close(Close(CloseCode.ABUSE, "why", error_frame("bad-json", "m", None, None)))
    assert client.woken == 1
    client.hub_client.close(Close(CloseCode.NORMAL, "again", error_frame("bad-json", "m", None, None)))
    assert client.ask("ping") is None
    assert client.received() == [("error", None)]
    assert client.hub_client.closing is not None
    assert client.hub_client.closing.code == CloseCode.ABUSE
    assert not client.hub_client.keys
    assert not client.fanout.rooms


def test_nobody_is_woken_for_a_client_that_is_gone() -> None:
    client = Client(Bridge())
    client.subscribe({"jobId": "1", "queue": "http"})
    client.woken = 0
    client.hub_client.leave()
    client.hub_client.close(Close(CloseCode.NORMAL, "the bridge stops"))
    assert client.woken == 0
    assert not client.fanout.rooms


def test_a_message_that_is_answered_wakes_the_writer() -> None:
    client = Client(Bridge())
    for message in ("ping", "nonsense"):
        client.woken = 0
        client.ask(message)
        assert client.woken == 1
    client.woken = 0
    client.begin({"jobId": "1", "queue": "http"})
    assert client.woken == 0


# ---- matching ----


def test_subscriptions_that_match_one_job_are_counted() -> None:
    rooms = [Room("http", "1"), Room(None, "1"), Room("http", None), Room("analyzer", "1"), Room("http", "2")]
    matching = Matching(rooms)

    def most(room: Room) -> int:
        return sum(matching.has(count, room) for count in range(1, 10))

    assert most(Room("http", "1")) == 3
    assert most(Room("analyzer", "1")) == 2
    assert most(Room("http", "3")) == 1
    assert most(Room(None, "1")) == 3
    assert most(Room("http", None)) == 3
    assert most(Room("analyzer", None)) == 2
    matching.remove(Room(None, "1"))
    assert most(Room("http", "1")) == 2
    for room in (Room("http", "1"), Room("analyzer", "1"), Room("http", "2")):
        matching.remove(room)
    assert most(Room("http", "1")) == 1
    assert most(Room("http", None)) == most(Room("http", None)) == 1
    matching.remove(Room("http", None))
    assert most(Room("http", None)) == most(Room(None, "1")) == 0


def test_more_subscriptions_to_one_job_than_may_be_are_refused() -> None:
    client = Client(Bridge())
    items = [{"jobId": "1", "queue": "http", "sub": number} for number in range(MAX_MATCHING + 2)]
    ack = client.subscribe(items)
    codes = [result.get("error", {}).get("code") for result in ack["results"]]
    assert codes == [None] * MAX_MATCHING + ["too-many-subscriptions"] * 2
    client.ask("unsubscribe-job", items[0])
    client.frames()
    client.subscribe(items[-1])
    assert client.begin(items[0]).subscriptions[0].code == "too-many-subscriptions"  # type: ignore[union-attr]


def test_a_client_that_has_as_many_as_may_be_leaves_the_oldest_that_got_its_outcome() -> None:
    bridge = Bridge()
    client = Client(bridge, max_subscriptions=4)
    bridge.publish("1-0", event("active", "9"))
    for job_id in ("1", "2", "3"):
        client.subscribe(
            {"jobId": job_id, "queue": "http"}, {("http", job_id): hash_of("active", job_id=job_id)}, "1-0"
        )
        bridge.publish(f"{1 + int(job_id)}-0", event("completed", job_id))
        client.frames()
    waiting = client.begin({"jobId": "9", "queue": "http", "after": "0-0", "events": ["*"]})
    client.complete(waiting, {("http", "9"): hash_of("active", job_id="9")}, "4-0")
    bridge.publish("5-0", event("completed", "9"))
    one, two, _three, nine = client.hub_client._subscriptions
    client.hub_client.owe(two, "http")
    assert [each.has_outcome for each in client.hub_client._subscriptions] == [True, False, True, False]
    assert nine.held is not None
    client.frames()
    ack = client.subscribe([{"jobId": job_id, "queue": "analyzer"} for job_id in ("4", "5", "6")])
    assert [gone["jobId"] for gone in ack["evicted"]] == ["1", "3"]
    assert [result.get("error", {}).get("code") for result in ack["results"]] == [None, None, "too-many-subscriptions"]
    assert (one.ended, two.ended) == (True, False)


def test_what_was_replaced_in_the_same_request_makes_no_place() -> None:
    bridge = Bridge()
    client = Client(bridge, max_subscriptions=2)
    found: Any = {("http", job_id): hash_of("active", job_id=job_id) for job_id in "12"}
    client.subscribe({"jobs": ["1", "2"], "queue": "http"}, found)
    for number, job_id in enumerate("12", 1):
        bridge.publish(f"{number}-0", event("completed", job_id))
    client.frames()
    ack = client.subscribe({"jobs": ["3", "2", "4"], "queue": "http"}, {}, "2-0")
    assert [gone["jobId"] for gone in ack["evicted"]] == ["1"]
    assert [result.get("error", {}).get("code") for result in ack["results"]] == [None, None, "too-many-subscriptions"]
    assert [room.job_id for room in client.hub_client.keys] == ["3", "2"]


# ---- what is looked up ----


def test_a_search_for_queues_counts_as_much_as_it_costs() -> None:
    client = Client(Bridge())
    client.queues["other"] = None
    join = client.begin([{"jobId": "1", "queue": "http"}, {"jobId": "2"}, {"jobId": "3", "queue": "other"}])
    assert (join.size, join.queues) == (3, {"http", None, "other"})
    del client.queues["other"]
    assert join.size == 3 + SEARCH_SIZE
    client.hub_client.end_all()
    assert (join.queues, join.present) == (set(), [])
    assert join.size == 3


@pytest.mark.parametrize(("after", "gap", "kept"), [("3-0", False, "3-0"), ("9-0", True, "1-0")])
def test_positions_that_a_list_shares_are_looked_at_once(after: str, gap: bool, kept: str) -> None:
    """A position up to the end of the stream is from a faster bridge. One after it is from another stream."""
    bridge = Bridge()
    bridge.publish("1-0", event("active"))
    client = Client(bridge)
    found: Any = {("http", job_id): hash_of("active", job_id=job_id) for job_id in "12"}
    ack = client.subscribe({"jobs": ["1", "2"], "after": {"http": after}}, found, "5-0")
    for result in ack["results"]:
        assert result.get("gap", False) is gap
        assert result["after"] == {"http": kept}


def test_what_redis_said_is_reported_by_queue() -> None:
    bridge = Bridge()
    client = Client(bridge)
    join = client.begin([{"jobId": "1"}, {"jobId": "2", "queue": "http"}])
    query = ask_for(join, bridge.queues, bridge.fanout)
    assert {queue: [*job_ids] for queue, job_ids in query.job_ids.items()} == {"http": ["1", "2"], "analyzer": ["1"]}
    assert [*query.sought] == ["1"]
    one, two = join.present
    assert (query.found(one), query.found(two)) == ({}, {})
    ends = {"http": "4-0", "analyzer": "0-0"}
    query.keep_answer(LookUp({("http", "1"): hash_of(), ("analyzer", "1"): None}, {("http", "1"): "3-0"}, ends))
    assert query.found(one) == {"http": hash_of()}
    assert query.moment("http", "1") == "3-0"
    assert query.moment("http", "2") == "0-0"
    assert (query.end("http"), query.end("analyzer"), query.end("other")) == ("4-0", "0-0", "0-0")
    assert (query.is_read("http"), query.is_read("analyzer"), query.is_whole(one), query.is_read("other")) == (
        False,
        True,
        False,
        False,
    )
    bridge.publish("4-0", event("active"), "analyzer")
    assert query.found(one) == {"http": hash_of(), "analyzer": None}
    bridge.open("new")
    bridge.publish("7-0", event("active"), "new")
    assert query.found(one) == {"http": hash_of(), "analyzer": None, "new": None}
    assert query.moment("new", "1") == "7-0"
    del bridge.queues["new"]
    del bridge.queues["analyzer"]
    assert query.found(one) == {"http": hash_of()}
    assert (query.knows("http"), query.knows("analyzer"), query.knows("other")) == (True, False, False)
