"""The Python client watches flows, also across a lost connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from jobws.client import connect
from jobws.errors import ResponseError
from jobws.hub.jobs.following import TOO_LARGE
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.session import Close
from jobws.sync import connect as connect_sync
from tests.support.flows import add_child, add_flow, end, end_child, end_flow, flow_bridge

if TYPE_CHECKING:
    from jobws.client import Event
    from tests.support.redis import Redis


def told(event: Event) -> tuple[str, object, object]:
    return event.event, event.data["jobId"], None if event.parent is None else event.parent["jobId"]


OUTCOMES = [("completed", "a", "top"), ("completed", "c", "a"), ("failed", "b", "top")]


async def test_all_jobs_of_a_flow_are_watched_up_to_the_end_of_the_first(redis: Redis) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url) as live,
        connect(live.url) as jobs,
        jobs.watch("top", "http", events=["progress"], children=True) as events,
    ):
        end_flow(redis)
        found = [told(event) async for event in events]
    assert sorted(found[:-1]) == OUTCOMES
    assert found[-1] == ("completed", "top", None)


async def test_after_a_lost_connection_no_outcome_is_missed(redis: Redis) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url) as live,
        connect(live.url) as jobs,
        jobs.watch("top", "http", children=True) as events,
    ):
        end_child(redis, ("sparql", "a"), "techstack", "c")
        assert told(await anext(events)) == ("completed", "c", "a")
        live.bridge.close_all(Close(CloseCode.SERVICE_RESTART, "again"))
        add_child(redis, ("http", "top"), "techstack", "d")
        end_child(redis, ("http", "top"), "techstack", "d")
        end_child(redis, ("http", "top"), "sparql", "a")
        end(redis, "http", "top")
        found = [told(event) async for event in events]
    # What came without a position may come a second time.
    assert {*found} - {("completed", "c", "a")} == {
        *(("completed", "a", "top"), ("completed", "d", "top"), ("completed", "top", None)),
    }
    assert found[-1] == ("completed", "top", None)


async def test_a_gap_in_any_queue_is_told(redis: Redis) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url) as live,
        connect(live.url) as jobs,
        jobs.watch("top", "http", children=True) as events,
    ):
        end_child(redis, ("sparql", "a"), "techstack", "c")
        await anext(events)
        redis.client.delete("bull:techstack:events")
        redis.add_event("techstack", "active", "b")
        event = await anext(events)
        assert (event.event, event.data["queue"]) == ("gap", "techstack")


async def test_a_flow_without_room_is_an_error(redis: Redis) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url, max_subscriptions=2) as live,
        connect(live.url) as jobs,
        jobs.watch("top", "http", children=True) as events,
    ):
        with pytest.raises(ResponseError) as caught:
            await anext(events)
    assert (caught.value.code, str(caught.value)) == ("too-many", f"top: {TOO_LARGE.message}")


async def test_a_flow_needs_a_queue(redis: Redis) -> None:
    async with flow_bridge(redis.url) as live, connect(live.url) as jobs:
        with pytest.raises(ResponseError, match="`children` needs `queue`, and goes without `logs`"):
            async with jobs.watch("top", children=True):
                pass


async def test_a_look_up_counts_the_jobs_below(redis: Redis) -> None:
    add_flow(redis)
    end_child(redis, ("http", "top"), "techstack", "b", "failed")

    def look_up(url: str) -> object:
        with connect_sync(url) as jobs:
            return jobs.lookup("top", "http", children=True)[0]["tree"]

    async with flow_bridge(redis.url) as live, connect(live.url) as jobs:
        tree = {"done": 0, "failed": 1, "total": 3}
        (found,) = await jobs.lookup("top", "http", children=True)
        assert found["tree"] == tree
        assert await anyio.to_thread.run_sync(look_up, live.url) == tree
        (found,) = await jobs.lookup("top", "http")
        assert "tree" not in found
        assert await jobs.lookup("none", "http", children=True) == []
        for queue, event in ((None, None), ("http", "1-0")):
            with pytest.raises(ResponseError) as refused:
                await jobs.lookup("top", queue, event, children=True)
            assert refused.value.code == "bad-data"


async def test_a_flow_is_watched_without_async(redis: Redis) -> None:
    add_flow(redis)
    end_flow(redis)

    def watch(url: str) -> list[tuple[str, object, object]]:
        with connect_sync(url) as jobs:
            return [told(event) for event in jobs.watch("top", "http", children=True)]

    async with flow_bridge(redis.url) as live:
        found = await anyio.to_thread.run_sync(watch, live.url)
    assert sorted(found[:-1]) == OUTCOMES
