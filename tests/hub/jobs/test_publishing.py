"""Publishing entries: an invalid entry affects no other entry, and a call is short."""

from __future__ import annotations

from itertools import count

import pytest

from jobws.hub.jobs.fanout import MAX_DELIVERIES, MAX_SECONDS
from jobws.hub.jobs.queue_history import LEAST_PER_QUEUE
from jobws.hub.jobs.subscription import JobEnded
from jobws.privacy.rules import Privacy, QueueRules
from tests.hub.one_bridge import Bridge, Client, event, hash_of
from tests.support.steps import begin_again


def test_an_entry_that_is_no_event_is_passed_by() -> None:
    bridge = Bridge()
    client = Client(bridge)
    client.complete(client.begin({"queue": "http", "events": ["*"]}, "subscribe-queue"))
    client.frames()
    bridge.publish("1-0", [b"x", b"y"])
    bridge.publish("2-0", [b"jobId", b"1", b"x", b"y"])
    bridge.publish("3-0", [b"x", b"y", b"jobId", b"1", b"event", b"active"])
    assert client.received() == [("active", "3-0")]
    assert bridge.fanout.counts["missing-field"] == 2
    assert bridge.fanout.counts["entries"] == 3
    assert bridge.fanout.counts["deliveries"] == 1
    assert bridge.fanout.cursors["http"] == "3-0"


def test_an_entry_that_breaks_everything_is_skipped_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bridge = Bridge()
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http", "events": ["*"]})
    poison: list[bytes] = [*event("active"), b"x", None]  # type: ignore[list-item]
    entries = [(b"1-0", poison), (b"2-0", poison), (b"3-0", event("completed"))]
    assert bridge.fanout.publish("http", entries) == 3
    assert client.received() == [("completed", "3-0")]
    assert bridge.fanout.counts["poison"] == 2
    assert len(caplog.records) == 1
    assert "1-0" in caplog.text


def test_what_is_wrong_with_an_event_is_counted() -> None:
    bridge = Bridge()
    Client(bridge).subscribe({"jobId": "1", "queue": "http"})
    bridge.publish("1-0", event("completed", returnvalue="{"))
    bridge.publish("2-0", event("failed", failedReason=b"\xff"))
    assert [bridge.fanout.counts[key] for key in ("bad-json", "invalid-utf8", "poison")] == [1, 1, 0]


def test_what_is_held_is_sent_as_what_happens() -> None:
    bridge = Bridge()
    client = Client(bridge)
    bridge.publish("1-0", event("active"))
    client.subscribe({"jobId": "1", "queue": "http", "events": ["*"], "after": "0-0"})
    bridge.publish("2-0", event("progress"))
    begin_again(bridge.fanout, "http", "trimmed", "2-0", "0-0")
    bridge.fanout.end_reread("http", "0-0")
    bridge.fanout.without_position.clear()
    bridge.publish("3-0", event("completed", returnvalue="1"))
    assert client.received() == [("gap", None)]
    bridge.fanout.release(client.member())
    assert [(frame["event"], "replayed" in frame) for frame in client.frames()] == [
        ("progress", False),
        ("gap", False),
        ("completed", False),
    ]
    assert bridge.fanout.counts["held"] == 2
    assert client.hub_client.outbox.size == 0


def test_a_client_that_is_over_with_the_outcome_gets_nothing_that_was_held_after_it() -> None:
    bridge = Bridge()
    client = Client(bridge)
    bridge.publish("1-0", event("active"))
    request = {"jobId": "1", "queue": "http", "events": ["*"], "after": "0-0", "until": "end"}
    client.subscribe(request, {("http", "1"): hash_of("active")}, "1-0")
    for number, name in ((2, "progress"), (3, "failed"), (4, "waiting"), (5, "completed")):
        bridge.publish(f"{number}-0", event(name))
    assert client.hub_client.outbox.size > 0
    bridge.fanout.release(client.member())
    assert client.received() == [("progress", "2-0"), ("failed", "3-0")]
    assert client.hub_client.outbox.size == 0
    assert not client.hub_client.keys


def test_what_is_held_for_a_client_that_leaves_counts_no_more() -> None:
    bridge = Bridge()
    client = Client(bridge)
    bridge.publish("1-0", event("active"))
    client.subscribe({"jobId": "1", "queue": "http", "events": ["*"], "after": "0-0"})
    bridge.publish("2-0", event("progress"))
    bridge.publish("3-0", event("progress"))
    assert client.hub_client.outbox.size > 0
    client.hub_client.end(client.member())
    assert client.hub_client.outbox.size == 0


