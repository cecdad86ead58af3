"""All failed jobs of a queue are retried, after the request for it was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from jobws.bullmq.actions import BATCH
from tests.support import eventually
from tests.support.acting import acting_bridge, events, together
from tests.support.client import raw_client
from tests.support.http import call

if TYPE_CHECKING:
    import pytest

    from jobws.bullmq.keys import Queue
    from tests.support.redis import Redis


async def test_all_failed_jobs_are_retried(redis: Redis) -> None:
    """Also those of a worker whose clock is ahead, and more than one script takes."""
    count = 2 * BATCH + 1
    redis.client.zadd("bull:http:failed", {str(number): 4e12 + number for number in range(count)})
    async with acting_bridge(redis.url) as live:
        answers = await together("POST", live.url + "/queues/http/retry")
        assert (202, {"queue": "http", "failed": count}) in answers
        await eventually(lambda: redis.client.llen("bull:http:wait") == count)
        assert await call("POST", live.url + "/queues/http/retry") == (202, {"queue": "http", "failed": 0})
    assert len(events(redis, "http")) == count


async def test_how_far_it_is_is_told_by_the_numbers_of_the_queue(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    redis.make_queue("http")
    redis.client.zadd("bull:http:failed", {str(number): number + 1 for number in range(2 * BATCH)})
    async with acting_bridge(redis.url, queue_stats_seconds=0.02) as live, raw_client(live.url) as client:
        actions, may_go_on = live.bridge.service.actions, anyio.Event()
        retry_failed = actions.retry_failed

        async def stop_after_one(queue: Queue, left: int) -> bool:
            if left == BATCH:
                await may_go_on.wait()
            return await retry_failed(queue, left)

        async def failed_and_waiting(*expected: int) -> None:
            numbers: tuple[int, ...] = ()
            while numbers != expected:
                counts = (await client.until("queue-stats"))[-1]["data"]["counts"]
                numbers = counts["failed"], counts["waiting"]

        monkeypatch.setattr(actions, "retry_failed", stop_after_one)
        await client.ask("subscribe-queue", {"queue": "http", "events": ["queue-stats"]})
        await failed_and_waiting(2 * BATCH, 0)
        await call("POST", live.url + "/queues/http/retry")
        await failed_and_waiting(BATCH, BATCH)
        may_go_on.set()
        await failed_and_waiting(0, 2 * BATCH)


async def test_a_job_that_fails_again_meanwhile_is_not_retried_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 2 * BATCH + 1
    redis.client.zadd("bull:http:failed", {str(number): number + 1 for number in range(count)})
    async with acting_bridge(redis.url) as live:
        actions = live.bridge.service.actions
        retry_failed, calls = actions.retry_failed, []

        async def fail_again(*args: Any) -> bool:
            """Let as many jobs fail as are retried."""
            calls.append(args)
            more = await retry_failed(*args)
            redis.client.zadd("bull:http:failed", {f"{len(calls)}-{number}": 1e13 for number in range(BATCH)})
            return more

        monkeypatch.setattr(actions, "retry_failed", fail_again)
        assert (await call("POST", live.url + "/queues/http/retry"))[0] == 202
        await eventually(lambda: not live.bridge.service.failed_jobs._retried)
    assert [left for _, left in calls] == [count, count - BATCH, 1]
    assert redis.client.zcard("bull:http:failed") == 3 * BATCH
    assert redis.client.llen("bull:http:wait") == count


async def test_a_bridge_that_ends_says_how_many_jobs_it_retried(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    redis.client.zadd("bull:http:failed", {str(number): number + 1 for number in range(2 * BATCH)})
    async with acting_bridge(redis.url) as live:
        actions, second = live.bridge.service.actions, anyio.Event()
        retry_failed = actions.retry_failed

        async def stop_after_one(queue: Queue, left: int) -> bool:
            """Redis takes the first batch, and no second one."""
            if left == BATCH:
                redis.client.client_pause(60_000, all=False)
                second.set()
            return await retry_failed(queue, left)

        monkeypatch.setattr(actions, "retry_failed", stop_after_one)
        assert (await call("POST", live.url + "/queues/http/retry"))[0] == 202
        await second.wait()
    redis.client.client_unpause()
    assert (
        'queue "http": about 1000 of 2000 failed jobs were retried; ask again for the others: the bridge ended'
    ) in caplog.text


async def test_a_queue_is_retried_once_at_a_time(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    redis.client.zadd("bull:http:failed", {"1": 1})
    redis.client.zadd("bull:sparql:failed", {"1": 1})
    async with acting_bridge(redis.url) as live:
        actions, may_go_on, calls = live.bridge.service.actions, anyio.Event(), []
        retry_failed = actions.retry_failed

        async def retry(queue: Queue, left: int) -> bool:
            calls.append(queue.label)
            await may_go_on.wait()
            return await retry_failed(queue, left)

        monkeypatch.setattr(actions, "retry_failed", retry)
        for queue in ("http", "http", "sparql"):
            answer = await call("POST", f"{live.url}/queues/{queue}/retry")
            assert answer == (202, {"queue": queue, "failed": 1})
        may_go_on.set()
        await eventually(lambda: not live.bridge.service.failed_jobs._retried)
    assert calls == ["http", "sparql"]
