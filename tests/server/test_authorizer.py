"""An authorizer decides over HTTP what clients may do: what it is asked, and what follows from its answers."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from jobws.server.outbound import MAX_BYTES
from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.access_table import no_command_names
from tests.support.authorizer import (
    ANN,
    FORBIDDEN,
    HEADERS,
    JOB,
    SEES,
    Authorizer,
    Question,
    answers,
    asking_bridge,
    get,
    reads,
)
from tests.support.client import raw_client
from tests.support.http import ask, call, exchange
from tests.support.http_server import Reply
from tests.support.waiting import subscribe

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_each_request_of_a_client_is_one_post(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = None
    async with asking_bridge(jobs.url, authorizer) as live:
        assert (await get(live.url + "/jobs/http/1"))[1]["returnvalue"] == 42
        assert (await get(live.url + "/jobs/1"))[0] == 200
        assert (await get(live.url + "/queues"))[1]["queues"][0]["queue"] == "http"
        assert (await get(live.url + "/queues/http/jobs?state=completed"))[0] == 200
        body = [{"queue": "http", "jobId": "1"}, "2"]
        assert (await call("POST", live.url + "/lookup", body, **ANN))[0] == 200
        job = {"jobId": "a", "data": 1}
        assert (await call("POST", live.url + "/jobs/http", job, **ANN))[1]["existing"] is False
        assert (await call("POST", live.url + "/logs", {"message": "a"}, **ANN))[0] == 202
        status, events = await ask(live.url + "/events?job=1&queue=http&until=end", **ANN)
        assert (status, "event: completed" in events) == (200, True)
        async with raw_client(live.url, headers=HEADERS) as client:
            assert (await client.ask("subscribe-job", JOB))["event"] == "ack"
            await client.until("completed")
            await client.ask("subscribe-job", {"jobs": ["1", "2"], "queue": "http", "events": ["none"]})
            await client.ask("subscribe-job", {"jobId": "1", "events": ["none"]})
            await client.ask("unsubscribe-job", JOB)
            await client.ask("ping")
        async with raw_client(live.url, headers=HEADERS, path="/logs") as client:
            assert (await client.ask("subscribe-logs", {"queue": ["http", "other"]}))["event"] == "ack"
    anywhere = [reads("1"), reads("1", "sparql")]
    asked = [
        *([reads("1")], anywhere, SEES, [reads(None)]),
        [reads("1"), reads("2"), reads("2", "sparql")],
        [Question("ann", "write:jobs", "http", None), reads("a")],
        [Question("ann", "write:logs", None, None)],
        [reads("1")],
        *(SEES, [reads("1")], [reads("1"), reads("2")], anywhere, SEES),
    ]
    assert authorizer.posts[:-1] == asked
    lines = {Question("ann", "read:logs", queue, None) for queue in (None, "http", "other")}
    assert set(authorizer.posts[-1]) == lines
    assert all(asked.headers["content-type"] == "application/json" for asked in authorizer.asked)
    assert not any("authorization" in asked.headers for asked in authorizer.asked)


async def test_the_jobs_below_a_job_are_asked_about_before_it_is_removed(jobs: Redis, authorizer: Authorizer) -> None:
    jobs.add_job("sparql", "2")
    jobs.client.sadd("bull:http:1:dependencies", "bull:sparql:2")
    jobs.client.hset(
        "bull:sparql:2", mapping={"parentKey": "bull:http:1", "parent": '{"id":"1","queueKey":"bull:http"}'}
    )
    authorizer.allowed = {"write:jobs:remove http/1"}
    async with asking_bridge(jobs.url, authorizer) as live:
        url = live.url + "/jobs/http/1?children=1"
        assert (await call("DELETE", url, **ANN))[1]["code"] == "forbidden"
        assert jobs.client.exists("bull:http:1", "bull:sparql:2") == 2
        authorizer.allowed = {"write:jobs:remove http/1", "write:jobs:remove sparql/2"}
        assert (await call("DELETE", url, **ANN))[0] == 200
        assert not jobs.client.exists("bull:http:1", "bull:sparql:2")
    above, below = (Question("ann", "write:jobs:remove", *job) for job in (("http", "1"), ("sparql", "2")))
    assert authorizer.posts == [[above], [below]] * 2


async def test_the_requests_of_a_post_of_events_are_asked_together(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = {"read:jobs http/1"}
    async with asking_bridge(jobs.url, authorizer) as live:
        requests = [subscribe(["1", "2"], queue="http"), {"event": "subscribe-queue", "data": "http"}]
        url = live.url + "/events?wait=0"
        posted = await anyio.to_thread.run_sync(lambda: _post(url, requests))
    frames = [json.loads(line.removeprefix("data: ")) for line in posted.splitlines() if line.startswith("data: {")]
    assert [frame["event"] for frame in frames[:4]] == ["hello", "error", "ack", "completed"]
    assert frames[2]["data"]["results"][1]["error"] == FORBIDDEN
    assert authorizer.posts == [[*SEES, reads("1"), reads("2"), reads(None)]]


def _post(url: str, body: object) -> str:
    return exchange("POST", url, body, ANN).body.decode()


async def test_without_a_token_nothing_is_asked(redis: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = None
    async with asking_bridge(redis.url, authorizer) as live:
        assert await get(live.url + "/jobs/http/1", Accept="*/*") == (401, "unauthenticated")
        assert await get(live.url + "/jobs/http/1", Authorization="Bearer " + "x" * 7000) == (401, "bad-token")
        async with raw_client(live.url) as client:
            assert await answers(client, ("subscribe-job", JOB)) == [(0, "unauthenticated")]
            assert not authorizer.asked
            frame = await client.ask("authenticate", {"token": "ann"})
            assert frame["data"]["queues"] == ["http", "sparql"]
            assert await answers(client, ("subscribe-job", JOB)) == [(0, "ack")]
    assert authorizer.posts == [SEES, [reads("1")]]


async def test_it_says_who_holds_a_token_and_when_it_expires(redis: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = None
    authorizer.extra = {"sub": "ann of the authorizer", "exp": 4_000_000_000.5}
    async with asking_bridge(redis.url, authorizer) as live:
        status, who = await get(live.url + "/whoami")
        told = {"sub": "ann of the authorizer", "scope": "", "expires": 4_000_000_000_500, "actions": True}
        assert (status, who) == (200, told)
        key = {**ANN, "Idempotency_Key": "k"}
        first = await call("POST", live.url + "/analyze/http", 1, **key)
        second = await call("POST", live.url + "/analyze/http", 1, **{**key, "Authorization": "Bearer another"})
        assert first[1]["jobId"] == second[1]["jobId"]
        authorizer.extra = {"exp": 1}
        assert await get(live.url + "/jobs/http/1") == (401, "expired")
        async with raw_client(live.url, headers=[("Authorization", "Bearer old")]) as client:
            assert await client.receive() == {"event": "expiring", "data": {"expires": 1000}}


# ---- what it answers ----

YES = b'{"checks": [{"allow": true}]}'
WRONG: dict[str, Reply] = {
    "redirect": Reply([YES], 302, {"Location": "/elsewhere"}),
    "created": Reply([YES], 201),
    "error": Reply([YES], 500),
    "no JSON": Reply([b"yes"]),
    "no object": Reply([b"[true]"]),
    "no checks": Reply([b'{"allow": true}']),
    "fewer checks": Reply([b'{"checks": []}']),
    "more checks": Reply([b'{"checks": [{"allow": true}, {"allow": true}]}']),
    "text": Reply([b'{"checks": [{"allow": "true"}]}']),
    "number": Reply([b'{"checks": [{"allow": 1}]}']),
    "null": Reply([b'{"checks": [{"allow": null}]}']),
    "no answer": Reply([b'{"checks": [{}]}']),
    "negative ttl": Reply([b'{"checks": [{"allow": true, "ttl": -1}]}']),
    "long ttl": Reply([b'{"checks": [{"allow": true, "ttl": 3601}]}']),
    "ttl as text": Reply([b'{"checks": [{"allow": true, "ttl": "60"}]}']),
    "ttl as bool": Reply([b'{"checks": [{"allow": true, "ttl": true}]}']),
    "empty sub": Reply([b'{"sub": "", "checks": [{"allow": true}]}']),
    "exp as text": Reply([b'{"exp": "4000000000", "checks": [{"allow": true}]}']),
    "large exp": Reply([b'{"exp": 1e30, "checks": [{"allow": true}]}']),
    "large": Reply([YES, b" " * MAX_BYTES]),
    "not UTF-8": Reply([b'{"sub": "\xff", "checks": [{"allow": true}]}']),
}


async def test_each_wrong_answer_is_a_no(jobs: Redis, authorizer: Authorizer) -> None:
    async with asking_bridge(jobs.url, authorizer) as live:
        for name, reply in WRONG.items():
            authorizer.reply = reply
            assert await get(live.url + "/jobs/http/1") == (403, "forbidden"), name
        authorizer.reply = Reply([b'{"checks": [{"allow": true, "ttl": 3600, "more": 1}], "sub": null}'])
        assert (await get(live.url + "/jobs/http/1"))[0] == 200
    assert {asked.path for asked in authorizer.asked} == {"/"}


async def test_the_metrics_count_the_questions(redis: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = {"read:metrics"}
    async with asking_bridge(redis.url, authorizer) as live:
        authorizer.reply = WRONG["error"]
        await get(live.url + "/jobs/http/1")
        authorizer.reply = None
        _, metrics = await ask(live.url + "/metrics", **ANN)
    counts = [line for line in metrics.splitlines() if line.startswith("jobws_authorizer_total")]
    assert counts == [
        'jobws_authorizer_total{kind="asked"} 2.0',
        'jobws_authorizer_total{kind="failed"} 1.0',
        'jobws_authorizer_total{kind="unavailable"} 0.0',
    ]


async def test_no_answer_in_time_is_a_no(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = None
    async with asking_bridge(jobs.url, authorizer, authorize_seconds=0.2) as live:
        authorizer.open.clear()
        assert await get(live.url + "/jobs/http/1") == (403, "forbidden")
        authorizer.open.set()
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while (await get(live.url + "/jobs/http/1"))[0] != 200:
                pass


async def test_an_authorizer_that_is_gone_allows_nothing(jobs: Redis) -> None:
    with Authorizer() as authorizer:
        pass
    async with asking_bridge(jobs.url, authorizer) as live:
        assert await get(live.url + "/jobs/http/1") == (403, "forbidden")
        async with raw_client(live.url, headers=HEADERS) as client:
            assert await answers(client, ("subscribe-job", JOB)) == [(0, "forbidden")]


async def test_an_answer_is_kept_for_its_ttl_also_for_other_connections(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed, authorizer.ttl = {"read:jobs http/1"}, 3600
    async with asking_bridge(jobs.url, authorizer) as live:
        for _ in range(3):
            assert (await get(live.url + "/jobs/http/1"))[0] == 200
            async with raw_client(live.url, headers=HEADERS) as client:
                assert await answers(client, ("subscribe-job", JOB)) == [(0, "ack")]
        assert await get(live.url + "/jobs/http/1", Authorization="Bearer bob") != (403, "forbidden")
    assert authorizer.posts == [[reads("1")], SEES, [reads("1", token="bob")]]


async def test_no_answer_is_kept_longer_than_its_token(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed, authorizer.ttl = {"read:jobs http/1"}, 3600
    async with asking_bridge(jobs.url, authorizer) as live:
        expires = time.time() + 5
        authorizer.extra = {"exp": expires}
        assert (await get(live.url + "/jobs/http/1"))[0] == 200
        authorizer.extra = {"exp": expires + 3600}
        await eventually(lambda: time.time() > expires)
        assert (await get(live.url + "/jobs/http/1"))[0] == 200
    assert len(authorizer.asked) == 2


async def test_refusals_are_the_same_whether_there_is_a_job(jobs: Redis, authorizer: Authorizer) -> None:
    requests = ("/jobs/http/ID", "/jobs/ID", "/jobs/ID?wait=1", "/jobs/http/ID/logs", "/events?job=ID&queue=http")
    async with asking_bridge(jobs.url, authorizer) as live:
        with no_command_names(jobs, "1", "9"):
            for path in requests:
                found = [await ask(live.url + path.replace("ID", job_id), **ANN) for job_id in "19"]
                assert found[0] == found[1]
                assert found[0][0] == 403
            async with raw_client(live.url, headers=HEADERS) as client:
                for data in ("ID", {"jobId": "ID", "queue": "http"}, ["ID"]):
                    sent = [json.loads(json.dumps(data).replace("ID", job_id)) for job_id in "19"]
                    here, gone = [await client.ask("subscribe-job", each) for each in sent]
                    assert here == gone
                    assert "forbidden" in json.dumps(here)


async def test_what_a_client_is_told_is_of_the_queues_that_are_allowed(jobs: Redis, authorizer: Authorizer) -> None:
    jobs.add_job("sparql", "1", state="completed", returnvalue="43", finishedOn=2)
    authorizer.allowed = {"read:queues http", "read:jobs http/1"}
    async with asking_bridge(jobs.url, authorizer) as live:
        assert [each["queue"] for each in (await get(live.url + "/queues"))[1]["queues"]] == ["http"]
        assert [each["queue"] for each in (await get(live.url + "/jobs/1"))[1]["jobs"]] == ["http"]
        async with raw_client(live.url, headers=HEADERS, hello=False) as client:
            hello = (await client.receive())["data"]
            assert (hello["queues"], hello["queueCount"]) == (["http"], 1)
            ack = (await client.ask("subscribe-job", {"jobId": "1", "after": {"http": "0-0", "sparql": "x"}}))["data"]
            assert [each["queue"] for each in ack["jobs"]] == ["http"]
            assert ack["after"].keys() == {"http"}


async def test_lines_of_the_log_are_those_of_queues_that_are_allowed(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = {"read:logs http"}
    for queue in ("http", "sparql", None):
        jobs.add_log(f"of {queue}", **({} if queue is None else {"queue": queue}))
    async with (
        asking_bridge(jobs.url, authorizer) as live,
        raw_client(live.url, headers=HEADERS, path="/logs") as client,
    ):
        assert await answers(client, ("subscribe-logs", {"queue": "sparql"})) == [(0, "forbidden")]
        assert await answers(client, ("subscribe-logs", {"tail": 9})) == [(0, "ack")]
        jobs.add_log("secret", queue="sparql")
        jobs.add_log("the last", queue="http")
        lines = [(await client.receive())["data"]["message"] for _ in range(2)]
    assert lines == ["of http", "the last"]
