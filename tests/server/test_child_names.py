"""Which child of a job has failed is told only to those who may follow the job's flow, or read all jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.flows import fail_of_child
from tests.support.http import call
from tests.support.signing import SECRET
from tests.support.tokens import bearer

if TYPE_CHECKING:
    from tests.support.client import RawClient
    from tests.support.redis import Redis

KEYS: Any = {"jwt_secret": SECRET.decode(), "queues": ("http", "sparql"), "show_stacktraces": ("http",)}
CHILD = "bull:sparql:secret"
SCOPES = [
    *(("read:jobs:http", False), ("read:jobs:http/7 read:jobs:sparql/secret", False)),
    *(("read:jobs:http/7:children read:jobs:http", True), ("read:jobs:*", True), ("admin", True)),
]


async def reason(client: RawClient) -> object:
    return (await client.until("failed"))[-1]["data"]["failedReason"]


@pytest.mark.parametrize(("scope", "told"), SCOPES)
async def test_every_way_to_a_reason_tells_the_same(redis: Redis, scope: str, told: bool) -> None:
    expected = f"child {CHILD} failed" if told else "child failed"
    headers = bearer(scope)
    job = {"jobId": "7", "queue": "http"}
    async with (
        live_bridge(redis.url, **KEYS) as live,
        raw_client(live.url, headers=list(headers.items())) as client,
        raw_client(live.url, headers=list(bearer("admin").items())) as other,
    ):
        await other.ask("subscribe-job", job)
        await client.ask("subscribe-job", job)
        whole = (await client.ask("subscribe-queue", {"queue": "http", "sub": 1}))["event"] == "ack"
        sent = fail_of_child(redis, "http", "7", CHILD)
        assert {await reason(client) for _ in range(1 + whole)} == {expected}
        assert await reason(other) == f"child {CHILD} failed"
        await client.ask("subscribe-job", {**job, "sub": 2})  # read back
        assert await reason(client) == expected
        if whole:
            await client.ask("subscribe-queue", {"queue": "http", "sub": 3, "after": "0-0"})
            assert await reason(client) == expected
        answers = [
            await call("GET", live.url + path, **headers)
            for path in ("/jobs/http/7", "/jobs/http/7?wait=1", f"/jobs?queue=http&jobId=7&event={sent}")
        ]
        assert [body["failedReason"] for _, body in answers] == [expected] * 3
        assert ("stacktrace" in answers[0][1]) is told
        _, body = await call("GET", live.url + "/jobs/7", **headers)
        assert [each["failedReason"] for each in body["jobs"]] == [expected]
        redis.client.delete("bull:http:events")
        _, body = await call("GET", live.url + f"/jobs?queue=http&jobId=7&event={sent}", **headers)
        assert body["failedReason"] == expected


@pytest.mark.parametrize(("scope", "told"), SCOPES)
async def test_an_outcome_that_only_the_hash_has(redis: Redis, scope: str, told: bool) -> None:
    fail_of_child(redis, "http", "7", CHILD)
    redis.client.delete("bull:http:events")
    async with (
        live_bridge(redis.url, **KEYS) as live,
        raw_client(live.url, headers=list(bearer(scope).items())) as client,
    ):
        await client.ask("subscribe-job", {"jobId": "7", "queue": "http"})
        assert await reason(client) == (f"child {CHILD} failed" if told else "child failed")


@pytest.mark.parametrize(("scope", "told"), SCOPES)
async def test_a_stack_trace_of_an_attempt_before_a_retry(redis: Redis, scope: str, told: bool) -> None:
    fail_of_child(redis, "http", "7", CHILD)
    traces = f'["Error: child {CHILD} failed","Error: of its own"]'
    redis.client.hset("bull:http:7", mapping={"failedReason": "of its own", "stacktrace": traces})
    async with live_bridge(redis.url, **KEYS) as live:
        _, failed = await call("GET", live.url + "/jobs/http/7", **bearer(scope))
        redis.client.zrem("bull:http:failed", "7")
        redis.client.lpush("bull:http:wait", "7")
        _, waiting = await call("GET", live.url + "/jobs/http/7", **bearer(scope))
    assert (failed["failedReason"], "stacktrace" in failed) == ("of its own", told)
    assert (waiting["state"], "stacktrace" in waiting) == ("waiting", False)