def test_a_gap_of_a_client_that_is_read_back_to_names_the_subscription_and_its_job() -> None:
    bridge = Bridge()
    client = Client(bridge)
    bridge.publish("1-0", event("active"))
    client.subscribe({"jobId": "1", "queue": "http", "events": ["*"], "after": "0-0", "sub": 7})
    begin_again(bridge.fanout, "http", "recreated", "1-0", "0-0")
    bridge.fanout.release(client.member())
    common, own = client.frames()
    assert (common["data"], "sub" in common) == ({"queue": "http", "reason": "recreated", "jobs": None}, False)
    assert (own["data"], own["sub"]) == ({"queue": "http", "reason": "recreated", "jobs": ["1"]}, 7)


def test_after_a_gap_what_is_known_of_a_job_s_end_is_in_doubt() -> None:
    bridge = Bridge()
    late, early = Client(bridge), Client(bridge)
    late.subscribe({"jobId": "1", "queue": "http"})
    early.subscribe({"jobId": "2", "queue": "http"})
    bridge.publish("5-0", event("completed", "1"))
    bridge.publish("6-0", event("completed", "2"))
    begin_again(bridge.fanout, "http", "trimmed", "9-0", "5-0")
    bridge.fanout.end_reread("http", "0-0")
    assert (late.member().job_states, early.member().job_states) == (
        {"http": JobEnded(b"0-0")},
        {"http": JobEnded(b"6-0")},
    )
    begin_again(bridge.fanout, "http", "ahead", "9-0", "5-0")
    assert early.member().job_states == {"http": JobEnded(b"0-0")}


def test_the_callback_hears_of_a_hole_and_of_its_end() -> None:
    noted: list[str] = []
    bridge = Bridge(on_gap=noted.append)
    begin_again(bridge.fanout, "http", "trimmed", "1-0", "0-0")
    assert (noted, bridge.fanout.without_position, [*bridge.fanout.rereads]) == ([], {"http"}, ["http"])
    bridge.fanout.end_reread("http", "0-0")
    assert (noted, bridge.fanout.without_position, [*bridge.fanout.rereads]) == (["http"], {"http"}, [])


def test_a_stream_that_is_read_again_is_not_looked_up_before_that_is_done() -> None:
    noted: list[str] = []
    bridge = Bridge(on_gap=noted.append)
    begin_again(bridge.fanout, "http", "trimmed", "1-0", "0-0")
    bridge.fanout.doubt("http")
    bridge.fanout.resolve("http")
    assert (noted, bridge.fanout.without_position) == ([], {"http"})
    bridge.fanout.end_reread("http", "0-0")
    bridge.fanout.doubt("http")
    bridge.fanout.resolve("http")
    assert (noted, bridge.fanout.without_position) == (["http", "http"], set())


def test_what_was_published_before_is_not_published_again() -> None:
    bridge = Bridge()
    client = Client(bridge)
    client.subscribe([{"jobId": job_id, "queue": "http", "events": ["*"]} for job_id in "12"])
    bridge.publish("1-0", event("active"))
    client.frames()
    begin_again(bridge.fanout, "http", "trimmed", "3-0", "0-0")
    bridge.fanout.without_position.clear()
    assert client.received() == [("gap", None)]
    for stream_id, name, job_id in (("1-0", "active", "1"), ("2-0", "progress", "1"), ("3-0", "active", "2")):
        bridge.publish(stream_id, event(name, job_id))
    assert client.received() == [("progress", "2-0"), ("active", "3-0")]


def test_a_queue_that_is_forgotten_is_a_new_one_when_it_comes_back() -> None:
    bridge = Bridge()
    fanout = bridge.fanout
    bridge.publish("5-0", event("active"))
    begin_again(fanout, "http", "ahead", "2-0", "0-0")
    fanout.without_events.add("http")
    assert fanout.may_miss("http", "4-0")
    assert fanout.is_foreign("http", "4-0", "9-0")
    fanout.forget("http")
    assert not fanout.may_miss("http", "4-0")
    assert not fanout.is_foreign("http", "4-0", "9-0")
    for known in (fanout.cursors, fanout.verified, fanout.rereads, fanout.without_events, fanout.without_position):
        assert "http" not in known
    assert not fanout.history.filled("http")


