"""Streams that lose entries, vanish, go back or are switched off, and ends of jobs without an event."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support import eventually
from tests.support.bridge import QUICK, live_bridge, quick_bridge
from tests.support.client import raw_client
from tests.support.watching import (
    EVENTS,
    OLD,
    be_quiet_and_busy,
    finish,
    gap_then_outcome,
    nothing_more,
    read_to,
    subscribe,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis


async def test_what_was_trimmed_before_it_was_read_is_made_up_for(redis: Redis) -> None:
    """The stream keeps one entry, and a thousand are written together."""
    redis.client.hset("bull:http:meta", "opts.maxLenEvents", "1")
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await read_to(live, "0-0")
        jobs = [f"j{number}" for number in range(20)]
        for job_id in jobs:
            redis.add_job("http", job_id, state="active")
        await subscribe(client, {"jobs": jobs, "queue": "http"})
        # A subscription that is acknowledged, but not live yet, would have a gap of its own besides the queue's.
        await eventually(lambda: not any(each.catching_up for each in live.bridge.clients.connected))
        pipe = redis.client.pipeline(transaction=True)
        for job_id in jobs:
            for _ in range(50):
                pipe.xadd(EVENTS, {"event": "progress", "jobId": job_id, "data": "1"}, maxlen=1, approximate=False)
            pipe.zadd("bull:http:completed", {job_id: OLD})
            pipe.lrem("bull:http:active", 0, job_id)
            pipe.hset(f"bull:http:{job_id}", mapping={"finishedOn": OLD, "returnvalue": f'"{job_id}"'})
            pipe.xadd(
                EVENTS,
                {"event": "completed", "jobId": job_id, "returnvalue": f'"{job_id}"'},
                maxlen=1,
                approximate=False,
            )
        pipe.execute()
        frames = [await client.receive() for _ in range(21)]
        (gap,) = (frame for frame in frames if frame["event"] == "gap")
        assert gap["data"]["reason"] == "trimmed"
        outcomes = {frame["data"]["jobId"]: frame["data"]["returnvalue"] for frame in frames if frame is not gap}
        assert outcomes == {job_id: job_id for job_id in jobs}
        assert sum("~" not in frame.get("id", "~") for frame in frames) == 1, "the last one was still in the stream"
        await nothing_more(client)


@pytest.mark.counts
async def test_a_stream_that_is_filled_again_to_the_very_count_that_was_expected_has_a_gap(redis: Redis) -> None:
    """60 entries were counted. Of 80 new ones, 20 are left, and 60 + 20 = 80."""
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        pipe = redis.client.pipeline(transaction=True)
        for number in range(60):
            pipe.xadd(EVENTS, {"event": "progress", "jobId": str(number)})
        last = pipe.execute()[-1].decode()
        await client.read_up_to("http", last)
        await eventually(lambda: live.bridge.fanout.verified["http"] == last)
        assert live.bridge.fanout.counts["gaps"] == 0
        pipe.delete(EVENTS)
        for number in range(80):
            pipe.xadd(EVENTS, {"event": "progress", "jobId": str(number)}, maxlen=20, approximate=False)
        pipe.execute()
        while (frame := await client.receive())["event"] != "gap":
            pass
        assert frame["data"]["reason"] == "trimmed"


@pytest.mark.parametrize("old_entries", [1, 3])
async def test_a_stream_that_is_made_anew_within_the_same_millisecond_is_read(redis: Redis, old_entries: int) -> None:
    async with quick_bridge(redis.url, progress_ms=0) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "events": ["*"], "queue": "http"})
        pipe = redis.client.pipeline(transaction=True)
        for number in range(old_entries):
            pipe.xadd(EVENTS, {"event": "progress", "jobId": "1", "data": number}, id=f"{OLD}-{number}")
        pipe.execute()
        for _ in range(old_entries):
            await client.receive()
        pipe = redis.client.pipeline(transaction=True)
        pipe.delete(EVENTS)
        pipe.xadd(EVENTS, {"event": "completed", "jobId": "1", "returnvalue": "1"}, id=f"{OLD}-0")
        pipe.execute()
        gap = (await client.receive())["data"]
        frame = await client.receive()
        assert (frame["event"], frame["id"]) == ("completed", f"{OLD}-0")
        assert gap["reason"] == ("ahead" if old_entries > 1 else "recreated")
        redis.add_event("http", "active", "1")
        frame = await client.receive()
        assert frame["event"] == "active"
        await nothing_more(client)


async def test_a_stream_that_went_back_repeats_nothing(redis: Redis) -> None:
    """This happens after a failover to a replica that did not have everything."""
    ids = [redis.add_event("http", "progress", "1", data=number) for number in range(3)]
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "events": ["*"], "queue": "http"})
        lost = redis.add_event("http", "progress", "1", data="lost")
        assert (await client.receive())["id"] == lost
        pipe = redis.client.pipeline(transaction=True)
        pipe.delete(EVENTS)
        for number, stream_id in enumerate(ids):
            pipe.xadd(EVENTS, {"event": "progress", "jobId": "1", "data": number}, id=stream_id)
        pipe.execute()
        gap = await client.receive()
        assert gap["data"] == {"queue": "http", "reason": "ahead", "jobs": None}
        sent = redis.add_event("http", "completed", "1", returnvalue="1")
        assert (await client.receive())["id"] == sent
        await nothing_more(client)


async def test_a_queue_that_is_obliterated_ends_its_jobs(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    redis.add_event("http", "active", "1")
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "until": "end"})
        redis.client.flushall()
        frame = await gap_then_outcome(client, "recreated")
        assert frame.pop("id").endswith("~0")
        assert frame == {"event": "removed", "replayed": True, "data": {"queue": "http", "jobId": "1"}}
        assert (await client.ask("unsubscribe-job", "1"))["data"]["left"] is False


async def test_quiet_and_busy_streams_have_no_holes(redis: Redis) -> None:
    """Also if entries are trimmed after they were read, as BullMQ does all the time."""
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await be_quiet_and_busy(redis, live, client)


async def test_silent_ends_are_found(redis: Redis) -> None:
    """Drain, clean and automatic removal do this: the hash is gone, without an event."""
    redis.add_job("http", "1", state="wait")
    async with quick_bridge(redis.url, sweep_seconds=0.1) as live, raw_client(live.url) as client:
        await subscribe(client, ["1", "never there"])
        redis.add_event("http", "added", "2")
        redis.add_job("http", "2")
        await subscribe(client, "2")
        redis.client.delete("bull:http:1", "bull:http:2", "bull:http:wait")
        gone = [await client.receive(), await client.receive()]
        assert all(frame["event"] == "removed" and frame["id"].endswith("~0") for frame in gone)
        assert {frame["data"]["jobId"] for frame in gone} == {"1", "2"}
        await nothing_more(client)


async def test_a_queue_without_events_is_said_and_still_yields_outcomes(redis: Redis) -> None:
    redis.make_queue("http")
    redis.client.hset("bull:http:meta", "opts.maxLenEvents", 0)
    redis.add_job("http", "1", state="active")
    async with quick_bridge(redis.url) as live, raw_client(live.url, hello=False) as client:
        hello = (await client.receive())["data"]
        assert hello["withoutEvents"] == ["http"]
        await subscribe(client, {"jobs": ["1", "2"], "until": "end"})
        redis.client.lrem("bull:http:active", 0, "1")
        for job_id, state in (("1", "completed"), ("2", "failed")):
            redis.add_job("http", job_id, state=state, finishedOn=OLD, returnvalue="1", failedReason="no")
        frames = [await client.receive(), await client.receive()]
        assert {(frame["data"]["jobId"], frame["event"]) for frame in frames} == {("1", "completed"), ("2", "failed")}
        await nothing_more(client)
        assert live.bridge.fanout.counts["gaps"] == 0


async def test_redis_without_its_data_is_a_gap_and_reading_goes_on(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        finish(redis, "0")
        await subscribe(client, {"jobId": "1", "queue": "http"})
        await read_to(live, redis.add_event("http", "active", "1"))
        redis.server.kill()
        redis.server.start()
        sent = finish(redis, "1")
        frames = [await client.receive(), await client.receive()]
        assert [frame["event"] for frame in frames] == ["gap", "completed"]
        assert frames[1]["id"] == sent
        await nothing_more(client)


async def test_a_redis_that_hangs_is_noticed_and_nothing_is_missed(own_redis: Callable[..., Redis]) -> None:
    """The connection is open, but nothing answers: it is half-open, or the host is overloaded."""
    redis = own_redis()
    async with (
        live_bridge(redis.url, pauses=QUICK._replace(answer_seconds=0.3)) as live,
        raw_client(live.url) as client,
    ):
        await subscribe(client, {"jobId": "1", "queue": "http"})
        os.kill(redis.server.pid, signal.SIGSTOP)
        try:
            await eventually(lambda: "http" in live.bridge.queues.problems(0.0))
        finally:
            os.kill(redis.server.pid, signal.SIGCONT)
        sent = finish(redis, "1")
        assert (await client.receive())["id"] == sent
        await eventually(lambda: not live.bridge.queues.problems(0.0))
        await nothing_more(client)
