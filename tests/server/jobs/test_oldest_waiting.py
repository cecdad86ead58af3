"""For how long the job has been waiting that waits for longest, among the numbers of a queue."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from jobws.bullmq.overview import NEXT
from tests.support.bridge import live_bridge
from tests.support.http import call

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def oldest(url: str) -> float | None:
    _, body = await call("GET", url + "/queues")
    found: float | None = body["queues"][0]["oldestWaitingSeconds"]
    return found


async def test_a_job_waits_since_its_event(redis: Redis) -> None:
    redis.make_queue("http")
    seconds, _ = redis.client.time()
    redis.add_entry("http", {b"event": b"waiting", b"jobId": b"old"}, stream_id=f"{seconds - 100}000-0")
    redis.add_entry("http", {b"event": b"waiting", b"jobId": b"new"}, stream_id=f"{seconds - 50}000-0")
    async with live_bridge(redis.url, queues=("http",)) as live:
        now = partial(oldest, live.url)
        assert await now() is None
        redis.client.rpush("bull:http:wait", "new", "old")
        assert 100 <= (await now() or 0) < 160
        redis.client.lpush("bull:http:wait", "late")  # a job that workers take in the other order
        redis.client.hset("bull:http:late", "timestamp", (seconds - 1000) * 1000)
        assert 1000 <= (await now() or 0) < 1060
        redis.client.delete("bull:http:wait")
        redis.client.rpush("bull:http:paused", "new")  # as BullMQ 5 kept the jobs of a paused queue
        assert 50 <= (await now() or 0) < 110
        _, body = await call("GET", live.url + "/queues")
        assert body["queues"][0]["counts"]["waiting"] == 1
        redis.client.hset("bull:http:ahead", "timestamp", (seconds + 1000) * 1000)
        redis.client.lset("bull:http:paused", 0, "ahead")
        assert await now() == 0
        redis.client.lset("bull:http:paused", 0, "none")
        assert await now() is None


async def test_a_job_waits_behind_those_that_were_put_back(redis: Redis) -> None:
    redis.make_queue("http")
    seconds, _ = redis.client.time()
    async with live_bridge(redis.url, queues=("http",)) as live:
        for name in ("wait", "paused"):
            redis.add_job("http", "old", timestamp=(seconds - 100) * 1000, state="active")
            redis.client.rpush(f"bull:http:{name}", "late", "old")
            for number in range(1, NEXT):
                redis.add_job("http", f"back-{number}", timestamp=seconds * 1000, state="active")
                redis.client.rpush(f"bull:http:{name}", f"back-{number}")
            assert 100 <= (await oldest(live.url) or 0) < 160
            redis.client.delete(f"bull:http:{name}")


async def test_a_prioritized_job_waits_too(redis: Redis) -> None:
    redis.make_queue("http")
    seconds, _ = redis.client.time()
    redis.add_job("http", "urgent", state="prioritized", timestamp=(seconds - 50) * 1000)
    redis.add_job("http", "other", state="prioritized", timestamp=(seconds - 100) * 1000)
    redis.client.zadd("bull:http:prioritized", {"urgent": 1, "other": 2})
    async with live_bridge(redis.url, queues=("http",)) as live:
        assert 100 <= (await oldest(live.url) or 0) < 160
