"""Bursts in queues that were just found and keep few events: clients get a gap for what was trimmed before it was
read.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from bullmq import Queue

from jobws.bullmq.reading.read_state import LastCheck
from jobws.protocol.identifiers import position
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.bridge import Live
    from tests.support.client import Frame, RawClient
    from tests.support.redis import Redis

QUEUES = 20
# BullMQ for Node writes this for `streams: {events: {maxLen: 20}}`. BullMQ for Python has no such option.
LIMIT = ("opts.maxLenEvents", "20")
BURST = 600


def burst(redis: Redis, queue: str) -> list[str]:
    """Write the events `completed` of 600 jobs in a script that also trims. Return their ids."""
    script = """
    local ids = {}
    for number = 1, tonumber(ARGV[1]) do
      ids[number] = redis.call('XADD', KEYS[1], 'MAXLEN', 20, '*', 'event', 'completed', 'jobId', number)
    end
    return ids
    """
    ids = redis.client.eval(script, 1, f"bull:{queue}:events", str(BURST))
    return [stream_id.decode() for stream_id in ids]


async def add_jobs(redis: Redis, queue: str) -> list[str]:
    """Add 300 jobs in one transaction of BullMQ, which writes 600 events. The ids of trimmed ones are not known."""

    async def add() -> None:
        added = Queue(queue, {"connection": redis.url})
        await added.addBulk([{"name": "test", "data": {}, "opts": {}} for _ in range(BURST // 2)])
        await added.close()

    await anyio.to_thread.run_sync(partial(anyio.run, add, backend="asyncio"))
    return [stream_id.decode() for stream_id, _ in redis.client.xrange(f"bull:{queue}:events")]  # type: ignore[union-attr]


async def find(live: Live, redis: Redis, queue: str) -> None:
    redis.client.hset(f"bull:{queue}:meta", *LIMIT)
    await eventually(lambda: queue in live.bridge.queues.by_label)


async def up_to_gap(client: RawClient, queue: str) -> tuple[list[str], Frame, list[str]]:
    """Return the events that came before the gap of a queue, the gap, and the positions in pongs until then."""
    received: list[str] = []
    positions: list[str] = []
    while True:
        frame = await client.receive()
        match frame["event"]:
            case "gap":
                assert frame["data"]["queue"] == queue
                return received, frame["data"], positions
            case "pong":
                positions.append(frame["data"]["after"].get(queue, "0-0"))
                await client.send("ping")
            case _:
                received.append(frame["id"])


def missed(ids: Iterable[str], received: Iterable[str], told: str) -> list[str]:
    """Return the events up to a position that had not come when the position came."""
    came = set(received)
    return [stream_id for stream_id in ids if position(stream_id) <= position(told) and stream_id not in came]


async def test_twenty_of_twenty_bursts_have_their_gap_and_no_position_lies_past_it(redis: Redis) -> None:
    async with (
        live_bridge(redis.url, queues=("*",), discover_seconds=0.05) as live,
        raw_client(live.url) as client,
    ):
        for number in range(QUEUES):
            queue = f"young{number}"
            await find(live, redis, queue)
            assert (await client.ask("subscribe-queue", queue))["event"] == "ack"
            if number % 2:
                # Later, but before the queue's first check, which comes after 5 s.
                await anyio.sleep(number / 50)
            ids = burst(redis, queue)
            await client.send("ping")
            received, gap, positions = await up_to_gap(client, queue)
            assert gap["reason"] == "trimmed"
            assert len(received) < BURST, "nothing was lost, so this proves nothing"
            assert not missed(ids, received, max(positions, key=position, default="0-0"))
            last = await client.until("pong")
            assert ids[-1] in received + [frame.get("id") for frame in last]
            await client.ask("unsubscribe-queue", queue)


@pytest.mark.parametrize("before", [True, False], ids=["already there", "not there yet"])
async def test_what_bullmq_trims_in_a_queue_that_is_found_is_reported(redis: Redis, before: bool) -> None:
    """`before` means that jobs are added before a pass of discovery finds the queue, and after the pass before."""
    async with (
        live_bridge(redis.url, queues=("*",), discover_seconds=0.5) as live,
        raw_client(live.url) as client,
    ):
        await client.ask("subscribe-job", {"jobId": "1", "events": ["*"]})
        if not before:
            await find(live, redis, "young")
            await live.ready()
        else:
            redis.client.hset("bull:young:meta", *LIMIT)
        kept = await add_jobs(redis, "young")
        assert len(kept) < BURST, "nothing was lost, so this proves nothing"
        assert [frame["event"] for frame in await client.until("gap", queue="young", reason="trimmed")] == ["gap"]
        assert live.bridge.fanout.counts["gaps"] == 1


async def test_a_queue_that_reaches_back_before_it_is_found_has_no_gap(redis: Redis) -> None:
    """Its stream is old and trimmed and its `meta` is new, for instance since it was made by BullMQ before 2021."""
    async with (
        live_bridge(redis.url, queues=("*",), discover_seconds=0.1) as live,
        raw_client(live.url) as client,
    ):
        for number in range(30):
            redis.add_entry("old", {b"event": b"completed", b"jobId": b"1"}, stream_id=f"1000-{number}")
        redis.client.xtrim("bull:old:events", maxlen=5, approximate=False)
        await client.ask("subscribe-job", {"jobId": "2", "events": ["*"]})
        redis.client.hset("bull:old:meta", *LIMIT)
        sent = redis.add_event("old", "completed", "2", returnvalue="1")
        frame = await client.receive()
        assert (frame["event"], frame["id"]) == ("completed", sent)
        stream = live.bridge.queues._streams["old"]
        await eventually(lambda: live.bridge.fanout.verified["old"] == sent)
        assert isinstance(stream.state, LastCheck)
        assert live.bridge.fanout.counts["gaps"] == 0
