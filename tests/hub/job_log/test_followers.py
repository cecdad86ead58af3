"""Clients that asked for lines get them before the outcome. Other clients notice nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jobws.bullmq.snapshot import LookUp
from jobws.hub.job_log.reader import ReadLines
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.replay import deliver_outcome, replay
from jobws.protocol.codec import Frame
from jobws.protocol.messages import JobSnapshot
from jobws.protocol.session import Session
from tests.support.fanout import new_fanout
from tests.support.sight import EVERYTHING
from tests.support.steps import ask_for, begin_again, do_all

if TYPE_CHECKING:
    from jobws.bullmq.snapshot import Found
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.hub.jobs.subscription import Subscription

QUEUES = ("http", "analyzer")
NOW = 1795435729358.0
OUTCOME = [b"event", b"completed", b"jobId", b"7", b"returnvalue", b"1"]


class Bridge:
    """A hub, its clients, and the lists of lines that Redis would have."""

    def __init__(self) -> None:
        self.news: list[tuple[tuple[str, str], bool]] = []
        self.waiting: list[Subscription] = []
        self.fanout = new_fanout(
            on_job_log_news=lambda job, urgent: self.news.append((job, urgent)), on_job_log_wait=self.waiting.append
        )
        for queue in QUEUES:
            do_all(self.fanout.fill(queue, [], "0-0"))
        self.lists: dict[tuple[str, str], list[bytes]] = {}
        self.number = 0

    def client(self) -> Client:
        return Client(self)

    def publish(self, *entries: list[bytes], queue: str = "http") -> None:
        for fields in entries:
            self.number += 1
            self.fanout.publish(queue, [(b"%d-0" % self.number, fields)])
            self.fanout.verified[queue] = f"{self.number}-0"

    def look(self, queue: str = "http", job_id: str = "7") -> int:
        """Read a job's lines until there are no more. Return how many reads this took."""
        looks = 0
        groups, _ = self.fanout.job_logs.groups((queue, job_id))
        while groups:
            again = []
            for group in groups:
                looks += 1
                lines = self.lists.get((queue, job_id), [])
                start, limit = group.reader.slice
                seen = (
                    ReadLines(lines[-limit:], len(lines)) if start is None else ReadLines(lines[start : start + limit])
                )
                result = group.reader.result_of(seen)
                self.fanout.job_logs.send(group, result)
                again.append(result.again)
            groups = self.fanout.job_logs.groups((queue, job_id))[0] if any(again) else []
        return looks


class Client:
    """A client, and what it gets."""

    def __init__(self, bridge: Bridge, outbox_bytes: int = 1 << 20) -> None:
        self._bridge = bridge
        session = Session(QUEUES, 262144, 10, EVERYTHING)
        self.hub_client = JobClient(session, bridge.fanout, QUEUES, 10, outbox_bytes, lambda: None, lambda _: None)

    def subscribe(self, *states: str, queue: str = "http", **data: Any) -> None:
        """Subscribe to job 7, and drop the answer. If a state is given, Redis has a hash of the job."""
        pending = self.ask("subscribe-job", {"jobId": "7", "queue": queue, **data})
        assert pending is not None
        self.complete(
            pending,
            {(queue, "7"): JobSnapshot(queue, "7", "n", states[0], "0-0") for queue in QUEUES} if states else {},
        )
        frames = self.frames()
        assert frames[0]["event"] == "ack"
        self.early = frames[1:]

    def complete(self, pending: PendingSubscription, found: Found) -> None:
        """Answer a subscription: Redis has these jobs, and empty streams."""
        query = ask_for(pending, QUEUES, self._bridge.fanout)
        query.keep_answer(LookUp(found, {}, {}))
        do_all(self.hub_client.complete(pending, query, NOW))

    def ask(self, event: str, data: object = None) -> Any:
        return self.hub_client.receive(json.dumps({"event": event, "data": data}), 0.0)

    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(frame.payload) for frame in self.hub_client.outbox.take()]

    def received(self) -> list[object]:
        """Return the lines and the names of events that came, in order."""
        received: list[object] = []
        for frame in self.frames():
            received += frame["data"]["lines"] if frame["event"] == "job-log" else [frame["event"]]
        return received

    def after(self) -> dict[str, str]:
        self.ask("ping")
        (pong,) = self.frames()
        after: dict[str, str] = pong["data"]["after"]
        return after


def waits(client: Client) -> bool:
    return client.hub_client.catching_up


