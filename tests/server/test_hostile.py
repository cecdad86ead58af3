"""A hostile client, or a hostile Redis, does no harm to other clients."""

from __future__ import annotations

import gc
import json
import time
from typing import TYPE_CHECKING, Any

import anyio

from jobws.bullmq.reading.read_state import Reread
from jobws.hub.jobs.pending import PendingSubscription
from jobws.server.intervals import Intervals
from tests.support import eventually
from tests.support.bridge import quick_bridge
from tests.support.client import raw_client
from tests.support.peer import Peer
from tests.support.watching import OLD, finish, nothing_more, subscribe

if TYPE_CHECKING:
    from tests.support.redis import Redis

EVENTS = "bull:http:events"


def joins_left() -> int:
    gc.collect()
    return sum(isinstance(each, PendingSubscription) for each in gc.get_objects())


async def test_without_events_an_outcome_comes_once(redis: Redis) -> None:
    redis.make_queue("http")
    redis.client.hset("bull:http:meta", "opts.maxLenEvents", 0)
    redis.add_job("http", "1", state="completed", finishedOn=OLD, returnvalue="1")
    async with quick_bridge(redis.url, sweep_seconds=0.05) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "queue": "http"})
        assert (await client.receive())["event"] == "completed"
        await anyio.sleep(0.5)
        await nothing_more(client)


async def test_a_client_that_vanishes_while_it_is_read_to_leaves_nothing(redis: Redis) -> None:
    big = '"' + "x" * 2_000 + '"'
    for _ in range(5000):
        redis.add_event("http", "progress", "1", data=big)
    async with quick_bridge(redis.url, outbox_bytes=200_000) as live:

        def run() -> None:
            with Peer(live.url) as peer:
                peer.frame()
                peer.send(b'{"event":"subscribe-job","data":{"jobId":"1","queue":"http","events":["*"],"after":"0-0"}}')
                peer.frame()
                time.sleep(0.5)

        await anyio.to_thread.run_sync(run)
        await eventually(lambda: not live.bridge.clients.connected)
        await eventually(lambda: not joins_left())


async def test_subscriptions_that_were_replaced_keep_nothing(redis: Redis) -> None:
    big = '"' + "x" * 2_000 + '"'
    for _ in range(5000):
        redis.add_event("http", "progress", "1", data=big)
    async with quick_bridge(redis.url, outbox_bytes=200_000) as live:

        def run() -> None:
            with Peer(live.url) as peer:
                peer.frame()
                for _ in range(200):
                    peer.send(
                        b'{"event":"subscribe-job","data":{"jobId":"1","queue":"http","events":["*"],"after":"0-0"}}'
                    )
                    time.sleep(0.01)
                assert joins_left() < 10, joins_left()

        await anyio.to_thread.run_sync(run)


async def test_many_subscriptions_one_by_one_do_not_make_a_client_slow(redis: Redis) -> None:
    """5 MB of results go through an outbox of 200 kB."""
    result = '"' + "x" * 10_000 + '"'
    for number in range(500):
        if number % 2:
            finish(redis, f"j{number}", returnvalue=result)
        else:
            redis.add_job("http", f"j{number}", state="completed", finishedOn=OLD, returnvalue=result)
    async with (
        quick_bridge(redis.url, outbox_bytes=200_000, burst_messages=1000) as live,
        raw_client(live.url) as client,
    ):
        for number in range(500):
            await client.send("subscribe-job", {"jobId": f"j{number}", "queue": "http"})
        frames = [await client.receive() for _ in range(1000)]
        assert len({frame["data"]["jobId"] for frame in frames if frame["event"] == "completed"}) == 500
        await nothing_more(client)


async def test_a_second_reading_that_finds_nothing_left_lets_joins_go_on(redis: Redis) -> None:
    async with quick_bridge(redis.url, join_seconds=3) as live, raw_client(live.url) as client:
        sent = redis.add_event("http", "active", "1")
        await eventually(lambda: live.bridge.fanout.cursors["http"] == sent)
        stream = live.bridge.queues._streams["http"]
        # As if the stream were being read again, and then everything was trimmed.
        live.bridge.fanout.begin_reread("http", sent, sent)
        live.bridge.fanout.cursors["http"] = sent
        stream.check_at = anyio.current_time() + 0.5
        stream.state = Reread(sent, 1, sent)
        await subscribe(client, {"jobId": "1", "queue": "http"})


async def test_a_key_that_is_no_stream_does_not_stop_other_queues(redis: Redis) -> None:
    redis.client.set("bull:sparql:events", "x")
    sent = finish(redis, "1")
    async with quick_bridge(redis.url, ready=False, join_seconds=2) as live, raw_client(live.url) as client:
        await subscribe(client, "1")
        assert (await client.receive())["id"] == sent
        redis.client.delete("bull:sparql:events")
        await subscribe(client, "2")
        sent = finish(redis, "2", "sparql")
        assert (await client.receive())["id"] == sent


