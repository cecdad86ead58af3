"""Outcomes without an event: which clients get them, and what may have happened meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobws.bullmq.snapshot import LookUp
from jobws.hub.jobs.pending import UNAVAILABLE
from jobws.hub.jobs.replay import deliver_outcome, find_missed_outcomes, replay
from jobws.hub.jobs.subscription import ALIVE, JobEnded
from jobws.protocol.messages import ItemError, JobSnapshot
from tests.hub.one_bridge import Bridge, Client, event, hash_of
from tests.support.steps import begin_again

if TYPE_CHECKING:
    from jobws.hub.jobs.missed import Owed
    from jobws.hub.jobs.queue_history import KnownStream

JOB = ("http", "1")


def watching(bridge: Bridge, **data: Any) -> Client:
    """Return a client with a subscription to an active job."""
    client = Client(bridge)
    bridge.publish("1-0", event("active"))
    client.subscribe({"jobId": "1", "queue": "http", **data}, {JOB: hash_of("active")}, "1-0")
    return client


def owe(client: Client) -> Owed:
    client.hub_client.owe(client.member(), "http")
    (owed,) = client.owed()
    return owed


def seen(client: Client) -> KnownStream:
    return client.fanout.known("http")


def test_the_hash_tells_the_outcome_once() -> None:
    bridge = Bridge()
    client = watching(bridge)
    bridge.read_to("5-0")
    client.woken = 0
    deliver_outcome(bridge.fanout, owe(client), hash_of(), "5-0", seen(client))
    assert client.woken == 1
    (frame,) = client.frames()
    assert (frame["event"], frame["id"], frame["replayed"]) == ("completed", "5-0~5", True)
    assert frame["data"] == {"queue": "http", "jobId": "1", "returnvalue": 1}
    assert client.member().job_states == {"http": JobEnded(b"5-0")}
    assert bridge.fanout.counts["from-hash"] == 1
    deliver_outcome(bridge.fanout, owe(client), hash_of(), "5-0", seen(client))
    assert client.received() == [], "it has that"
    deliver_outcome(bridge.fanout, owe(client), hash_of("failed", 6), "5-0", seen(client))
    assert client.received() == [("failed", "5-0~6")]


def test_a_stream_that_was_emptied_was_read_as_far_as_it_was() -> None:
    bridge = Bridge()
    client = watching(bridge)
    deliver_outcome(bridge.fanout, owe(client), hash_of(), "0-0", seen(client))
    assert client.received() == [("completed", "1-0~5")]


def test_a_failure_tells_its_reason() -> None:
    bridge = Bridge()
    client = watching(bridge)
    bridge.read_to("5-0")
    snapshot = JobSnapshot("http", "1", "n", "failed", None, failed_reason="because \ud800")
    deliver_outcome(bridge.fanout, owe(client), snapshot, "5-0", seen(client))
    (frame,) = client.frames()
    assert (frame["id"], frame["data"]["failedReason"]) == ("5-0~0", "because ?")


def test_a_job_that_is_gone_is_reported_unless_something_newer_is_known() -> None:
    bridge = Bridge()
    client = watching(bridge)
    bridge.publish("5-0", event("active", "2"))
    deliver_outcome(bridge.fanout, owe(client), None, "5-0", seen(client))
    assert client.received() == [("removed", "5-0~0")]
    deliver_outcome(bridge.fanout, owe(client), None, "5-0", seen(client))
    assert client.received() == [], "its life is over"
    client = watching(Bridge())
    owed, before = owe(client), seen(client)
    client.fanout.publish("http", [(b"6-0", event("progress")), (b"7-0", event("waiting"))])
    client.frames()
    deliver_outcome(client.fanout, owed, None, "5-0", before)
    assert client.received() == []
    deliver_outcome(client.fanout, owe(client), None, "7-0", seen(client))
    assert client.received() == [("removed", "7-0~0")], "what the hash says is as new as the event"


def test_an_outcome_waits_until_all_that_happened_before_it_was_read() -> None:
    """Otherwise a client that returned with its position would miss what was not read."""
    bridge = Bridge()
    client = watching(bridge, events=["*"])
    owed, before = owe(client), seen(client)
    assert not deliver_outcome(bridge.fanout, owed, hash_of(), "5-0", before)
    bridge.publish("4-0", event("progress"))
    assert not deliver_outcome(bridge.fanout, owed, hash_of(), "5-0", before)
    bridge.read_to("6-0")
    assert deliver_outcome(bridge.fanout, owed, hash_of(), "5-0", before)
    assert client.received() == [("progress", None), ("completed", "5-0~5")]


def test_a_client_that_returns_with_an_outcome_of_the_hash_is_not_told_of_it_after_a_gap() -> None:
    bridge = Bridge()
    bridge.publish("4-0", event("completed", returnvalue="1"))
    bridge.read_to("5-0")
    client = Client(bridge)
    ack = client.subscribe({"jobId": "1", "queue": "http", "after": "5-0~5"}, {JOB: hash_of()}, "5-0")
    assert ack["after"] == {"http": "5-0~5"}
    begin_again(bridge.fanout, "http", "trimmed", "6-0", "6-0")
    bridge.fanout.end_reread("http", "6-0")
    look_up = LookUp({JOB: hash_of()}, {JOB: "6-0"}, {"http": "6-0"})
    list(find_missed_outcomes(bridge.fanout, "http", ["1"], look_up))
    assert client.received() == [("gap", None)]
    assert client.owed() == []


def test_a_job_that_is_gone_is_not_reported_before_an_entry_that_may_be_its_outcome() -> None:
    bridge = Bridge()
    client = watching(bridge)
    owed, before = owe(client), seen(client)
    assert not deliver_outcome(bridge.fanout, owed, None, "5-0", before)
    bridge.publish("4-0", event("failed", failedReason="x"))
    assert client.received() == [("failed", "4-0")]
    bridge.publish("5-0", event("active", "2"))
    assert deliver_outcome(bridge.fanout, owed, None, "5-0", before)
    assert client.received() == []


def test_what_was_read_of_a_hash_does_not_count_for_an_outcome_that_is_owed_later() -> None:
    """Meanwhile the outcome came, and the job was retried and vanished, so that another outcome is owed."""
    bridge = Bridge()
    client = watching(bridge)
    owed, before = owe(client), seen(client)
    bridge.publish("4-0", event("failed", failedReason="x"))
    bridge.publish("5-0", event("waiting"))
    assert client.received() == [("failed", "4-0")]
    later = owe(client)
    deliver_outcome(bridge.fanout, owed, hash_of("failed"), "4-0", before)
    assert client.received() == []
    deliver_outcome(bridge.fanout, later, None, "5-0", seen(client))
    assert client.received() == [("removed", "5-0~0")]


def test_an_outcome_of_the_life_before_is_reported_and_the_job_lives_on() -> None:
    bridge = Bridge()
    client = watching(bridge)
    owed, before = owe(client), seen(client)
    bridge.publish("6-0", event("waiting"))
    deliver_outcome(bridge.fanout, owed, hash_of(), "5-0", before)
    assert client.received() == [("completed", "5-0~5")]
    assert client.member().job_states == {"http": ALIVE}
    assert client.member().was_delivered("http", "5")
    bridge.publish("7-0", event("completed", returnvalue="2"))
    assert client.received() == [("completed", "7-0")]


def test_an_event_that_is_held_back_before_an_owed_outcome_has_no_position() -> None:
    """Otherwise the position of the outcome, which is from before the event, would lead the client back."""
    bridge = Bridge()
    client = watching(bridge, events=["*"])
    owed, before = owe(client), seen(client)
    client.member().held = []
    bridge.publish("6-0", event("progress"))
    deliver_outcome(bridge.fanout, owed, hash_of(), "5-0", before)
    bridge.publish("7-0", event("progress"))
    bridge.fanout.release(client.member())
    assert client.received() == [("progress", None), ("completed", "5-0~5"), ("progress", "7-0")]


def test_outcomes_up_to_where_the_hash_spoke_are_no_news() -> None:
    bridge = Bridge()
    client, other = Client(bridge), Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http", "events": ["*"], "after": "0-0~5"}, {JOB: hash_of()}, "5-0")
    other.subscribe({"jobId": "1", "queue": "http"}, {JOB: hash_of("active")}, "1-0")
    for number, name, prev in (
        (2, "waiting", ""),
        (3, "completed", ""),
        (4, "removed", "completed"),
        (5, "removed", ""),
        (6, "waiting", ""),
    ):
        bridge.publish(f"{number}-0", event(name, prev=prev))
        assert client.member().job_states == {"http": ALIVE if number == 6 else JobEnded(b"5-0")}
    assert client.received() == [("waiting", "2-0"), ("removed", "4-0"), ("waiting", "6-0")]
    assert other.received() == [("completed", "3-0"), ("removed", "4-0"), ("removed", "5-0")]


def test_a_job_that_lives_has_no_outcome_to_tell() -> None:
    bridge = Bridge()
    client = watching(bridge)
    bridge.read_to("5-0")
    deliver_outcome(bridge.fanout, owe(client), hash_of("active"), "5-0", seen(client))
    assert client.received() == []
    assert not client.member().owed
    assert client.member().job_states == {"http": ALIVE}


def test_an_outcome_that_was_not_chosen_is_settled_and_not_sent() -> None:
    bridge = Bridge()
    client = watching(bridge, events=["failed"])
    bridge.read_to("5-0")
    deliver_outcome(bridge.fanout, owe(client), hash_of(), "5-0", seen(client))
    assert client.received() == []
    assert client.member().job_states == {"http": JobEnded(b"5-0")}
    assert bridge.fanout.counts["from-hash"] == 0


def test_what_is_owed_no_more_is_not_looked_at() -> None:
    bridge = Bridge()
    client = watching(bridge)
    owed = owe(client)
    bridge.publish("2-0", event("completed"))
    assert client.received() == [("completed", "2-0")]
    deliver_outcome(bridge.fanout, owed, hash_of(), "5-0", seen(client))
    assert client.received() == []
    owed = owe(client)
    client.hub_client.end(client.member())
    deliver_outcome(bridge.fanout, owed, hash_of("failed", 7), "5-0", seen(client))
    assert client.received() == []


@pytest.mark.parametrize("queue", ["http", "analyzer"])
def test_a_hole_that_was_found_in_the_queue_meanwhile_has_the_hash_read_again(queue: str) -> None:
    bridge = Bridge()
    client = watching(bridge)
    bridge.read_to("5-0")
    owed, before = owe(client), seen(client)
    begin_again(bridge.fanout, queue, "trimmed", "0-0", "0-0")
    bridge.fanout.end_reread(queue, "0-0")
    client.frames()
    deliver_outcome(bridge.fanout, owed, hash_of(), "5-0", before)
    assert client.received() == ([] if queue == "http" else [("completed", "5-0~5")])
    assert client.owed() == ([owed] if queue == "http" else [])


def test_a_stream_that_went_back_was_read_as_far_as_it_was_before() -> None:
    bridge = Bridge()
    client = watching(bridge)
    bridge.publish("8-0", event("progress"))
    deliver_outcome(bridge.fanout, owe(client), hash_of(), "5-0", seen(client))
    assert client.received() == [("completed", "8-0~5")]


def test_while_an_outcome_is_owed_events_have_no_position() -> None:
    bridge = Bridge()
    client = watching(bridge, events=["*"])
    owe(client)
    bridge.publish("2-0", event("progress"))
    assert client.received() == [("progress", None)]
    bridge.publish("3-0", event("failed"))
    assert client.received() == [("failed", "3-0")]
    bridge.publish("4-0", event("waiting"))
    assert client.received() == [("waiting", "4-0")]


def test_a_pong_names_no_queue_in_which_an_outcome_is_owed() -> None:
    bridge = Bridge()
    client = watching(bridge)
    client.ask("subscribe-job", {"jobId": "2", "queue": "analyzer"})
    after = []
    for _ in range(2):
        client.ask("ping")
        after.append(client.frames()[-1]["data"]["after"])
        client.hub_client.owe(next(iter(client.hub_client._subscriptions)), "http")
    assert after == [{"http": "1-0"}, {}]


def test_an_outcome_waits_for_what_is_read_back_before_it() -> None:
    bridge = Bridge()
    bridge.publish("1-0", event("progress"))
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http", "events": ["*"], "after": "0-0"}, {JOB: hash_of("active")}, "1-0")
    bridge.read_to("5-0")
    of, index = client.to_read_back()
    deliver_outcome(bridge.fanout, owe(client), hash_of(), "5-0", seen(client))
    assert client.received() == []
    replay(bridge.fanout, of, index, (b"1-0", event("progress")))
    frames = client.frames()
    assert [(frame["event"], frame["id"], frame["replayed"]) for frame in frames] == [
        ("progress", "1-0", True),
        ("completed", "5-0~5", True),
    ]
    assert bridge.fanout.counts["replayed"] == bridge.fanout.counts["held"] == 1


def test_an_outcome_that_does_not_fit_ends_a_client_that_does_not_read() -> None:
    bridge = Bridge()
    bridge.publish("1-0", event("progress"))
    client = Client(bridge, outbox_bytes=300)
    client.subscribe({"jobId": "1", "queue": "http", "events": ["*"], "after": "0-0"}, {JOB: hash_of("active")}, "1-0")
    assert client.hub_client.backlog is not None
    assert len(client.hub_client.backlog.take(9)[0]) == 1
    bridge.read_to("5-0")
    large = JobSnapshot("http", "1", "n", "failed", None, failed_reason="x" * 300)
    overflowed = []
    for snapshot in (hash_of(), large):
        deliver_outcome(bridge.fanout, owe(client), snapshot, "5-0", seen(client))
        overflowed.append(client.hub_client.outbox.overflowed)
    assert overflowed == [False, True]
    assert len(client.member().held or ()) == 1


@pytest.mark.parametrize(
    "entry",
    [None, (b"1-0", event("progress", "2")), (b"1-0", event("active"))],
    ids=["gone", "another job's", "another event"],
)
def test_an_event_that_is_not_there_any_more_is_a_gap(entry: Any) -> None:
    bridge = Bridge()
    bridge.publish("1-0", event("progress"))
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http", "events": ["*"], "after": "0-0"}, {JOB: hash_of("active")}, "1-0")
    of, index = client.to_read_back()
    client.woken = 0
    replay(bridge.fanout, of, index, entry)
    assert client.woken
    (frame,) = client.frames()
    assert (frame["event"], frame["data"]) == ("gap", {"queue": "http", "reason": "trimmed", "jobs": ["1"]})
    assert client.owed() == [], "it was no outcome"
    assert client.member().held is None


def test_an_outcome_that_is_not_there_any_more_comes_from_the_hash() -> None:
    bridge = Bridge()
    bridge.publish("1-0", event("completed"))
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http"}, {JOB: hash_of()}, "1-0")
    of, index = client.to_read_back()
    replay(bridge.fanout, of, index, None)
    assert client.received() == [("gap", None)]
    (owed,) = client.owed()
    deliver_outcome(bridge.fanout, owed, hash_of(), "1-0", seen(client))
    assert client.received() == [("completed", "1-0~5")]


def test_nothing_is_read_back_for_a_client_that_left() -> None:
    bridge = Bridge()
    bridge.publish("1-0", event("completed"))
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http"}, {JOB: hash_of()}, "1-0")
    of, index = client.to_read_back()
    client.hub_client.end(client.member())
    replay(bridge.fanout, of, index, (b"1-0", event("completed")))
    assert client.received() == []


# ---- looking again ----


def look(bridge: Bridge, found: dict[tuple[str, str], Any], end: str = "1-0") -> list[bool]:
    look_up = LookUp(found, dict.fromkeys(found, end), {"http": end})
    return list(find_missed_outcomes(bridge.fanout, "http", [job_id for _, job_id in found], look_up))


def test_a_look_finds_a_subscription_that_misses_an_outcome() -> None:
    bridge = Bridge()
    client = watching(bridge)
    assert look(bridge, {JOB: hash_of("active")}) == [True]
    assert client.owed() == []
    assert look(bridge, {JOB: hash_of()}) == [True]
    assert [owed.queue for owed in client.owed()] == ["http"]


def test_a_job_that_vanished_is_owed_once_its_stream_was_read() -> None:
    bridge = Bridge()
    client = watching(bridge)
    assert look(bridge, {JOB: None}, "2-0") == [False]
    assert client.owed() == []
    assert look(bridge, {JOB: None}) == [True]
    assert len(client.owed()) == 1


def test_a_look_that_failed_for_a_job_says_nothing_of_it() -> None:
    bridge = Bridge()
    client = watching(bridge)
    assert look(bridge, {JOB: ItemError("unavailable", "later"), ("http", "2"): hash_of()}) == []
    assert client.owed() == []


def test_a_client_that_leaves_during_a_look_is_owed_nothing() -> None:
    bridge = Bridge()
    stays, leaves = watching(bridge), Client(bridge)
    leaves.subscribe({"jobId": "1", "queue": "http"}, {JOB: hash_of("active")}, "1-0")
    steps = find_missed_outcomes(bridge.fanout, "http", ["1"], LookUp({JOB: hash_of()}, {JOB: "1-0"}, {"http": "1-0"}))
    assert next(steps)
    leaves.hub_client.end(leaves.member())
    assert list(steps) == [True]
    assert len(stays.owed()) == 1
    assert leaves.read_back == []


def test_without_events_each_look_tells_of_another_life() -> None:
    bridge = Bridge()
    bridge.fanout.without_events.add("http")
    bridge.fanout.cursors["http"] = "7-0"  # ids are generated all the same
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http"}, {JOB: hash_of()})
    (owed,) = client.owed()
    deliver_outcome(bridge.fanout, owed, hash_of(), "0-0", seen(client))
    assert client.received() == [("completed", "7-0~5")]
    look(bridge, {JOB: hash_of()}, "0-0")
    assert client.owed() == []
    look(bridge, {JOB: hash_of("active")}, "0-0")
    assert client.member().job_states == {"http": ALIVE}
    look(bridge, {JOB: hash_of("completed", 6)}, "0-0")
    assert len(client.owed()) == 1


# ---- what a connection is owed ----


def test_a_connection_is_owed_what_a_hole_may_hold() -> None:
    bridge = Bridge()
    named, anywhere, other, waiting = (Client(bridge) for _ in range(4))
    bridge.publish("1-0", event("active"))
    named.subscribe({"jobId": "1", "queue": "http"}, {JOB: hash_of("active")}, "1-0")
    anywhere.subscribe({"jobId": "1"}, {JOB: hash_of("active")}, "1-0")
    other.subscribe({"jobId": "2"})
    waiting.begin({"jobId": "1", "queue": "http"})
    clients = (named, anywhere, other, waiting)
    assert [client.hub_client.awaits_missed_outcomes for client in clients] == [False] * 4
    begin_again(bridge.fanout, "http", "trimmed", "1-0", "0-0")
    assert [client.hub_client.awaits_missed_outcomes for client in clients] == [True, True, False, False]
    bridge.fanout.without_position.discard("http")
    assert not named.hub_client.awaits_missed_outcomes


def test_a_job_that_cannot_be_looked_up_is_refused_and_left() -> None:
    bridge = Bridge()
    client = Client(bridge)
    found: Any = {JOB: ItemError("unavailable", "later"), ("http", "2"): hash_of("active", job_id="2")}
    ack = client.subscribe({"jobs": ["1", "2"], "queue": "http"}, found)
    assert [result.get("error", {}).get("code") for result in ack["results"]] == ["unavailable", None]
    assert [room.job_id for room in client.hub_client.keys] == ["2"]
    client.complete(client.begin({"jobId": "1", "queue": "http"}), found)
    assert client.received() == [("error", None)]


def test_what_was_answered_or_left_is_not_answered_again() -> None:
    bridge = Bridge()
    client = Client(bridge)
    join = client.begin({"jobId": "1", "queue": "http"})
    client.complete(join)
    client.frames()
    client.complete(join)
    client.hub_client.fail(join, UNAVAILABLE)
    assert client.received() == []
    member = client.member()
    client.hub_client.end(member)
    client.hub_client.end(member)
    assert not client.hub_client.keys


def test_a_request_that_failed_is_refused_as_a_whole() -> None:
    bridge = Bridge()
    client = Client(bridge)
    join = client.begin({"jobs": ["1", "2"], "queue": "http"})
    assert client.hub_client.catching_up
    client.woken = 0
    client.hub_client.fail(join, UNAVAILABLE)
    assert client.woken
    (frame,) = client.frames()
    assert (frame["event"], frame["data"]["code"]) == ("error", "unavailable")
    assert not client.hub_client.keys
    assert not client.hub_client.catching_up
