"""The backlog of a client keeps its order, and never gives events and outcomes together."""

from __future__ import annotations

from jobws.bullmq.events import kind_of
from jobws.hub.jobs.backlog import Backlog
from jobws.hub.jobs.missed import Owed, Replay
from tests.hub.one_bridge import Bridge, Client, event, hash_of


def test_events_and_outcomes_are_taken_by_turns_as_many_as_are_asked_for() -> None:
    client = Client(Bridge())
    client.subscribe({"jobId": "1", "queue": "http"})
    member, backlog = client.member(), Backlog()
    kind = kind_of(event("active"))
    assert kind is not None
    first = Replay(member, "http", [b"1-0", b"2-0", b"3-0"], [kind] * 3)
    second = Replay(member, "analyzer", [b"1-0"], [kind])
    one, two = Owed(member, "http"), Owed(member, "analyzer")
    assert not backlog
    backlog.add([first, second, one])
    backlog.add([two, second])
    second.index = 0
    assert backlog.take(2) == ([(first, 0), (first, 1)], [])
    assert backlog.take(9) == ([(first, 2), (second, 0)], [])
    assert backlog.take(1) == ([], [one])
    second.index = 0
    assert backlog.take(9) == ([], [two])
    assert backlog.take(1) == ([(second, 0)], [])
    assert backlog, "what was taken counts"
    assert backlog.take(1) == ([], [])
    assert not backlog


def test_what_is_read_back_for_a_client_that_left_is_passed_by() -> None:
    client = Client(Bridge())
    client.subscribe({"jobId": "1", "queue": "http"})
    member, backlog = client.member(), Backlog()
    backlog.add([Owed(member, "http")])
    client.hub_client.end(member)
    assert backlog.take(9) == ([], [])
    assert not backlog


def test_an_outcome_is_owed_once() -> None:
    bridge = Bridge()
    client = Client(bridge)
    bridge.publish("1-0", event("active"))
    client.subscribe({"jobId": "1"}, {("http", "1"): hash_of("active")}, "1-0")
    client.read_back.clear()
    for queue in ("http", "http", "analyzer"):
        client.hub_client.owe(client.member(), queue)
    assert [owed.queue for owed in client.owed()] == ["http", "analyzer"]
    assert client.read_back == [client.hub_client] * 2
    assert list(client.member().owed or ()) == ["http", "analyzer"]
