"""The example client of protocol.md, unchanged, against a real bridge: it must do what its readers rely on."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from jobws.bullmq.reading.schedule import USUAL_PAUSES
from tests.conformance.walks import end, vanish, walker
from tests.support import eventually
from tests.support.bridge import BridgeProcess, quick_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.walks import Walker
    from tests.support.bridge import Live
    from tests.support.redis import Redis

QUEUES = ("http", "sparql", "quiet")
# How long a bridge on a busy machine takes until it reads ten thousand queues.
READ_SECONDS = 240


@asynccontextmanager
async def walking(redis: Redis, **settings: Any) -> AsyncIterator[tuple[Walker, Live]]:
    for queue in QUEUES:
        redis.make_queue(queue)
    redis.client.hset("bull:quiet:meta", "opts.maxLenEvents", "0")
    settings = {"queues": QUEUES, "sweep_seconds": 1, **settings}
    async with quick_bridge(redis.url, **settings) as live, walker(live.url) as walks:
        yield walks, live


async def subscribed(live: Live, job_id: str, queue: str = "http", count: int = 1) -> None:
    await eventually(lambda: len(live.bridge.fanout.rooms.of_job(queue, job_id)) == count)


async def settled(walks: Walker, redis: Redis, live: Live, queue: str = "http") -> None:
    """Wait until the client has got everything before: it watches a job from now on, and gets its outcome."""
    name = f"last-{len(walks.received)}"
    redis.add_job(queue, name, state="active")
    await walks.watch(name, queue=queue)
    await subscribed(live, name, queue)
    end(redis, queue, name, 0)
    await walks.until(name, 1)


async def come_back(walks: Walker, redis: Redis, live: Live) -> None:
    """Cut the connection, and wait until the client has subscribed to everything again."""
    before = set(live.bridge.clients.connected)
    await walks.cut()
    await eventually(lambda: bool(live.bridge.clients.connected) and before.isdisjoint(live.bridge.clients.connected))
    await settled(walks, redis, live)


async def test_a_job_that_is_unknown_has_ended_or_ends_now(redis: Redis) -> None:
    async with walking(redis) as (walks, live):
        await walks.watch("nope", queue="http")
        assert await walks.until("nope", 1) == ["unknown http"]
        redis.add_job("http", "late", state="active")
        end(redis, "http", "late", 42)
        await walks.watch("late", queue="http")
        await walks.watch("any", "late")
        assert await walks.until("late", 1) == await walks.until("any", 1) == ["completed http 42 replayed"]
        redis.add_job("http", "now", state="active")
        await walks.watch("now", queue="http")
        end(redis, "http", "now", 1)
        assert (await walks.until("now", 1))[0].startswith("completed http 1")
        await settled(walks, redis, live)
        assert [len(walks.received[name]) for name in ("nope", "late", "any", "now")] == [1, 1, 1, 1]


async def test_two_subscriptions_to_a_job_bring_each_event_twice(redis: Redis) -> None:
    async with walking(redis) as (walks, live):
        redis.add_job("http", "1", state="active")
        await walks.watch("named", "1", queue="http", events=["*"])
        await walks.watch("any", "1", events=["progress"])
        await subscribed(live, "1", count=2)
        redis.add_event("http", "progress", "1", data="1")
        end(redis, "http", "1", 2)
        for name in ("named", "any"):
            assert await walks.until(name, 2) == ["progress http 1", "completed http 2"]


async def test_what_was_missed_comes_once_and_then_what_happens(redis: Redis) -> None:
    """Also if the job was retried or added again. After two further returns, nothing more comes."""
    async with walking(redis) as (walks, live):
        redis.add_job("http", "1", state="active")
        received = await walks.watch("1", queue="http", events=["*"], stays=True)
        await subscribed(live, "1")
        redis.add_event("http", "progress", "1", data="1")
        await walks.until("1", 1)
        await walks.cut()
        redis.add_event("http", "progress", "1", data="2")
        end(redis, "http", "1", 3)
        await walks.until("1", 3)
        redis.add_event("http", "waiting", "1", prev="completed")
        redis.add_event("http", "completed", "1", returnvalue="4", prev="active")
        await walks.until("1", 5)
        for _ in range(2):
            await come_back(walks, redis, live)
        assert [each.removesuffix(" replayed") for each in received] == [
            *("progress http 1", "progress http 2", "completed http 3", "waiting http", "completed http 4")
        ]
        assert received[1].endswith("replayed")


async def test_an_id_of_two_queues(redis: Redis) -> None:
    async with walking(redis) as (walks, live):
        for queue in ("http", "sparql"):
            redis.add_job(queue, "1", state="active")
        received = await walks.watch("1", events=["progress"], stays=True)
        await subscribed(live, "1")
        for queue, value in (("http", 1), ("sparql", 2)):
            redis.add_event(queue, "progress", "1", data=value)
        await walks.until("1", 2)
        await walks.cut()
        for queue, value in (("sparql", 3), ("http", 4)):
            redis.add_event(queue, "progress", "1", data=value)
        await walks.until("1", 4)
        await come_back(walks, redis, live)
        assert sorted(each.removesuffix(" replayed") for each in received) == [
            *("progress http 1", "progress http 4", "progress sparql 2", "progress sparql 3")
        ]


@pytest.mark.parametrize("away", [True, False])
async def test_a_job_that_vanishes_is_removed(redis: Redis, away: bool) -> None:
    async with walking(redis) as (walks, live):
        redis.add_job("http", "1", state="active")
        await walks.watch("1", queue="http")
        await subscribed(live, "1")
        if away:
            await walks.cut()
        vanish(redis, "http", "1")
        assert (await walks.until("1", 1))[0].removesuffix(" replayed") == "removed http"
        await settled(walks, redis, live)
        assert len(walks.received["1"]) == 1


async def test_a_job_that_vanishes_from_one_of_two_queues_is_removed_there(redis: Redis) -> None:
    async with walking(redis) as (walks, live):
        for queue in ("http", "sparql"):
            redis.add_job(queue, "1", state="active")
        received = await walks.watch("1", stays=True)
        await subscribed(live, "1")
        await settled(walks, redis, live)
        vanish(redis, "sparql", "1")
        assert await walks.until("1", 1) == ["removed sparql replayed"]
        await come_back(walks, redis, live)
        end(redis, "http", "1", 1)
        await walks.until("1", 2)
        await come_back(walks, redis, live)
        assert received == ["removed sparql replayed", "completed http 1"]


async def test_a_queue_without_events(redis: Redis) -> None:
    async with walking(redis) as (walks, live):
        redis.add_job("quiet", "1", state="active")
        received = await walks.watch("1", queue="quiet", stays=True)
        await subscribed(live, "1", "quiet")
        end(redis, "quiet", "1", 5, silent=True)
        assert await walks.until("1", 1) == ["completed quiet 5 replayed"]
        await come_back(walks, redis, live)
        assert len(received) == 1


async def test_log_lines(redis: Redis) -> None:
    async with walking(redis) as (walks, _):
        redis.add_job("http", "1", state="active")
        redis.client.rpush("bull:http:1:logs", "one", "two")
        await walks.watch("1", queue="http", logs=True)
        await walks.until("1", 1)
        redis.client.rpush("bull:http:1:logs", "three")
        await walks.until("1", 2)
        await walks.cut()
        redis.client.rpush("bull:http:1:logs", "four")
        end(redis, "http", "1", 6)
        assert await walks.until("1", 4) == [
            *("job-log http ['one', 'two']", "job-log http ['three']", "job-log http ['four']"),
            "completed http 6 replayed",
        ]


async def test_a_hole_that_was_never_read(redis: Redis) -> None:
    """The outcome follows the gap. A subscription that already has its outcome gets the gap, too."""
    # Otherwise, in one run of twenty, a sweep would find the outcome before the gap is noticed.
    async with walking(redis, sweep_seconds=3600) as (walks, live):
        redis.add_job("http", "1", state="active")
        await walks.watch("1", queue="http", events=["*"])
        await walks.watch("2", queue="http", stays=True)
        await subscribed(live, "1")
        await settled(walks, redis, live)
        end(redis, "http", "1", 7, silent=True)
        with redis.client.pipeline(transaction=True) as pipeline:
            pipeline.xadd(
                "bull:http:events", {"event": "completed", "jobId": "1", "returnvalue": "7", "prev": "active"}
            )
            pipeline.xtrim("bull:http:events", maxlen=0)
            pipeline.execute()
        assert await walks.until("1", 2) == ["gap http", "completed http 7 replayed"]
        assert await walks.until("2", 2) == ["unknown http", "gap http"]


async def test_a_stream_that_begins_again_with_lower_ids(redis: Redis) -> None:
    async with walking(redis) as (walks, live):
        redis.add_job("http", "1", state="active")
        await walks.watch("1", queue="http", events=["progress"])
        await subscribed(live, "1")
        redis.add_event("http", "progress", "1", data="1")
        await walks.until("1", 1)
        redis.client.delete("bull:http:events")
        redis.add_entry("http", {b"event": b"progress", b"jobId": b"1", b"data": b"2"}, stream_id="5-0")

        def progress() -> list[str]:
            return [each.removesuffix(" replayed") for each in walks.received["1"] if not each.startswith("gap")]

        await eventually(lambda: "progress http 2" in progress())
        await walks.cut()
        redis.add_entry("http", {b"event": b"progress", b"jobId": b"1", b"data": b"3"}, stream_id="6-0")
        await eventually(lambda: "progress http 3" in progress())
        fields = {b"event": b"completed", b"jobId": b"1", b"returnvalue": b"8", b"prev": b"active"}
        redis.add_entry("http", dict(fields), stream_id="7-0")
        await eventually(lambda: "completed http 8" in progress())
        # What came before the missing outcome had no `id`, and may come once more (R4).
        assert list(dict.fromkeys(progress())) == [f"progress http {number}" for number in (1, 2, 3)] + [
            "completed http 8"
        ]


@pytest.mark.parametrize("off_ms", [-4000, 3_600_000, -3_600_000])
async def test_workers_whose_clocks_are_off(redis: Redis, off_ms: int) -> None:
    """While the client is away, the stream is trimmed. Then another bridge answers."""
    redis.make_queue("http")
    for job_id in ("1", "2"):
        redis.add_job("http", job_id, state="active")
    arguments = ("--redis", redis.url, "--queues", "http")
    with BridgeProcess(*arguments, "--port", "0") as first:
        url = await anyio.to_thread.run_sync(first.started)
        async with walker(url) as walks:
            for name, options in (("1", {}), ("2", {"stays": True}), ("any", {})):
                await walks.watch(
                    name, "1" if name == "any" else name, **({} if name == "any" else {"queue": "http"}), **options
                )
            redis.add_job("http", "3", state="active")
            await walks.watch("3", queue="http")
            end(redis, "http", "3", 0)
            await walks.until("3", 1)
            await anyio.to_thread.run_sync(first.terminate)
            for job_id in ("1", "2"):
                end(redis, "http", job_id, 7, off_ms=off_ms)
            redis.client.xtrim("bull:http:events", maxlen=0)
            with BridgeProcess(*arguments, "--port", url.rpartition(":")[2]) as second:
                await anyio.to_thread.run_sync(second.started)
                for name in ("1", "2", "any"):
                    await eventually(partial(_was_told, walks, name, "completed http 7 replayed"))
                await walks.cut()
                redis.add_job("http", "4", state="active")
                await walks.watch("4", queue="http")
                end(redis, "http", "4", 0)
                await walks.until("4", 1)
            for name in ("1", "2", "any"):
                assert [each for each in walks.received[name] if not each.startswith("gap")] == [
                    "completed http 7 replayed"
                ]


def _was_told(walks: Walker, name: str, what: str) -> bool:
    return what in walks.received[name]


async def test_two_jobs_that_end_in_the_same_millisecond(redis: Redis) -> None:
    """They end while the client is away, and the stream is trimmed. The client resumes both in one list."""
    jobs = ("1", "2")

    async def returned(walks: Walker, live: Live) -> None:
        before = set(live.bridge.clients.connected)
        await walks.cut()
        await eventually(lambda: bool(set(live.bridge.clients.connected) - before))
        for job_id in jobs:
            await subscribed(live, job_id)

    async with walking(redis) as (walks, live):
        for job_id in jobs:
            redis.add_job("http", job_id, state="active")
            await walks.watch(job_id, queue="http", stays=True)
            await subscribed(live, job_id)
        now = int(time.time() * 1000)
        await walks.cut()
        with redis.client.pipeline(transaction=True) as pipeline:
            for number, job_id in enumerate(jobs):
                pipeline.lrem("bull:http:active", 0, job_id)
                pipeline.zadd("bull:http:completed", {job_id: now})
                pipeline.hset(f"bull:http:{job_id}", mapping={"returnvalue": "1", "finishedOn": now})
                entry = {b"event": b"completed", b"jobId": job_id.encode(), b"returnvalue": b"1", b"prev": b"active"}
                pipeline.xadd("bull:http:events", dict(entry), id=f"{now + 5000}-{number}")  # type: ignore[arg-type]
            pipeline.xtrim("bull:http:events", maxlen=0)
            pipeline.execute()
        for job_id in jobs:
            await eventually(partial(_was_told, walks, job_id, "completed http 1 replayed"))
        for _ in range(2):
            await returned(walks, live)
        for job_id in jobs:
            assert [each for each in walks.received[job_id] if "completed" in each] == ["completed http 1 replayed"]


async def test_last_weeks_outcome_in_another_queue_is_not_meant(redis: Redis) -> None:
    week = int(time.time() * 1000) - 7 * 86_400_000
    async with walking(redis) as (walks, live):
        redis.add_job("http", "1", state="completed", returnvalue="1", finishedOn=week)
        redis.add_entry(
            "http",
            {b"event": b"completed", b"jobId": b"1", b"returnvalue": b"1", b"prev": b"active"},
            stream_id=f"{week}-0",
        )
        redis.add_event("http", "progress", "other", data="1")
        redis.add_job("sparql", "1", state="active")
        received = await walks.watch("1", stays=True)
        await subscribed(live, "1")
        for _ in range(2):
            await come_back(walks, redis, live)
        assert received == []
        end(redis, "sparql", "1", 2)
        await walks.until("1", 1)
        await come_back(walks, redis, live)
        assert received == ["completed sparql 2"]


async def test_three_watches_of_a_large_result_on_one_connection(redis: Redis) -> None:
    async with walking(redis) as (walks, live):
        redis.add_job("http", "1", state="active")
        for name in ("a", "b", "c"):
            await walks.watch(name, "1", queue="http")
        await subscribed(live, "1", count=3)
        end(redis, "http", "1", "x" * 2_097_000)
        for name in ("a", "b", "c"):
            assert await walks.until(name, 1) == ["completed http 2097000"]


async def test_until_chooses_outcomes_too(redis: Redis) -> None:
    async with walking(redis) as (walks, live):
        redis.add_job("http", "1", state="active")
        await walks.watch("1", queue="http", events=["progress"])
        await subscribed(live, "1")
        end(redis, "http", "1", 1)
        assert await walks.until("1", 1) == ["completed http 1"]


async def test_a_client_that_leaves_gets_nothing_more(redis: Redis) -> None:
    async with walking(redis) as (walks, live):
        redis.add_job("http", "1", state="active")
        received = await walks.watch("1", queue="http")
        await subscribed(live, "1")
        await walks.leave("1")
        await eventually(lambda: not live.bridge.fanout.rooms.of_job("http", "1"))
        end(redis, "http", "1", 1)
        await settled(walks, redis, live)
        assert received == []


async def test_more_jobs_than_fit_over_a_bridge_that_is_killed(redis: Redis) -> None:
    count = 1500
    redis.make_queue("http")
    with redis.client.pipeline() as pipeline:
        for number in range(count):
            pipeline.hset(f"bull:http:m{number}", mapping={"name": "t", "data": "{}", "opts": "{}", "timestamp": 1})
            pipeline.lpush("bull:http:active", f"m{number}")
        pipeline.execute()
    arguments = ("--redis", redis.url, "--queues", "http")
    names = [f"m{number}" for number in range(count)]
    with BridgeProcess(*arguments, "--port", "0") as first:
        url = await anyio.to_thread.run_sync(first.started)
        async with walker(url) as walks:
            for name in names:
                await walks.watch(name, queue="http")
            end(redis, "http", names[0], names[0])
            await walks.until(names[0], 1)
            first._process.kill()
            for name in names[1:700]:
                end(redis, "http", name, name)
            with BridgeProcess(*arguments, "--port", url.rpartition(":")[2]) as second:
                await anyio.to_thread.run_sync(second.started)
                await walks.until(names[1], 1)
                for name in names[700:]:
                    end(redis, "http", name, name)
                await eventually(lambda: all(walks.received.values()))
            wrong = {
                name: received
                for name, received in walks.received.items()
                if [each.split()[:3] for each in received] != [["completed", "http", name]]
            }
            assert wrong == {}


@pytest.mark.long
async def test_ten_thousand_queues(redis: Redis) -> None:
    """A subscription without a queue returns with positions in only those queues that have the job."""
    with redis.client.pipeline() as pipeline:
        for number in range(10_000):
            pipeline.hset(f"bull:q{number}:meta", "opts.maxLenEvents", "10000")
        pipeline.execute()
    async with walking(redis, queues=(*QUEUES, "*"), pauses=USUAL_PAUSES, ready=False, join_seconds=60) as (
        walks,
        live,
    ):
        with anyio.fail_after(READ_SECONDS):
            await live.bridge.queues.scanned()
            await live.bridge.queues.wait_until_read(list(live.bridge.queues.by_label))
        for queue in ("q1", "q9999"):
            redis.add_job(queue, "1", state="active")
        received = await walks.watch("1", stays=True)
        await subscribed(live, "1", "q1")
        await come_back(walks, redis, live)
        for queue in ("q1", "q9999"):
            end(redis, queue, "1", 1)
        await walks.until("1", 2)
        await come_back(walks, redis, live)
        # The look-up in so many queues may take longer than the jobs, so outcomes may be replayed.
        assert sorted(each.removesuffix(" replayed") for each in received) == ["completed q1 1", "completed q9999 1"]