async def test_a_stream_that_becomes_something_else_is_a_gap(redis: Redis) -> None:
    finish(redis, "1")
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        redis.add_job("http", "1", state="completed", finishedOn=OLD, returnvalue="7")
        redis.client.set(EVENTS, "x")
        await subscribe(client, {"jobId": "1", "queue": "http"})
        assert (await client.until("completed"))[-1]["data"]["returnvalue"] == 7


async def test_until_end_the_first_outcome_in_any_queue_is_the_last_frame(redis: Redis) -> None:
    for queue in ("http", "sparql"):
        redis.add_job(queue, "1", state="completed", finishedOn=time.time() * 1000, returnvalue="1")
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "until": "end"})
        assert (await client.receive())["data"]["queue"] == "http"
        assert (await client.ask("unsubscribe-job", "1"))["data"] == {"request": "unsubscribe-job", "left": False}


async def test_a_position_of_a_stream_that_was_made_anew_is_a_gap(redis: Redis) -> None:
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        first = redis.add_event("http", "active", "1")
        second = redis.add_event("http", "completed", "1", returnvalue="1")
        redis.add_job("http", "1", state="completed", finishedOn=int(second.split("-")[0]), returnvalue="1")
        await eventually(lambda: live.bridge.fanout.cursors["http"] == second)
        redis.client.delete(EVENTS)
        third = redis.add_event("http", "active", "2")
        await eventually(lambda: live.bridge.fanout.cursors["http"] == third)
        await eventually(lambda: live.bridge.fanout.counts["gaps"] == 1)
        ack = await subscribe(client, {"jobId": "1", "queue": "http", "after": first})
        assert ack.get("gap") is True
        assert (await client.receive())["event"] == "completed"


async def test_a_pong_counts_nothing_as_sent_that_was_missed_until_it_was_told(redis: Redis) -> None:
    """Otherwise a client that resumes from this pong would never get the outcome."""
    redis.add_job("http", "1", state="active")
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        sent = redis.add_event("http", "active", "1")
        await eventually(lambda: live.bridge.fanout.cursors["http"] == sent)
        await subscribe(client, {"jobId": "1", "queue": "http"})
        sweep_once, go_on = live.bridge._sweeper._sweep, anyio.Event()

        async def later(*arguments: Any) -> bool:
            await go_on.wait()
            return await sweep_once(*arguments)

        live.bridge._sweeper._sweep = later  # type: ignore[assignment]
        pipe = redis.client.pipeline(transaction=True)
        pipe.xadd(EVENTS, {"event": "completed", "jobId": "1", "returnvalue": "1"})
        pipe.lrem("bull:http:active", 0, "1")
        pipe.zadd("bull:http:completed", {"1": OLD})
        pipe.hset("bull:http:1", mapping={"finishedOn": int(sent.split("-")[0]) + 5, "returnvalue": "1"})
        pipe.xadd(EVENTS, {"event": "drained"}, maxlen=1, approximate=False)
        pipe.execute()
        assert (await client.receive())["event"] == "gap"
        assert "http" not in (await nothing_more(client))["data"]["after"]
        go_on.set()
        assert (await client.receive())["event"] == "completed"
        await eventually(lambda: not live.bridge.fanout.without_position)
        assert "http" in (await nothing_more(client))["data"]["after"]


async def test_one_slow_client_does_not_have_everything_swept_again(
    redis: Redis,
) -> None:
    result = '"' + "x" * 50_000 + '"'
    async with quick_bridge(redis.url, intervals=Intervals(sweep_seconds=0.02), outbox_bytes=200_000) as live:
        with await anyio.to_thread.run_sync(Peer, live.url) as peer:
            await anyio.to_thread.run_sync(peer.frame)
            jobs = [f"j{number}" for number in range(100)]
            for job_id in jobs:
                redis.add_job("http", job_id, state="active")
            peer.send(json.dumps({"event": "subscribe-job", "data": {"jobs": jobs, "queue": "http"}}).encode())
            await anyio.to_thread.run_sync(peer.frame)
            for job_id in jobs:
                redis.add_job("http", job_id, state="completed", finishedOn=OLD, returnvalue=result)
            sweeps = []
            sweep_once = live.bridge._sweeper._sweep

            async def counted(*arguments: Any) -> bool:
                sweeps.append(arguments[0])
                return await sweep_once(*arguments)

            live.bridge._sweeper._sweep = counted  # type: ignore[assignment]
            live.bridge._sweeper._holes.note("http")
            await eventually(lambda: len(sweeps) == 1)
            live.bridge._sweeper._holes.note("http")
            await eventually(lambda: len(sweeps) == 2)
            await anyio.sleep(0.5)
            assert len(sweeps) == 2
