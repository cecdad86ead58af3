"""A new token: what it does not allow ends, or is dropped, and nothing of it follows. The rest goes on."""

from __future__ import annotations

from typing import Any

import pytest

from jobws.bullmq.snapshot import LookUp
from jobws.hub.job_log.reader import ReadLines
from jobws.hub.jobs.replay import deliver_outcome, replay
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.messages import AuthenticatedData, ItemError
from jobws.protocol.request_types import Authenticate
from jobws.protocol.session import Close, Standing
from tests.hub.one_bridge import Bridge, Client, event, hash_of
from tests.support.sight import EVERYTHING, sight
from tests.support.steps import ask_for, do_all

FORBIDDEN = {"code": "forbidden", "message": "the token does not allow this"}
ACK = {"request": "authenticate", "expires": 7, "queues": ["http"], "queueCount": 1}


def renew(client: Client, *scope: str) -> list[dict[str, Any]]:
    """Replace the client's token, and return the frames that come before the ack."""
    data = AuthenticatedData("authenticate", 7, ("http",), 1)
    client.hub_client.renew(sight(*scope), Authenticate("x", 3), data)
    *frames, ack = client.frames()
    assert ack == {"event": "ack", "data": ACK, "ref": 3}
    return frames


def test_what_may_still_be_read_goes_on() -> None:
    bridge = Bridge()
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http"})
    client.subscribe({"jobId": "1", "sub": "all"})
    assert renew(client, "read:jobs:http") == []
    bridge.publish("5-0", event("completed"))
    assert [(frame["id"], frame.get("sub")) for frame in client.frames()] == [("5-0", "all"), ("5-0", None)]


def test_each_subscription_that_may_not_be_read_is_reported_once() -> None:
    bridge = Bridge()
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http", "sub": 4})
    client.complete(client.begin("http", "subscribe-queue"))
    client.subscribe({"jobId": "1"})
    client.frames()
    ended = {"event": "ended", "data": {**FORBIDDEN, "queue": "http"}}
    job = {"event": "ended", "sub": 4, "data": {**FORBIDDEN, "queue": "http", "jobId": "1"}}
    assert renew(client, "read:jobs:http/2") == [
        job,
        ended,
        {"event": "ended", "data": {**FORBIDDEN, "jobId": "1"}},
    ]
    bridge.publish("5-0", event("completed"))
    assert client.frames() == []
    assert len(bridge.fanout.rooms) == 0


def test_a_queue_of_several_is_lost_without_a_word() -> None:
    bridge = Bridge()
    client = Client(bridge)
    both = {(queue, "1"): hash_of("active", queue=queue) for queue in ("http", "analyzer")}
    client.subscribe({"jobId": "1", "events": ["*"]}, both)
    bridge.publish("5-0", event("progress"))
    bridge.publish("5-0", event("progress"), "analyzer")
    client.frames()
    assert renew(client, "read:jobs:analyzer/1") == []
    bridge.publish("6-0", event("completed"))
    bridge.publish("7-0", event("progress"), "analyzer")
    client.ask("ping")
    first, pong = client.frames()
    assert (first["id"], first["data"]["queue"]) == ("7-0", "analyzer")
    assert pong["data"]["after"] == {"analyzer": "7-0"}
    assert renew(client, "admin") == []
    bridge.publish("8-0", event("progress"))
    assert [frame["id"] for frame in client.frames()] == ["8-0"], "a queue that is added counts as found now"


def test_what_waits_of_a_lost_queue_is_dropped() -> None:
    bridge = Bridge()
    bridge.publish("1-0", event("active"))
    bridge.publish("2-0", event("active"), "analyzer")
    client = Client(bridge)
    after = {"http": "0-0", "analyzer": "0-0"}
    client.subscribe({"jobId": "1", "events": ["*"], "after": after})
    bridge.publish("3-0", event("progress"))
    bridge.publish("4-0", event("progress"), "analyzer")
    assert renew(client, "read:jobs:http/1") == []
    entries = {b"1-0": event("active"), b"2-0": event("active")}
    assert client.hub_client.backlog is not None
    for of, index in client.hub_client.backlog.take(9)[0]:
        stream_id = of.stream_ids[index]
        replay(bridge.fanout, of, index, (stream_id, entries[stream_id]))
    assert [frame["event"] for frame in client.frames()] == ["active", "progress"]
    assert client.hub_client.outbox.size == 0


def test_an_outcome_of_a_lost_queue_is_not_owed() -> None:
    bridge = Bridge()
    client = Client(bridge)
    client.subscribe({"jobId": "1"}, {("http", "1"): hash_of("completed")}, "5-0")
    (owed,) = client.owed()
    assert renew(client, "read:jobs:analyzer/1") == []
    deliver_outcome(bridge.fanout, owed, hash_of("completed"), "5-0", bridge.fanout.known("http"))
    assert client.frames() == []


def test_pending_subscriptions_are_judged_again() -> None:
    bridge = Bridge()
    client = Client(bridge)
    single = client.begin({"jobId": "1", "queue": "http"})
    several = client.begin([{"jobId": "2", "queue": "http"}, {"jobId": "1", "queue": "analyzer"}, {"jobId": "1"}])
    queries = [ask_for(each, bridge.queues, bridge.fanout) for each in (single, several)]
    assert renew(client, "read:jobs:analyzer") == []
    for pending, query in zip((single, several), queries, strict=True):
        query.keep_answer(LookUp({("http", "1"): hash_of("active")}, {}, {}))
        do_all(client.hub_client.complete(pending, query, 0.0))
    refused, ack = client.frames()
    assert refused == {"event": "error", "data": {**FORBIDDEN, "request": "subscribe-job"}}
    assert ack["data"]["results"] == [
        {"error": FORBIDDEN},
        {"jobs": [], "unknown": True, "after": {"analyzer": "0-0"}},
        {"jobs": [], "unknown": True, "after": {}},
    ]