def test_the_last_lines_come_before_the_outcome_and_nobody_else_waits() -> None:
    bridge = Bridge()
    client, other = bridge.client(), bridge.client()
    client.subscribe("active", logs=True, until="end")
    other.subscribe("active", events=["*"])
    bridge.lists["http", "7"] = [b"a"]
    bridge.look()
    assert client.received() == ["a"]
    bridge.lists["http", "7"].append(b"b")
    bridge.publish(OUTCOME)
    assert other.received() == ["completed"]
    assert client.received() == []
    bridge.look()
    assert client.received() == ["b", "completed"]
    assert not client.hub_client.keys
    assert other.received() == []


def test_later_events_of_the_job_stay_behind_its_outcome() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True, events=["*"])
    bridge.look()
    bridge.publish(OUTCOME, [b"event", b"waiting", b"jobId", b"7"], [b"event", b"active", b"jobId", b"8"])
    bridge.look()
    assert client.received() == ["completed", "waiting"]


def test_a_look_that_began_before_the_outcome_does_not_count() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True)
    bridge.look()
    (group,), _ = bridge.fanout.job_logs.groups(("http", "7"))
    bridge.publish(OUTCOME)
    bridge.fanout.job_logs.send(group, group.reader.result_of(ReadLines([])))
    assert client.received() == []
    bridge.lists["http", "7"] = [b"a"]
    bridge.look()
    assert client.received() == ["a", "completed"]


def test_a_second_outcome_meanwhile_waits_for_a_further_look() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True)
    bridge.look()
    bridge.publish(OUTCOME)
    (group,), _ = bridge.fanout.job_logs.groups(("http", "7"))
    assert (("http", "7"), True) in bridge.news
    bridge.waiting.clear()
    bridge.publish([b"event", b"active", b"jobId", b"7"], OUTCOME)
    assert not bridge.waiting, "its time runs already"
    bridge.fanout.job_logs.send(group, group.reader.result_of(ReadLines([])))
    assert client.received() == []
    bridge.lists["http", "7"] = [b"a"]
    bridge.look()
    assert client.received() == ["a", "completed", "completed"]


def test_what_waits_too_long_goes_on_without_lines() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True, until="end")
    bridge.look()
    bridge.waiting.clear()
    bridge.publish(OUTCOME)
    assert client.received() == []
    (subscription,) = bridge.waiting
    bridge.fanout.job_logs.give_up(subscription)
    assert client.received() == ["completed"]
    assert not bridge.fanout.job_logs.draining


def test_no_position_lies_behind_an_outcome_that_waits() -> None:
    bridge = Bridge()
    client, other = bridge.client(), bridge.client()
    client.subscribe("active", logs=True)
    other.subscribe("active", events=["progress"])
    bridge.look()
    bridge.publish([b"event", b"active", b"jobId", b"8"])
    assert client.after() == {"http": "1-0"}
    bridge.publish(OUTCOME, [b"event", b"active", b"jobId", b"8"])
    assert client.hub_client.catching_up
    assert client.after() == {}
    assert other.after() == {"http": "3-0"}
    assert not other.hub_client.catching_up
    bridge.look()
    assert client.received() == ["completed"]
    assert client.after() == {"http": "3-0"}
    assert not bridge.fanout.job_logs.draining


def test_a_gap_does_not_overtake_an_outcome_that_waits() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True)
    bridge.look()
    bridge.publish(OUTCOME)
    bridge.fanout.cursors["analyzer"] = bridge.fanout.verified["analyzer"] = "0-0"
    begin_again(bridge.fanout, "analyzer", "trimmed", "1-0", "1-0")
    bridge.fanout.end_reread("analyzer", "1-0")
    assert client.received() == []
    begin_again(bridge.fanout, "http", "trimmed", "1-0", "1-0")
    bridge.fanout.cursors["http"] = "1-0"
    bridge.fanout.end_reread("http", "1-0")
    assert client.received() == ["completed", "gap"]


def test_events_of_the_first_moments_wait_for_the_lines_that_there_are() -> None:
    bridge = Bridge()
    client = bridge.client()
    bridge.lists["http", "7"] = [b"a", b"b"]
    client.subscribe("active", logs=True, events=["*"])
    assert not client.early
    bridge.publish([b"event", b"progress", b"jobId", b"7", b"data", b"1"])
    assert client.received() == []
    bridge.look()
    assert client.received() == ["a", "b", "progress"]


