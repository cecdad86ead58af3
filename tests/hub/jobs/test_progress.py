"""Progress is merged: what is held, when it is sent, and to whom."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from jobws.hub.jobs.progress import Window
from jobws.hub.jobs.replay import deliver_outcome
from jobws.protocol.messages import AuthenticatedData
from jobws.protocol.request_types import Authenticate
from tests.hub.one_bridge import Bridge, Client, event, hash_of
from tests.support.sight import sight
from tests.support.steps import begin_again, do_all

if TYPE_CHECKING:
    from jobws.redis.commands import Entry

SECONDS = 0.1
ALL = {"jobId": "1", "queue": "http", "events": ["*"]}


class Merging(Bridge):
    """A bridge that merges progress.

    Attributes:
        now: Its clock, which the test moves.
        opened: How often it said that it holds progress.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.now = 1000.0
        self.opened = 0
        super().__init__(clock=lambda: self.now, progress_seconds=seconds, on_progress=self._open)

    def _open(self) -> None:
        self.opened += 1

    def report(self, number: int, job_id: str = "1", data: str | None = None, queue: str = "http") -> None:
        """Report progress, which has the id `number-0` and, unless given, the number as its value."""
        self.publish(f"{number}-0", event("progress", job_id, data=data or str(number)), queue)

    def after(self, seconds: float) -> float | None:
        """Let time pass, and send what is due. Return in how many seconds more is due."""
        self.now += seconds
        return self.fanout.send_due_progress()


def subscribe(bridge: Bridge, data: object = ALL, name: str = "subscribe-job") -> Client:
    client = Client(bridge)
    client.complete(client.begin(data, name))
    client.frames()
    return client


def values(client: Client) -> list[Any]:
    """Take the frames, and return the value of each progress, and the name of each other event."""
    return [frame["data"]["data"] if frame["event"] == "progress" else frame["event"] for frame in client.frames()]


def test_the_first_update_comes_immediately_and_then_the_latest() -> None:
    bridge = Merging()
    client = subscribe(bridge)
    for number in range(1, 5):
        bridge.report(number)
    assert client.frames() == [{"event": "progress", "id": "1-0", "data": {"queue": "http", "jobId": "1", "data": 1}}]
    assert bridge.opened == 1
    assert bridge.after(0.09) == pytest.approx(0.01)
    assert client.frames() == []
    client.woken = 0
    assert bridge.after(0.011) == pytest.approx(SECONDS)
    assert client.woken == 1
    assert client.frames() == [{"event": "progress", "id": "4-0", "data": {"queue": "http", "jobId": "1", "data": 4}}]
    assert bridge.fanout.counts["deliveries"] == 2
    bridge.report(5)
    assert client.frames() == []
    bridge.after(SECONDS)
    assert values(client) == [5]


def test_after_a_window_without_an_update_the_next_one_comes_immediately() -> None:
    bridge = Merging()
    client = subscribe(bridge)
    bridge.report(1)
    assert bridge.after(0.2) is None
    assert not bridge.fanout.progress
    bridge.report(2)
    assert values(client) == [1, 2]
    assert bridge.opened == 2


@pytest.mark.parametrize("data", ['{"at": "é"}', "50.5", '"text"', "null", "no JSON"])
def test_a_value_may_be_anything(data: str) -> None:
    bridge = Merging()
    client = subscribe(bridge)
    bridge.report(1)
    bridge.report(2, data=data)
    bridge.after(0.2)
    sent = client.frames()[1]["data"]["data"]
    merged = sent
    bridge = Merging(seconds=0)
    client = subscribe(bridge)
    bridge.report(2, data=data)
    assert client.frames()[0]["data"]["data"] == merged


def test_without_merging_every_update_comes() -> None:
    bridge = Merging(seconds=0)
    client = subscribe(bridge)
    for number in range(1, 5):
        bridge.report(number)
    assert values(client) == [1, 2, 3, 4]
    assert (bridge.opened, bridge.after(1)) == (0, None)


def test_what_is_held_comes_before_another_event_of_its_job() -> None:
    bridge = Merging()
    client = subscribe(bridge)
    for number in (1, 2, 3):
        bridge.report(number)
    bridge.publish("4-0", event("completed", returnvalue="1"))
    assert client.received() == [("progress", "1-0"), ("progress", "3-0"), ("completed", "4-0")]
    bridge.report(5)
    bridge.report(6)
    bridge.after(SECONDS)
    assert client.received() == [("progress", "6-0")], "BullMQ reports progress after the end, too"


