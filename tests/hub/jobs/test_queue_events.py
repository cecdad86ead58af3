"""Events of a queue itself, which have no job: who gets them, and that each comes once."""

from __future__ import annotations

import pytest

from jobws.bullmq.events import kind_of
from jobws.protocol.messages import AuthenticatedData
from jobws.protocol.request_types import Authenticate
from tests.hub.one_bridge import Bridge, Client, event
from tests.support.sight import EVERYTHING, sight
from tests.support.steps import begin_again, do_all

DRAINED = [b"event", b"drained"]
CLEANED = [b"event", b"cleaned", b"count", b"3"]
JOBS, BOTH = ("read:jobs:http",), ("read:jobs:http", "read:queues:http")


def whole_queue(bridge: Bridge, *events: str, scope: tuple[str, ...] = ()) -> Client:
    """Return a client with a subscription to the queue `http`."""
    client = Client(bridge)
    if scope:
        renew(client, *scope)
    client.complete(client.begin({"queue": "http", "events": events or ("*",)}, "subscribe-queue"))
    client.frames()
    return client


def renew(client: Client, *scope: str) -> list[tuple[str, str | None]]:
    """Replace the client's token, and return the events that came before, with their positions."""
    data = AuthenticatedData("authenticate", None, (), 0)
    client.hub_client.renew(sight(*scope) if scope else EVERYTHING, Authenticate("x", None), data)
    *events, (ack, _) = client.received()
    assert ack == "ack"
    return events


def test_a_subscription_to_the_whole_queue_gets_them_with_positions() -> None:
    bridge = Bridge()
    client = whole_queue(bridge)
    bridge.publish("1-0", DRAINED)
    bridge.publish("2-0", CLEANED)
    bridge.publish("3-0", [b"event", b"deployed", b"version", b"7"])
    assert client.frames() == [
        {"event": "drained", "id": "1-0", "data": {"queue": "http"}},
        {"event": "cleaned", "id": "2-0", "data": {"queue": "http", "count": "3"}},
        {"event": "deployed", "id": "3-0", "data": {"queue": "http", "version": "7"}},
    ]


def test_only_events_that_were_chosen_come() -> None:
    bridge = Bridge()
    some, outcomes = whole_queue(bridge, "drained", "custom:ack"), whole_queue(bridge, "completed")
    for number, name in enumerate((b"paused", b"drained", b"resumed", b"ack"), 1):
        bridge.publish(f"{number}-0", [b"event", name])
    assert some.received() == [("drained", "2-0"), ("custom:ack", "4-0")]
    assert outcomes.frames() == []


@pytest.mark.parametrize("fields", [[], [b"jobId", b""]], ids=["none", "empty"])
def test_a_custom_event_without_a_job_may_have_the_name_of_another_event(fields: list[bytes]) -> None:
    bridge = Bridge()
    client, unentitled, of_job = whole_queue(bridge), whole_queue(bridge, scope=JOBS), Client(bridge)
    of_job.subscribe({"jobId": "1", "queue": "http", "until": "end"})
    bridge.publish("1-0", [b"event", b"completed", *fields, b"returnvalue", b"[1]"])
    (frame,) = client.frames()
    assert (frame["event"], frame["data"]["returnvalue"]) == ("completed", [1])
    assert unentitled.frames() == of_job.frames() == []
    assert of_job.hub_client.keys


def test_they_need_a_right_of_their_own() -> None:
    bridge = Bridge()
    client = whole_queue(bridge, scope=JOBS)
    bridge.publish("1-0", DRAINED)
    bridge.publish("2-0", event("active"))
    assert renew(client, *BOTH) == [("active", "2-0")]
    bridge.publish("3-0", DRAINED)
    assert renew(client, "read:jobs:http", "read:queues:analyzer") == [("drained", "3-0")]
    bridge.publish("4-0", CLEANED)
    assert renew(client) == []
    bridge.publish("5-0", CLEANED)
    assert client.received() == [("cleaned", "5-0")]
    client.hub_client.end_all()
    assert not bridge.fanout.rooms


def test_a_gap_is_told_without_that_right_too() -> None:
    bridge = Bridge()
    client = whole_queue(bridge, scope=JOBS)
    begin_again(bridge.fanout, "http", "trimmed", "1-0", "0-0")
    assert client.received() == [("gap", None)]


def test_a_stream_that_is_read_again_brings_none_twice() -> None:
    bridge = Bridge()
    past = kind_of(DRAINED)
    assert past is not None
    do_all(bridge.fanout.fill("http", [(b"1-0", None, past)], "0-0"))
    bridge.fanout.cursors["http"] = "1-0"
    client = whole_queue(bridge)
    bridge.publish("2-0", DRAINED)
    begin_again(bridge.fanout, "http", "trimmed", "4-0", "0-0")
    for stream_id in ("1-0", "2-0", "3-0"):
        bridge.publish(stream_id, DRAINED)
    bridge.fanout.end_reread("http", "0-0")
    assert client.received() == [("drained", "2-0"), ("gap", None), ("drained", "3-0")]
