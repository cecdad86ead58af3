"""How `wait` ends without a result, in Node: the name, properties and sentence of each error."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import eventually
from tests.support.adapter import SOON, Rejected, in_node
from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from tests.support.adapter import AdapterClient
    from tests.support.redis import Redis


async def rejection(client: AdapterClient, job_id: object, **options: Any) -> dict[str, Any]:
    with pytest.raises(Rejected) as caught:
        await client.wait(job_id, **options)
    return dict(caught.value.error)


async def test_what_became_of_the_job(redis: Redis) -> None:
    redis.add_event("http", "failed", "1", failedReason="no such page")
    async with in_node() as node, live_bridge(redis.url) as live, trio.open_nursery() as nursery:
        client = await node.io(live.url, **SOON)
        job = {"jobId": "1", "queue": "http"}
        message = "job 1 of queue http failed: no such page"
        failed = {"name": "JobFailed", "message": message, "reason": "no such page", **job}
        assert await rejection(client, 1, queue="http") == failed
        assert await rejection(client, "1") == failed
        message = "no job 2 of queue http; if it is about to be added, wait with {expect: true}"
        unknown = {"name": "JobUnknown", "message": message, "jobId": "2", "queue": "http"}
        assert await rejection(client, "2", queue="http") == unknown
        assert (await rejection(client, "2"))["message"] == unknown["message"].replace(" of queue http", "")

        async def remove() -> None:
            await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("http", "3")))
            redis.add_event("http", "removed", "3", prev="waiting")

        nursery.start_soon(remove)
        message = "job 3 of queue http was removed before it had ended"
        removed = {"name": "JobRemoved", "message": message, "jobId": "3", "queue": "http"}
        assert await rejection(client, "3", expect=True) == removed


async def test_what_cannot_be_waited_for(redis: Redis) -> None:
    async with in_node() as node, live_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON)
        sentence = "a job id is a text of 1 to 512 bytes, or an integer"
        for wrong in ("", 1.5, None, ["1"], True):
            refused = {"name": "JobwsError", "message": sentence, "code": "bad-job-id"}
            assert await rejection(client, wrong) == refused, wrong
        assert await rejection(client, "1", queue="nope") == {
            "name": "JobwsError",
            "message": "1: this bridge has no `queue` of that label; GET /queues lists them",
            "code": "unknown-queue",
        }


async def test_who_no_longer_waits_leaves_the_job(redis: Redis) -> None:
    async with in_node() as node, live_bridge(redis.url) as live, trio.open_nursery() as nursery:
        client = await node.io(live.url, **SOON)
        rooms = live.bridge.fanout.rooms
        message = "job 1 of queue http has not ended within 1000 ms"
        late = {"name": "TimeoutError", "message": message, "jobId": "1", "queue": "http", "reason": 1000}
        nursery.start_soon(eventually, lambda: bool(rooms.of_job("http", "1")))
        assert await rejection(client, "1", queue="http", expect=True, timeout=1000) == late
        await eventually(lambda: not rooms)
        async with trio.open_nursery() as waiting:
            waiting.start_soon(partial(client.wait, "2", expect=True))
            await eventually(lambda: bool(rooms.of_job("http", "2")))
            waiting.cancel_scope.cancel()  # the signal of this call is aborted
        await eventually(lambda: not rooms)
        redis.add_event("http", "completed", "2", returnvalue="2")
        assert await client.wait("2") == 2


async def test_a_queue_that_is_younger_than_the_last_look(redis: Redis) -> None:
    async with (
        in_node() as node,
        live_bridge(redis.url, queues=("http", "*"), discover_seconds=3600) as live,
        trio.open_nursery() as nursery,
    ):
        client = await node.io(live.url, **SOON)
        assert await rejection(client, "1", queue="fresh") == {
            "name": "JobwsError",
            "message": "1: no queue fresh; if it is about to come, wait with {expect: true}",
            "code": "unknown-queue",
        }

        async def wait(job_id: str, **options: bool) -> None:
            assert await client.wait(job_id, queue="fresh", **options) == 3

        nursery.start_soon(partial(wait, "2", expect=True))
        await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("fresh", "2")))
        redis.make_queue("fresh")
        redis.add_job("fresh", "1", state="active")
        nursery.start_soon(wait, "1")
        await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("fresh", "1")))
        for job_id in ("1", "2"):
            redis.add_event("fresh", "completed", job_id, returnvalue="3")