def test_a_job_that_does_not_exist_waits_for_nothing_and_is_looked_at_once_it_lives() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe(logs=True, events=["*"])
    assert not client.hub_client.catching_up
    assert bridge.look() == 0
    bridge.publish([b"event", b"active", b"jobId", b"7"])
    assert client.received() == ["active"]
    assert bridge.news == [(("http", "7"), False)]
    bridge.lists["http", "7"] = [b"a"]
    bridge.look()
    assert client.received() == ["a"]


def test_a_job_of_a_queue_without_events_is_looked_at_before_anything_tells_of_it() -> None:
    bridge = Bridge()
    bridge.fanout.without_events.add("http")
    client = bridge.client()
    client.subscribe(logs=True)
    assert (("http", "7"), False) in bridge.news
    bridge.lists["http", "7"] = [b"a"]
    bridge.look()
    assert client.received() == ["a"]


def test_nobody_looks_after_the_end_until_the_job_lives_again() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True)
    bridge.look()
    bridge.publish(OUTCOME)
    bridge.look()
    assert bridge.look() == 0
    bridge.publish([b"event", b"waiting", b"jobId", b"7"])
    assert bridge.look() == 1
    client.ask("unsubscribe-job", {"jobId": "7", "queue": "http"})
    assert not bridge.fanout.job_logs.followers


def test_a_client_that_leaves_takes_nothing_back_and_holds_up_nobody() -> None:
    bridge = Bridge()
    client, other = bridge.client(), bridge.client()
    client.subscribe("active", logs=True)
    other.subscribe("active", logs=True)
    bridge.look()
    bridge.publish(OUTCOME)
    groups, _ = bridge.fanout.job_logs.groups(("http", "7"))
    client.hub_client.end_all()
    bridge.fanout.job_logs.send(groups[0], groups[0].reader.result_of(ReadLines([])))
    assert client.received() == []
    assert other.received() == ["completed"]
    assert not bridge.fanout.job_logs.draining


def test_clients_that_are_equally_far_share_a_look_and_its_frame() -> None:
    bridge = Bridge()
    clients = [bridge.client() for _ in range(3)]
    bridge.lists["http", "7"] = [b"a"]
    for client in clients:
        client.subscribe("active", logs=True)
    assert bridge.look() == 1
    frames = [client.hub_client.outbox.take() for client in clients]
    assert len({id(frame) for each in frames for frame in each}) == 1
    late = bridge.client()
    late.subscribe("active", logs=True)
    assert bridge.look() == 2
    assert late.received() == ["a"]
    assert bridge.look() == 1
    assert [client.received() for client in clients] == [[], [], []]


def test_a_position_goes_on_where_it_was() -> None:
    bridge = Bridge()
    bridge.lists["http", "7"] = [b"a", b"b"]
    client = bridge.client()
    client.subscribe("active", logs=True)
    bridge.look()
    (frame,) = client.frames()
    bridge.lists["http", "7"].append(b"c")
    back = bridge.client()
    back.subscribe("active", logs={"after": frame["data"]["position"]})
    bridge.look()
    (frame,) = back.frames()
    assert (frame["data"]["lines"], frame["data"]["first"]) == (["c"], 2)


def test_a_client_that_has_not_taken_what_waits_gets_its_lines_later() -> None:
    bridge = Bridge()
    client = Client(bridge, 4096)
    client.subscribe("active", logs=True)
    bridge.look()
    bridge.lists["http", "7"] = [b"x" * 3000]
    bridge.look()
    bridge.lists["http", "7"].append(b"y" * 3000)
    groups, full = bridge.fanout.job_logs.groups(("http", "7"))
    assert not groups
    assert [subscription.client for subscription in full] == [client.hub_client]
    bridge.publish(OUTCOME)
    assert client.received() == ["x" * 3000]
    client.hub_client.outbox.written()
    bridge.look()
    assert client.received() == ["y" * 3000, "completed"]