def test_a_call_ends_after_so_many_frames() -> None:
    bridge = Bridge()
    clients = [Client(bridge, outbox_bytes=1 << 24) for _ in range(100)]
    for client in clients:
        client.complete(client.begin({"queue": "http", "events": ["*"]}, "subscribe-queue"))
    entries = [(b"%d-0" % number, event("active")) for number in range(1, MAX_DELIVERIES // 100 + 2)]
    assert bridge.fanout.publish("http", entries) == MAX_DELIVERIES // 100
    assert bridge.fanout.cursors["http"] == "200-0"
    assert bridge.fanout.publish("http", entries, MAX_DELIVERIES // 100) == len(entries)
    assert bridge.fanout.counts["entries"] == len(entries)
    assert bridge.fanout.publish("http", []) == 0
    assert bridge.fanout.cursors["http"] == "201-0"
    assert [len(client.hub_client.outbox.take()) for client in clients] == [len(entries) + 1] * 100


def test_a_call_ends_when_it_took_its_share_of_time() -> None:
    now = count()
    bridge = Bridge(clock=lambda: next(now) * MAX_SECONDS)
    entries = [(b"%d-0" % number, event("active")) for number in range(1, 301)]
    # The clock is read every 64 entries. At the second time, it is after the deadline.
    assert bridge.fanout.publish("http", entries) == 128
    assert bridge.fanout.publish("http", entries, 128) == 256


def test_with_rules_the_clock_is_read_after_each_entry() -> None:
    """To redact parts of large values takes longer than everything else."""
    now = count()
    bridge = Bridge(clock=lambda: next(now) * MAX_SECONDS, privacy=Privacy({"http": QueueRules()}))
    entries = [(b"%d-0" % number, event("active")) for number in range(1, 301)]
    assert bridge.fanout.publish("http", entries) == 2
    assert bridge.fanout.publish("http", entries, 2) == 4


def test_everybody_who_got_something_is_woken_once() -> None:
    bridge = Bridge()
    takes, idle = Client(bridge), Client(bridge)
    for client, chosen in ((takes, "*"), (idle, "failed")):
        client.subscribe({"jobId": "1", "queue": "http", "events": [chosen]})
        client.woken = 0
    bridge.fanout.publish("http", [(b"1-0", event("active")), (b"2-0", event("progress"))])
    assert (takes.woken, idle.woken) == (1, 0)


def test_as_many_events_are_remembered_as_a_stream_may_hold() -> None:
    bridge = Bridge()
    assert bridge.fanout.resize_history("http", LEAST_PER_QUEUE + 1) == LEAST_PER_QUEUE + 1
    assert bridge.fanout.history.of("http").capacity == LEAST_PER_QUEUE + 1


def test_a_client_that_comes_from_a_faster_bridge_gets_nothing_again() -> None:
    bridge = Bridge()
    bridge.publish("1-0", event("active"))
    client = Client(bridge)
    ack = client.subscribe({"jobId": "1", "queue": "http", "after": "3-0", "events": ["*"]}, {}, "5-0")
    assert ack["after"] == {"http": "3-0"}
    other = Client(bridge)
    other.subscribe({"jobId": "1", "queue": "http", "events": ["*"]}, {}, "1-0")
    for number, name in ((2, "progress"), (3, "completed"), (4, "waiting")):
        bridge.publish(f"{number}-0", event(name))
    assert client.received() == [("waiting", "4-0")]
    assert other.received() == [("progress", "2-0"), ("completed", "3-0"), ("waiting", "4-0")]


@pytest.mark.parametrize(("reason", "ahead"), [("trimmed", {"http": b"3-0"}), ("recreated", {})])
def test_after_another_stream_began_a_client_that_came_from_a_faster_bridge_gets_everything(
    reason: str, ahead: dict[str, bytes]
) -> None:
    bridge = Bridge()
    bridge.publish("1-0", event("active"))
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http", "after": "3-0", "events": ["*"]}, {}, "5-0")
    begin_again(bridge.fanout, "http", reason, "5-0", "0-0")
    assert client.member().ahead == ahead
    bridge.fanout.end_reread("http", "0-0")
    client.frames()
    bridge.publish("2-0", event("progress"))
    # No position is sent until outcomes that were missed have been looked up.
    assert client.received() == ([] if ahead else [("progress", None)])


def test_what_is_held_for_a_client_that_does_not_read_overflows_for_that_one_alone() -> None:
    bridge = Bridge()
    full, good = Client(bridge, outbox_bytes=4096), Client(bridge)
    bridge.publish("1-0", event("active"))
    for client in (full, good):
        client.subscribe({"jobId": "1", "queue": "http", "events": ["*"], "after": "0-0"})
        assert client.member().held == []
    for number in (2, 3, 4):
        bridge.publish(f"{number}-0", event("progress", data=b'"%b"' % (b"x" * 2000)))
    assert (full.hub_client.outbox.overflowed, good.hub_client.outbox.overflowed) == (True, False)
    assert [len(client.member().held or ()) for client in (full, good)] == [2, 3]
    begin_again(bridge.fanout, "http", "trimmed", "4-0", "0-0")
    assert [len(client.member().held or ()) for client in (full, good)] == [2, 4]
    assert full.hub_client.outbox.size < 4100