def test_one_that_did_not_choose_the_other_event_waits() -> None:
    bridge = Merging()
    some = subscribe(bridge, {**ALL, "events": ["progress"]})
    others = subscribe(bridge)
    none = subscribe(bridge, {**ALL, "events": ["active"]})
    bridge.report(1)
    bridge.report(2)
    bridge.publish("3-0", event("active"))
    bridge.report(4)
    assert (values(some), values(others), values(none)) == ([1], [1, 2, "active"], ["active"])
    bridge.after(SECONDS)
    assert (values(some), values(others), values(none)) == ([4], [4], [])


def test_a_window_ends_for_those_who_have_not_got_it_yet() -> None:
    bridge = Merging()
    early, late = subscribe(bridge), subscribe(bridge, {**ALL, "events": ["progress"]})
    bridge.report(1)
    bridge.report(2)
    bridge.publish("3-0", event("active"))
    bridge.after(SECONDS)
    assert (values(early), values(late)) == ([1, 2, "active"], [1, 2])


def test_a_pong_comes_after_what_is_held() -> None:
    bridge = Merging()
    client, other = subscribe(bridge), subscribe(bridge)
    bridge.report(1)
    bridge.report(2)
    client.ask("ping")
    client.ask("ping")
    frames = client.frames()
    assert [(frame["event"], frame.get("id")) for frame in frames] == [
        *(("progress", "1-0"), ("progress", "2-0"), ("pong", None), ("pong", None)),
    ]
    assert frames[2]["data"]["after"] == {"http": "2-0"}
    assert values(other) == [1]
    bridge.after(SECONDS)
    assert (values(client), values(other)) == ([], [2])


def test_a_whole_queue_gets_the_progress_of_its_jobs_in_order() -> None:
    bridge = Merging()
    client = subscribe(bridge, {"queue": "http", "events": ["*"]}, "subscribe-queue")
    only_outcomes = subscribe(bridge, {"queue": "http"}, "subscribe-queue")
    for number, job_id in enumerate("1232123", 1):
        bridge.report(number, job_id)
    assert values(client) == [1]
    bridge.after(SECONDS)
    assert values(client) == [5, 6, 7]
    bridge.report(8, "9")
    bridge.report(9, "1")
    bridge.publish("10-0", [b"event", b"drained"])
    bridge.report(11, "1")
    bridge.report(12, "2")
    bridge.publish("13-0", event("completed", "3", returnvalue="1"))
    assert values(client) == [8, 9, "drained", 11, 12, "completed"]
    assert values(only_outcomes) == ["completed"]


def test_a_subscription_that_begins_meanwhile_gets_only_what_is_reported_later() -> None:
    bridge = Merging()
    first = subscribe(bridge)
    bridge.report(1)
    bridge.report(2)
    second, whole = subscribe(bridge), subscribe(bridge, {"queue": "http", "events": ["*"]}, "subscribe-queue")
    bridge.after(SECONDS)
    assert (values(first), values(second), values(whole)) == ([1, 2], [], [])
    bridge.report(3)
    third = subscribe(bridge)
    bridge.report(4)
    bridge.after(SECONDS)
    assert (values(first), values(second), values(third), values(whole)) == ([4], [4], [4], [3, 4])


def test_one_that_is_not_answered_yet_gets_nothing() -> None:
    bridge = Merging()
    subscribe(bridge)
    client = Client(bridge)
    join = client.begin(ALL)
    bridge.report(1)
    bridge.report(2)
    client.ask("ping")
    renew(client, "read:jobs:http")
    assert client.received() == [("pong", None), ("ack", None)]
    client.complete(join)
    bridge.after(SECONDS)
    assert client.received() == [("ack", None)]


def test_who_leaves_gets_nothing_that_was_held() -> None:
    bridge = Merging()
    client, other = subscribe(bridge), subscribe(bridge)
    bridge.report(1)
    bridge.report(2)
    client.ask("unsubscribe-job", {"jobId": "1", "queue": "http"})
    other.hub_client.end_all()
    assert bridge.after(SECONDS) is None, "nobody is left"
    assert client.received() == [("progress", "1-0"), ("ack", None)]
    assert values(other) == [1]


