"""A right to a queue is no right to a queue whose keys in Redis begin with those of the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.flows import add_child, end_child, flow_bridge
from tests.support.http import call
from tests.support.signing import SECRET
from tests.support.tokens import bearer

if TYPE_CHECKING:
    from tests.support.redis import Redis

UNKNOWN = "unknown-job"
NOT_REMOVED = "the keys of another queue begin with those of the job, so they would be removed"
RIGHTS = bearer("read:jobs:http write:jobs:http:retry write:jobs:http:promote write:jobs:http:remove")
# Whether the bridge serves the nested queue. For Redis, a queue with a longer prefix and one with a colon in its name
# are the same.
SERVED = pytest.mark.parametrize(
    "queues", [("http",), ("http", "mail=bull:http:mail"), ("*",)], ids=["not served", "served", "discovered"]
)


def nest(redis: Redis, job_id: str = "8") -> None:
    """Add a queue whose keys begin with `bull:http:mail:`, with one failed job."""
    for name in ("http", "http:mail"):
        redis.client.hset(f"bull:{name}:meta", "opts.maxLenEvents", "10000")
    redis.add_job("http:mail", job_id, state="failed", failedReason="secret", progress='"secret"', finishedOn=5)
    redis.client.rpush(f"bull:http:mail:{job_id}:logs", "secret")


@SERVED
@pytest.mark.parametrize("job_id", ["8", "a:8", ":8"])
async def test_no_request_reaches_a_job_of_a_nested_queue(redis: Redis, queues: Any, job_id: str) -> None:
    nest(redis, job_id)
    before = redis.client.dump(f"bull:http:mail:{job_id}")
    async with live_bridge(redis.url, jwt_secret=SECRET.decode(), queues=queues) as live:
        for method, path in [
            ("GET", f"/jobs/http/mail:{job_id}"),
            ("GET", f"/jobs/http/mail:{job_id}/logs"),
            ("GET", f"/job-logs?queue=http&jobId=mail:{job_id}&start=-5"),
            ("POST", f"/jobs/http/mail:{job_id}/retry"),
            ("POST", f"/jobs/http/mail:{job_id}/promote"),
            ("DELETE", f"/jobs/http/mail:{job_id}"),
            ("DELETE", f"/jobs/http/mail:{job_id}?children=1"),
        ]:
            status, body = await call(method, live.url + path, **RIGHTS)
            assert (status, body["code"]) == (404, UNKNOWN), path
        status, body = await call("GET", live.url + f"/jobs/mail:{job_id}", **RIGHTS)
        assert (status, body.get("jobs", [])) in [(200, []), (404, [])]
    assert redis.client.dump(f"bull:http:mail:{job_id}") == before
    assert redis.client.lrange(f"bull:http:mail:{job_id}:logs", 0, -1) == [b"secret"]


@SERVED
async def test_a_subscription_gets_nothing_of_a_nested_queue(redis: Redis, queues: Any) -> None:
    """Even if an event of the queue itself names such an id."""
    nest(redis)
    async with (
        live_bridge(redis.url, jwt_secret=SECRET.decode(), queues=queues) as live,
        raw_client(live.url, headers=list(RIGHTS.items())) as client,
    ):
        ack = await client.ask("subscribe-job", {"jobId": "mail:8", "queue": "http", "logs": True})
        assert ack["data"]["jobs"] == []
        redis.add_event("http", "completed", "mail:8", returnvalue="1")
        assert (await client.receive())["event"] == "completed"  # lines of the job's log would come before it


async def test_whoever_may_read_the_nested_queue_reads_its_job(redis: Redis) -> None:
    nest(redis)
    async with live_bridge(redis.url, jwt_secret=SECRET.decode(), queues=("*",)) as live:
        status, body = await call("GET", live.url + "/jobs/http%3Amail/8", **bearer("read:jobs:http%3Amail"))
    assert (status, body["failedReason"]) == (200, "secret")


@pytest.mark.parametrize("job_id", ["repeat:daily:1795435729000", "a:8", ":", "mail"])
async def test_an_id_with_colons_is_no_nested_queue_by_itself(redis: Redis, job_id: str) -> None:
    nest(redis)
    redis.client.hset("bull:http:repeat:meta", "name", "a job scheduler with the id `meta`")
    redis.client.hset("bull:http:a", "name", "a job")
    redis.add_job("http", job_id, state="completed", returnvalue='"mine"', finishedOn=5)
    redis.client.rpush(f"bull:http:{job_id}:logs", "my line")
    async with live_bridge(redis.url, jwt_secret=SECRET.decode(), queues=("http",)) as live:
        status, body = await call("GET", live.url + f"/jobs?queue=http&jobId={job_id}", **RIGHTS)
        assert (status, body["returnvalue"]) == (200, "mine")
        status, body = await call("GET", live.url + f"/job-logs?queue=http&jobId={job_id}", **RIGHTS)
        assert (status, body["lines"]) == (200, ["my line"])


async def test_no_job_is_added_or_removed_whose_keys_are_those_of_a_nested_queue(redis: Redis) -> None:
    """With the job `mail`, BullMQ would remove `bull:http:mail:failed`, the failed jobs of the nested queue."""
    nest(redis)
    redis.add_job("http", "mail")
    rights = bearer("read:jobs:http write:jobs:http write:jobs:http:remove")
    async with live_bridge(redis.url, jwt_secret=SECRET.decode(), queues=("http",)) as live:
        status, body = await call("POST", live.url + "/jobs/http", {"data": {}, "jobId": "mail"}, **rights)
        assert (status, body["code"]) == (400, "bad-job-id")
        assert body["detail"] == "`jobId`: the keys of another queue begin with those of a job of this id"
        for query in ("", "?children=1"):
            status, body = await call("DELETE", live.url + "/jobs/http/mail" + query, **rights)
            assert (status, body["code"]) == (409, "bad-state-for-action")
            assert body["detail"] == NOT_REMOVED
        add_child(redis, ("http", "top"), "http", "mail")
        redis.add_job("http", "top", state="completed")
        status, _ = await call("DELETE", live.url + "/jobs/http/top?children=1", **rights)
        assert status == 503, "Redis finds that the keys are no lists of children"
    assert redis.client.zrange("bull:http:mail:failed", 0, -1) == [b"8"]
    assert redis.client.exists("bull:http:mail", "bull:http:top") == 2


@SERVED
async def test_a_flow_has_no_jobs_of_a_nested_queue_for_who_may_not_read_it(redis: Redis, queues: Any) -> None:
    nest(redis)
    add_child(redis, ("http", "top"), "http:mail", "8")
    add_child(redis, ("http:mail", "8"), "http", "below")
    redis.add_job("http", "top", state="waiting-children")
    rights = bearer("read:jobs:http")
    async with (
        flow_bridge(redis.url, jwt_secret=SECRET.decode(), queues=queues) as live,
        raw_client(live.url, headers=list(rights.items())) as client,
    ):
        status, body = await call("GET", live.url + "/jobs/http/top?children=1", **rights)
        assert (status, body["tree"]) == (200, {"done": 0, "failed": 0, "total": 0})
        await client.ask("subscribe-job", {"jobId": "top", "queue": "http", "children": True, "events": ["*"]})
        add_child(redis, ("http", "top"), "http", "own")
        frames = await client.until("added")
        end_child(redis, ("http:mail", "8"), "http", "below")
        end_child(redis, ("http", "top"), "http", "own")
        frames += await client.until("completed")
    assert {each["data"]["jobId"] for each in frames} == {"own"}