def test_a_frame_says_what_is_odd_about_it() -> None:
    bridge = Bridge()
    named, anywhere = bridge.client(), bridge.client()
    named.subscribe("active", logs=True)
    anywhere.ask("unsubscribe-job", "7")
    pending = anywhere.ask("subscribe-job", {"jobId": "7", "logs": True})
    anywhere.complete(pending, {("http", "7"): JobSnapshot("http", "7", "n", "active", "0-0")})
    anywhere.frames()
    bridge.lists["http", "7"] = [b"\xff\x00", "é".encode() * 40_000]
    bridge.look()
    (frame,), (other,) = named.frames(), anywhere.frames()
    assert frame["data"].keys() == {"queue", "jobId", "lines", "first", "position", "truncated"}
    assert (frame["data"]["queue"], frame["data"]["jobId"], frame["data"]["first"]) == ("http", "7", 0)
    assert bridge.fanout.counts["job-log-lines"] == 4
    assert frame["data"]["lines"] == ["\ufffd\0", "é" * 32_768]
    assert other["data"] == frame["data"]
    bridge.lists["http", "7"] = [b"z"]
    bridge.look()
    (frame,) = named.frames()
    assert (frame["data"]["lines"], frame["data"]["gap"]) == (["z"], True)
    assert "truncated" not in frame["data"]


def test_an_outcome_waits_for_however_many_lines_there_are() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True)
    bridge.look()
    lines = bridge.lists["http", "7"] = [b"%d" % number for number in range(2500)]
    bridge.publish(OUTCOME)
    bridge.look()
    assert client.received() == [*(line.decode() for line in lines), "completed"]


def test_a_job_of_that_id_in_another_queue_is_another_job() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True)
    bridge.look()
    bridge.publish(OUTCOME, queue="analyzer")
    assert not client.hub_client.catching_up
    bridge.fanout.without_events.add("analyzer")
    assert bridge.look("analyzer") == 0


def test_with_two_queues_an_outcome_of_each_waits_for_the_lines_of_each() -> None:
    bridge = Bridge()
    client = bridge.client()
    pending = client.ask("subscribe-job", {"jobId": "7", "logs": True})
    client.complete(pending, {(queue, "7"): JobSnapshot(queue, "7", "n", "active", "0-0") for queue in QUEUES})
    client.frames()
    bridge.look("http")
    assert bridge.fanout.job_logs.draining
    bridge.look("analyzer")
    assert not client.hub_client.catching_up
    bridge.publish(OUTCOME, queue="http")
    bridge.publish(OUTCOME, queue="analyzer")
    bridge.look("http")
    assert client.received() == []
    bridge.look("analyzer")
    assert client.received() == ["completed", "completed"]
    bridge.publish([b"event", b"waiting", b"jobId", b"7"], OUTCOME)
    bridge.fanout.cursors["analyzer"] = bridge.fanout.verified["analyzer"] = "0-0"
    begin_again(bridge.fanout, "analyzer", "trimmed", "0-0", "0-0")
    bridge.fanout.end_reread("analyzer", "0-0")
    assert client.received() == ["completed", "gap"], "the gap is another queue's"


def test_what_waits_for_lines_of_a_client_that_leaves_goes_on() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True)
    bridge.look()
    (subscription,) = bridge.fanout.job_logs.followers[b"7"]
    went_on: list[bool] = []
    bridge.fanout.job_logs.drain(subscription, ["http"], lambda: went_on.append(True))
    assert not went_on
    client.hub_client.end_all()
    assert went_on


def test_what_a_client_has_no_room_for_is_read_again() -> None:
    bridge = Bridge()
    client = Client(bridge, 4096)
    client.subscribe("active", logs=True)
    bridge.look()
    bridge.lists["http", "7"] = [b"a"]
    (group,), _ = bridge.fanout.job_logs.groups(("http", "7"))
    client.hub_client.outbox.append(Frame(b"x" * 3000))
    assert not bridge.fanout.job_logs.send(group, group.reader.result_of(ReadLines([b"a"])))
    client.hub_client.outbox.take()
    client.hub_client.outbox.written()
    assert bridge.fanout.job_logs.send(group, group.reader.result_of(ReadLines([b"a"])))
    assert client.received() == ["a"]
    bridge.look()
    assert client.received() == []


def test_an_outcome_that_no_event_tells_of_waits_too() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True)
    bridge.look()
    (subscription,) = bridge.fanout.job_logs.followers[b"7"]
    client.hub_client.owe(subscription, "http")
    assert client.hub_client.backlog is not None
    _, (owed,) = client.hub_client.backlog.take(1)
    deliver_outcome(
        bridge.fanout, owed, JobSnapshot("http", "7", "n", "completed", "9-0"), "0-0", bridge.fanout.known("http")
    )
    assert client.received() == []
    bridge.lists["http", "7"] = [b"a"]
    bridge.look()
    assert client.received() == ["a", "completed"]


