"""Redis 6.2 does not count the entries of a stream, so the entry at the cursor shows whether some were missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobws.embedded import EmbeddedRedis
from tests.support.bridge import quick_bridge
from tests.support.client import raw_client
from tests.support.redis import Redis
from tests.support.servers import redis_6
from tests.support.watching import EVENTS, OLD, be_quiet_and_busy, gap_then_outcome, nothing_more, read_to, subscribe

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def redis() -> Iterator[Redis]:
    """Start a Redis 6.2, whichever server the other tests use."""
    with EmbeddedRedis(binary=redis_6()) as server, Redis(server) as redis:
        yield redis


async def test_quiet_and_busy_streams_have_no_holes(redis: Redis) -> None:
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await be_quiet_and_busy(redis, live, client)


async def test_entries_that_were_trimmed_unread_are_a_hole(redis: Redis) -> None:
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        redis.add_job("http", "1", state="active")
        await subscribe(client, {"jobId": "1", "queue": "http"})
        await read_to(live, redis.add_event("http", "active", "1"))
        pipe = redis.client.pipeline(transaction=True)
        pipe.xadd(EVENTS, {"event": "completed", "jobId": "1", "returnvalue": "1"})
        pipe.lrem("bull:http:active", 0, "1")
        pipe.zadd("bull:http:completed", {"1": OLD})
        pipe.hset("bull:http:1", mapping={"finishedOn": OLD, "returnvalue": "1"})
        pipe.xadd(EVENTS, {"event": "drained"}, maxlen=1, approximate=False)
        pipe.execute()
        frame = await gap_then_outcome(client, "trimmed")
        assert (frame["event"], "~" in frame["id"]) == ("completed", True)
        await nothing_more(client)


async def test_a_stream_that_began_anew_is_reported_as_trimmed(redis: Redis) -> None:
    """With a server that counts, the reason is `recreated`."""
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "queue": "http"})
        first = redis.add_event("http", "active", "1")
        await read_to(live, first)
        # In the same millisecond, the new entry would have the id of the old one, and the reason would be `recreated`.
        later = f"{int(first.partition('-')[0]) + 1}-0"
        pipe = redis.client.pipeline(transaction=True)  # otherwise the bridge may see that the stream is gone
        pipe.delete(EVENTS)
        pipe.xadd(EVENTS, {"event": "active", "jobId": "2"}, id=later)
        pipe.zadd("bull:http:completed", {"1": OLD})
        pipe.hset(
            "bull:http:1", mapping={"name": "n", "data": "{}", "timestamp": OLD, "finishedOn": OLD, "returnvalue": "1"}
        )
        pipe.execute()
        assert (await gap_then_outcome(client, "trimmed"))["event"] == "completed"
        await nothing_more(client)


async def test_a_stream_that_is_gone_is_not_reported_as_trimmed(redis: Redis) -> None:
    """Also if entries were suspected to be missing before. The outcome then has a position of the new stream, `0-0`."""
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        redis.add_job("http", "1", state="active")
        await subscribe(client, {"jobId": "1", "queue": "http"})
        await read_to(live, redis.add_event("http", "active", "1"))
        live.bridge.queues._streams["http"].suspect("trimmed")
        redis.client.delete(EVENTS, "bull:http:1", "bull:http:active")
        frame = await gap_then_outcome(client, "recreated")
        assert (frame["event"], frame["id"]) == ("removed", "0-0~0")


async def test_a_position_from_before_the_first_entry_yields_a_gap_that_need_not_be(redis: Redis) -> None:
    """Nothing was ever trimmed, but only a server that counts can show this."""
    redis.add_event("http", "active", "1")
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await subscribe(client, {"jobId": "1", "queue": "http", "after": "5-0"})
        assert ack["gap"]
        await nothing_more(client)


@pytest.mark.parametrize("entries", [0, 5])
async def test_a_stream_that_was_trimmed_before_it_was_read_has_no_hole(redis: Redis, entries: int) -> None:
    """Nothing after the cursor is gone, although the entry at the cursor may be."""
    for _ in range(10):
        redis.add_event("http", "progress", "1", data=0)
    redis.client.xtrim(EVENTS, maxlen=entries, approximate=False)
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await be_quiet_and_busy(redis, live, client)
