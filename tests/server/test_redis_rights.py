"""The ACL rules in docs/deployment.md: a bridge whose Redis user has exactly these rights can do everything."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from jobws.bullmq.reading.schedule import Pauses
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import ask, call
from tests.support.redis_users import user
from tests.support.watching import subscribe

if TYPE_CHECKING:
    from tests.support.redis import Redis

# Reads block for an hour, so what arrives shows that the bridge may end a blocked read.
PATIENT = Pauses(lazy_seconds=3600, block_seconds=3600, answer_seconds=7200)
bridge = partial(live_bridge, queues=("*",), discover_seconds=0.05, pauses=PATIENT)


async def test_a_user_with_the_rights_to_read_reads_all(redis: Redis) -> None:
    for number in range(17):  # more queues than readers
        redis.make_queue(f"q{number}")
    with user(redis, "on") as url:
        async with bridge(url) as live, raw_client(live.url) as client:
            await eventually(lambda: live.bridge.queues._unblocker.works)
            redis.make_queue("q17")
            await eventually(lambda: "q17" in live.bridge.queues.by_label)
            redis.add_job("q17", "1", state="active")
            ack = await subscribe(client, {"jobId": "1", "logs": True})
            assert ack["jobs"][0]["state"] == "active"
            sent = redis.add_event("q17", "completed", "1", returnvalue="1")
            assert (await client.receive())["id"] == sent
            redis.client.sadd("bull:q17:1:dependencies", "bull:q16:2")
            await client.send("subscribe-job", {"jobId": "1", "queue": "q17", "children": True, "sub": 5})
            redis.add_event("q16", "completed", "2", returnvalue="1")
            assert (await client.until("completed", jobId="2"))[-1]["parent"] == {"queue": "q17", "jobId": "1"}
            for path in ("/queues", "/queues/q17/jobs?state=active", "/jobs/q17/1", "/jobs/q17/1/logs", "/readyz"):
                status, body = await ask(live.url + path)
                assert status == 200, body


@pytest.mark.parametrize("opts", [{}, {"lifo": True}, {"delay": 1}, {"priority": 1}, {"attempts": 2, "keepLogs": 1}])
async def test_a_user_with_the_rights_to_add_jobs_adds_them(redis: Redis, opts: dict[str, Any]) -> None:
    redis.make_queue("http")
    redis.client.hset("bull:http:meta", "version", "bullmq")
    redis.client.hdel("bull:http:meta", "opts.maxLenEvents")  # BullMQ writes it if it is missing
    with user(redis, "on", "+evalsha") as url:
        async with bridge(url) as live, raw_client(live.url, path="/logs") as logs:
            await logs.ask("subscribe-logs", {})
            for expected in (False, True):
                job = {"jobId": "job", "data": 1, "opts": opts}
                status, answer = await call("POST", live.url + "/jobs/http", job)
                assert (status, answer.get("existing")) == (202, expected), answer
            status, _ = await call("POST", live.url + "/logs", {"level": "info", "source": "me", "message": "m"})
            assert status < 300
            assert (await logs.receive())["data"]["message"] == "m"


async def test_a_user_with_the_rights_to_act_acts(redis: Redis) -> None:
    redis.client.flushall()
    for queue in ("http", "sparql"):
        redis.make_queue(queue)
    with user(redis, "on", "+evalsha", "+watch") as url:
        async with bridge(url, allow_actions=True) as live:
            for priority in (0, 5):
                redis.add_job("http", "1", state="failed", priority=priority, parentKey="bull:sparql:top")
                redis.add_job("http", "2", state="delayed", priority=priority)
                redis.add_job("sparql", "top", state="waiting-children", deid="d")
                redis.client.sadd("bull:sparql:top:dependencies", "bull:http:2", "bull:http:1")
                redis.client.hset("bull:sparql:top:failed", "bull:http:1", "no")
                redis.add_job("http", "3", state="failed")
                for method, path in (
                    ("POST", "/queues/http/pause"),
                    ("POST", "/jobs/http/1/retry"),
                    ("POST", "/jobs/http/2/promote"),
                    ("DELETE", "/jobs/http/1"),
                    ("DELETE", "/jobs/sparql/top?children=1"),
                    ("POST", "/queues/http/retry"),
                    ("POST", "/queues/http/resume"),
                ):
                    status, answer = await call(method, live.url + path)
                    assert status < 300, (path, answer)
                    redis.client.rpush("bull:http:paused", "as BullMQ 5 kept the jobs of a paused queue")
                    redis.client.lpush("bull:http:wait", "0:as BullMQ 4 marked that a job is delayed")
            await eventually(lambda: redis.client.zcard("bull:http:failed") == 0)