def test_what_is_read_back_waits_for_the_lines_too() -> None:
    bridge = Bridge()
    bridge.publish([b"event", b"active", b"jobId", b"7"])
    client = bridge.client()
    bridge.lists["http", "7"] = [b"a"]
    client.subscribe("active", logs=True, after="0-0", events=["*"])
    assert waits(client)
    assert not client.hub_client.backlog, "the lines come first"
    bridge.look()
    assert client.received() == ["a"]
    backlog = client.hub_client.backlog
    assert backlog is not None
    ((of, index),), _ = backlog.take(9)
    replay(bridge.fanout, of, index, (b"1-0", [b"event", b"active", b"jobId", b"7"]))
    bridge.look()
    assert client.received() == ["active"]


def test_lines_of_a_queue_that_is_forgotten_are_waited_for_no_more() -> None:
    bridge = Bridge()
    client, named, without = bridge.client(), bridge.client(), bridge.client()
    join = client.ask("subscribe-job", {"jobId": "7", "logs": True})
    client.complete(join, {(queue, "7"): JobSnapshot(queue, "7", "n", "active", "0-0") for queue in QUEUES})
    named.subscribe("active", logs=True)
    join = without.ask("subscribe-job", {"jobId": "7"})
    without.complete(join, {("http", "7"): JobSnapshot("http", "7", "n", "active", "0-0")})
    bridge.fanout.forget("http")
    assert waits(client), "another queue's lines are to come"
    bridge.fanout.forget("analyzer")
    assert not waits(client)
    assert waits(named), "it named the queue"
    assert not waits(without)
    client.hub_client.end_all()
    bridge.fanout.forget("http")


def test_an_outcome_that_waits_is_released_by_its_own_lines_alone() -> None:
    bridge = Bridge()
    client, other = bridge.client(), bridge.client()
    client.subscribe("active", logs=True)
    other.subscribe("active", logs=True, queue="analyzer")
    bridge.look()
    bridge.look("analyzer")
    bridge.publish(OUTCOME)
    assert not waits(other)
    assert waits(client)
    assert not bridge.fanout.job_logs.draining_of(other.hub_client)


def test_a_client_that_follows_several_jobs_waits_for_each() -> None:
    bridge = Bridge()
    client = bridge.client()
    client.subscribe("active", logs=True)
    join = client.ask("subscribe-job", {"jobId": "8", "queue": "http", "logs": True})
    client.complete(join, {("http", "8"): JobSnapshot("http", "8", "n", "active", "0-0")})
    bridge.look()
    assert waits(client)
    bridge.look(job_id="8")
    assert not waits(client)
    job_logs = bridge.fanout.job_logs
    woken: list[object] = []
    (membership,) = job_logs.followers[b"8"]
    job_logs.drain(membership, [], lambda: woken.append("now"))
    assert woken == ["now"]
    job_logs.give_up(membership)
    assert woken == ["now"]
    client.hub_client.end_all()
    assert job_logs.followers == {}


def test_an_outcome_that_comes_while_events_are_read_back_waits_for_its_lines_after_them() -> None:
    bridge = Bridge()
    active = [b"event", b"active", b"jobId", b"7"]
    bridge.publish(active)
    client = bridge.client()
    client.subscribe("active", logs=True, after="0-0", events=["*"], until="end")
    bridge.look()
    backlog = client.hub_client.backlog
    assert backlog is not None
    ((of, index),), _ = backlog.take(9)
    bridge.publish(OUTCOME)
    bridge.lists["http", "7"] = [b"a"]
    replay(bridge.fanout, of, index, (b"1-0", active))
    assert client.received() == ["active"]
    bridge.look()
    assert client.received() == ["a", "completed"]


def test_a_list_of_a_queue_that_was_forgotten_begins_again() -> None:
    bridge = Bridge()
    client = bridge.client()
    join = client.ask("subscribe-job", {"jobId": "7", "logs": True})
    client.complete(join, {("http", "7"): JobSnapshot("http", "7", "n", "active", "0-0")})
    bridge.lists["http", "7"] = [b"a", b"b"]
    bridge.look()
    bridge.fanout.forget("http")
    do_all(bridge.fanout.fill("http", [], "0-0"))
    bridge.publish([b"event", b"active", b"jobId", b"7"])
    bridge.lists["http", "7"] = [b"a", b"b", b"c"]
    client.received()
    bridge.look()
    assert client.received() == ["a", "b", "c"]