def renew(client: Client, *scope: str) -> None:
    data = AuthenticatedData("authenticate", None, (), 0)
    client.hub_client.renew(sight(*scope), Authenticate("x", None), data)


def test_another_token_sends_and_drops_what_is_held_as_it_allows() -> None:
    bridge = Merging()
    client = subscribe(bridge, {"jobId": "1", "events": ["*"]})
    renew(client, "read:jobs:http", "read:jobs:analyzer")
    everything = subscribe(bridge, {"jobId": "1", "events": ["*"]})
    bridge.open("sparql")
    client.frames()
    for queue in ("http", "analyzer", "sparql"):
        bridge.report(1, queue=queue)
        bridge.report(2, queue=queue)
    client.frames()
    renew(client, "read:jobs:http", "read:jobs:sparql")
    assert [(frame["event"], frame["data"].get("queue"), frame.get("id")) for frame in client.frames()] == [
        *(("progress", "http", "2-0"), ("ack", None, None)),
    ]
    bridge.after(SECONDS)
    assert client.frames() == []
    assert len(everything.frames()) == 6
    bridge.report(3, queue="sparql")
    bridge.after(SECONDS)
    assert [(frame["data"]["queue"], frame["id"]) for frame in client.frames()] == [("sparql", "3-0")]


def test_an_outcome_from_the_hash_comes_after_what_is_held() -> None:
    bridge = Merging()
    client = subscribe(bridge)
    bridge.report(1)
    bridge.report(2)
    client.hub_client.owe(client.member(), "http")
    (owed,) = client.owed()
    deliver_outcome(bridge.fanout, owed, hash_of(), "0-0", bridge.fanout.known("http"))
    assert client.received() == [("progress", "1-0"), ("progress", None), ("completed", "2-0~5")]


def test_a_gap_comes_after_what_is_held_and_nothing_is_held_then() -> None:
    bridge = Merging()
    client = subscribe(bridge)
    subscribe(bridge, {**ALL, "queue": "analyzer"})
    bridge.report(1)
    bridge.report(2)
    bridge.report(1, queue="analyzer")
    begin_again(bridge.fanout, "http", "recreated", "1-0", "0-0")
    assert client.received() == [("progress", "1-0"), ("progress", None), ("gap", None)]
    assert bridge.fanout.progress.of_queue("http") == []
    bridge.report(3)
    assert client.received() == [("progress", None)]


def test_a_window_may_end_while_a_gap_is_sent() -> None:
    bridge = Merging()
    client = subscribe(bridge)
    other = subscribe(bridge, {**ALL, "jobId": "2"})
    for job_id, number in (("1", 1), ("2", 2)):
        bridge.report(number, job_id)
    _, floor = bridge.fanout.begin_reread("http", "2-0", "0-0")
    steps = bridge.fanout.send_gap("http", "recreated", floor)
    next(steps)
    assert bridge.after(SECONDS) is None
    do_all(steps)
    for each in (client, other):
        assert [name for name, _ in each.received()] == ["progress", "gap"]


def test_what_waits_for_older_events_is_merged_and_comes_after_them() -> None:
    bridge = Merging()
    client = Client(bridge)
    bridge.publish("1-0", event("active"))
    client.subscribe({**ALL, "after": "0-0"}, {("http", "1"): hash_of("active")}, "1-0")
    bridge.report(2)
    bridge.report(3)
    bridge.report(4)
    bridge.after(SECONDS)
    assert client.frames() == []
    bridge.fanout.release(client.member())
    assert client.received() == [("progress", "2-0"), ("progress", "4-0")]


def test_a_client_that_is_ahead_gets_no_progress_that_it_has() -> None:
    bridge = Merging()
    client, other = subscribe(bridge), subscribe(bridge)
    client.member().ahead = {"http": b"3-0"}
    for number in (1, 2, 3):
        bridge.report(number)
    bridge.after(SECONDS)
    assert (values(client), values(other)) == ([], [1, 3])


