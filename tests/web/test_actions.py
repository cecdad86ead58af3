"""The adapter acts on jobs and queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.adapter import Rejected, adapter
from tests.support.bridge import live_bridge
from tests.support.signing import SECRET
from tests.support.tokens import jwt

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_it_acts_on_jobs_and_queues(redis: Redis) -> None:
    redis.add_job("http", "a/b", state="failed")
    redis.add_job("http", "child")
    redis.client.sadd("bull:http:a/b:dependencies", "bull:http:child")
    job = {"queue": "http", "jobId": "a/b"}
    async with adapter() as node, live_bridge(redis.url, queues=("http",), allow_actions=True) as live:
        client = await node.io(live.url)
        assert await client.call("act", "retry", job) == job
        with pytest.raises(Rejected, match="JobwsError: the job has not failed, so it cannot be retried"):
            await client.call("act", "retry", job)
        assert await client.call("act", "retry-failed", {"queue": "http"}) == {"queue": "http", "failed": 0}
        assert await client.call("act", "pause", {"queue": "http"}) == {"queue": "http"}
        assert await client.call("act", "resume", {"queue": "http"}) == {"queue": "http"}
        delayed = {"queue": "http", "jobId": "later"}
        redis.add_job("http", "later", state="delayed")
        assert await client.call("act", "promote", delayed) == delayed
        assert await client.call("act", "remove", {**job, "children": False}) == job
        assert redis.client.exists("bull:http:child")
        redis.add_job("http", "a/b")
        redis.client.sadd("bull:http:a/b:dependencies", "bull:http:child")
        assert await client.call("act", "remove", {**job, "children": True}) == job
        assert not redis.client.exists("bull:http:child")
        with pytest.raises(Rejected, match="JobwsError: no job of that id in queue"):
            await client.call("act", "remove", job)
        assert await client.call("lookup", "a/b", {"queue": "http"}) == []
        assert await client.call("lookup", "a/b", {"queue": "none"}) == []


async def test_its_token_says_what_it_may(redis: Redis) -> None:
    redis.add_job("http", "1", state="failed")
    async with adapter() as node, live_bridge(redis.url, queues=("http",), jwt_secret=SECRET.decode()) as live:
        client = await node.io(live.url, token=jwt("write:jobs:http/1:retry"))
        assert (await client.call("act", "retry", {"queue": "http", "jobId": "1"}))["jobId"] == "1"
        with pytest.raises(Rejected, match="JobwsError: the token does not allow this"):
            await client.call("act", "remove", {"queue": "http", "jobId": "1"})