def test_a_wait_for_lines_of_a_lost_queue_ends() -> None:
    """The held outcome of another queue ends the subscription then, before it is looked at again."""
    bridge = Bridge()
    client = Client(bridge)
    both = {(queue, "1"): hash_of("active", queue=queue) for queue in ("http", "analyzer")}
    client.complete(client.begin({"jobId": "1", "logs": True, "until": "end"}), both)
    bridge.fanout.job_logs.forget(client.member(), "analyzer")
    bridge.publish("5-0", event("completed"), "analyzer")
    bridge.fanout.job_logs.forget(client.member(), "analyzer")
    client.frames()
    frames = renew(client, "read:jobs:analyzer/1")
    assert [frame["event"] for frame in frames] == ["completed"]
    assert len(client.hub_client.keys) == 0


@pytest.mark.parametrize("is_silent", [True, False])
def test_lines_that_are_being_read_do_not_follow(*, is_silent: bool) -> None:
    """The token changes after the bridge has asked Redis for lines, and before the answer.

    In a queue without events, lines are read although nothing is known of the job.
    """
    bridge = Bridge()
    client = Client(bridge)
    found = {(queue, "1"): hash_of("active", queue=queue) for queue in ("http", "analyzer")}
    if is_silent:
        bridge.fanout.without_events.add("http")
        del found["http", "1"]
    client.complete(client.begin({"jobId": "1", "logs": True}), found)
    job_logs = bridge.fanout.job_logs
    asked = [group for queue in ("http", "analyzer") for group in job_logs.groups((queue, "1"))[0]]
    assert len(asked) == 2
    client.frames()
    assert renew(client, "read:jobs:analyzer/1") == []
    for group in asked:
        job_logs.send(group, group.reader.result_of(ReadLines([b"a line"], 1)))
    assert [frame["data"]["queue"] for frame in client.frames()] == ["analyzer"]
    assert not any("http" in each.readers for each in job_logs.followers[b"1"].values())


def test_a_client_that_is_closing_gets_nothing() -> None:
    client = Client(Bridge())
    client.hub_client.close(Close(CloseCode.NORMAL, ""))
    client.hub_client.renew(EVERYTHING, Authenticate("x", None), AuthenticatedData("authenticate", None, (), 0))
    client.hub_client.reject(Authenticate("x", None), ItemError("bad-token", "no"), 0.0)
    client.hub_client.warn(5)
    assert client.frames() == []


def test_many_tokens_that_are_refused_end_the_connection() -> None:
    client = Client(Bridge())
    for number in range(100):
        client.hub_client.reject(Authenticate("x", number), ItemError("bad-token", "no"), 0.0)
    frames = client.frames()
    assert frames[0] == {
        "event": "error",
        "data": {"code": "bad-token", "message": "no", "request": "authenticate"},
        "ref": 0,
    }
    assert len(frames) == 100
    assert client.hub_client.closing is not None
    assert client.hub_client.closing.code == CloseCode.TOO_MANY


def test_without_another_token_authenticate_is_no_request() -> None:
    client = Client(Bridge())
    client.ask("authenticate", {"token": "x"}, 1)
    (answer,) = client.frames()
    sentence = "over HTTP the token comes in a header"
    assert answer["data"] == {"code": "unknown-event", "message": sentence, "request": "authenticate"}


def test_the_warning_names_the_time() -> None:
    client = Client(Bridge())
    client.hub_client.warn(5)
    assert client.frames() == [{"event": "expiring", "data": {"expires": 5}}]


def test_after_its_end_a_token_allows_to_leave_and_to_renew() -> None:
    bridge = Bridge()
    client = Client(bridge)
    client.subscribe({"jobId": "1", "queue": "http"})
    asked: list[Authenticate] = []
    client.hub_client.on_authenticate = asked.append
    client.hub_client.session.standing = Standing.EXPIRED
    for name in ("subscribe-job", "subscribe-queue", "unsubscribe-job", "ping"):
        client.ask(name, {"jobId": "1", "queue": "http"})
    client.ask("authenticate", {"token": "new"})
    codes = [frame["data"].get("code", frame["event"]) for frame in client.frames()]
    assert codes == ["expired", "expired", "ack", "pong"]
    assert asked == [Authenticate("new", None)]
    renew(client, "read:jobs:http")
    assert client.subscribe({"jobId": "1", "queue": "http"})["unknown"]


def test_rights_that_change_end_what_they_do_not_allow_without_an_ack() -> None:
    client = Client(Bridge())
    client.subscribe({"jobs": ["1", {"queue": "http", "jobId": "2"}]})
    client.hub_client.session.standing = Standing.EXPIRED
    narrow = sight("read:jobs:http/2")
    client.hub_client.examine(narrow)
    assert client.frames() == []
    client.hub_client.reapply(narrow)
    assert client.frames() == [{"event": "ended", "data": {**FORBIDDEN, "jobId": "1"}}]
    assert client.hub_client.session.standing is Standing.EXPIRED
    client.hub_client.close(Close(CloseCode.NORMAL, ""))
    client.hub_client.reapply(EVERYTHING)
    assert client.hub_client.session.sight is narrow