def test_a_queue_that_is_forgotten_holds_nothing() -> None:
    bridge = Merging()
    subscribe(bridge, {"jobId": "1", "events": ["*"]})
    bridge.report(1)
    bridge.report(2)
    bridge.fanout.forget("http")
    assert bridge.after(SECONDS) is None
    assert bridge.fanout.progress.of_jobs == {}


def test_progress_without_a_job_is_not_merged() -> None:
    bridge = Merging()
    client = subscribe(bridge, {"queue": "http", "events": ["*"]}, "subscribe-queue")
    bridge.report(1)
    bridge.report(2)
    for number in (3, 4):
        bridge.publish(f"{number}-0", [b"event", b"progress", b"data", b"%d" % number])
    assert values(client) == [1, 2, 3, 4]


def test_an_update_that_breaks_everything_does_not_keep_the_outcome_back() -> None:
    bridge = Merging()
    client = subscribe(bridge)
    bridge.report(1)
    poison: list[Entry] = [(b"2-0", [*event("progress", data="2"), b"x", None])]  # type: ignore[list-item]
    assert bridge.fanout.publish("http", poison) == 1
    bridge.publish("3-0", event("completed", returnvalue="1"))
    assert values(client) == [1, "completed"]
    assert bridge.fanout.counts["poison"] == 1


def test_one_call_sends_for_a_limited_time() -> None:
    bridge = Merging()
    clients = [subscribe(bridge, {**ALL, "jobId": str(number)}) for number in range(3)]
    for number in range(3):
        bridge.report(2 * number + 1, str(number))
        bridge.report(2 * number + 2, str(number))
    bridge.now += SECONDS

    def slow_clock() -> float:
        bridge.now += 0.015
        return bridge.now

    bridge.fanout._clock = slow_clock
    assert bridge.fanout.send_due_progress() == 0
    assert [len(client.frames()) for client in clients] == [2, 2, 1]
    assert bridge.fanout.send_due_progress() > 0  # type: ignore[operator]
    assert [len(client.frames()) for client in clients] == [0, 0, 1]


def test_ten_thousand_updates_in_a_second_are_a_dozen_frames() -> None:
    bridge = Merging()
    client = subscribe(bridge)
    for number in range(1, 10_001):
        bridge.now += 0.0001
        bridge.report(number)
        if number % 100 == 0:
            bridge.fanout.send_due_progress()
    bridge.after(SECONDS)
    got = values(client)
    assert len(got) <= 12
    assert got[-1] == 10_000
    assert got == sorted(got)


def test_a_job_whose_progress_nobody_chose_has_no_window() -> None:
    bridge = Merging()
    subscribe(bridge, {"jobId": "1", "queue": "http"})
    subscribe(bridge, {"queue": "http"}, "subscribe-queue")
    bridge.report(1)
    assert not bridge.fanout.progress
    assert bridge.opened == 0


def test_the_signal_comes_once_for_windows_that_are_open_together() -> None:
    bridge = Merging()
    for job_id in ("1", "2"):
        subscribe(bridge, {**ALL, "jobId": job_id})
        bridge.report(int(job_id), job_id)
    assert bridge.opened == 1


def test_one_call_sends_a_limited_number_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobws.hub.jobs.fanout.MAX_DELIVERIES", 2)
    bridge = Merging()
    clients = [subscribe(bridge, {**ALL, "jobId": str(number)}) for number in range(3)]
    for number in range(3):
        bridge.report(2 * number + 1, str(number))
        bridge.report(2 * number + 2, str(number))
    assert bridge.after(SECONDS) == 0
    assert [len(client.frames()) for client in clients] == [2, 2, 1]


def test_a_window_looks_only_at_what_is_new_and_remembers_nobody_after_its_end() -> None:
    client = subscribe(Merging())
    window, member = Window("http", None, 0.0), client.member()
    for number, job_id in enumerate((b"1", b"2"), 1):
        window.hold(job_id, b"%d-0" % number, [])
    window.pass_over((member,))
    window.hold(b"3", b"3-0", [])
    assert window.due_to((member,)) == [(b"3-0", [], [member])]
    assert window.empty()
    references = sys.getrefcount(member)
    window.hold(b"1", b"4-0", [])
    window.pass_over((member,))
    assert sys.getrefcount(member) == references + 1
    window.empty()
    assert sys.getrefcount(member) == references
    assert not window.empty()
