"""The adapter watches flows, over each way to the bridge, and also across a lost connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobws.protocol.close_codes import CloseCode
from jobws.protocol.session import Close
from tests.support.adapter import SOON, Rejected, adapter
from tests.support.flows import add_child, add_flow, end, end_child, end_flow, flow_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

OUTCOMES = [("completed", "a", "top"), ("completed", "c", "a"), ("failed", "b", "top")]


def told(event: dict[str, Any]) -> tuple[str, str, str | None]:
    return event["event"], event["data"]["jobId"], event.get("parent", {}).get("jobId")


@pytest.mark.parametrize("options", [SOON, {"transports": ["sse"]}, {"transports": ["poll"]}])
async def test_all_jobs_of_a_flow_are_watched_up_to_the_end_of_the_first(redis: Redis, options: dict[str, Any]) -> None:
    add_flow(redis)
    async with adapter() as node, flow_bridge(redis.url) as live:
        client = await node.io(live.url, **options)
        async with client.watch("top", queue="http", children=True) as watched:
            end_child(redis, ("sparql", "a"), "techstack", "c")
            found = [told(await anext(watched))]
            end_child(redis, ("http", "top"), "sparql", "a")
            end_child(redis, ("http", "top"), "techstack", "b", "failed")
            end(redis, "http", "top")
            found += [told(each) async for each in watched]
    assert sorted({*found[:-1]}) == OUTCOMES
    assert found[-1] == ("completed", "top", None)


async def test_after_a_lost_connection_no_outcome_is_missed(redis: Redis) -> None:
    add_flow(redis)
    async with adapter() as node, flow_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON)
        async with client.watch("top", queue="http", children=True) as watched:
            end_child(redis, ("sparql", "a"), "techstack", "c")
            assert told(await anext(watched)) == ("completed", "c", "a")
            live.bridge.close_all(Close(CloseCode.SERVICE_RESTART, "again"))
            add_child(redis, ("http", "top"), "techstack", "d")
            end_child(redis, ("http", "top"), "techstack", "d")
            end_child(redis, ("http", "top"), "sparql", "a")
            end(redis, "http", "top")
            found = [told(each) async for each in watched]
    # What came without a position may come a second time.
    assert {*found} - {("completed", "c", "a")} == {
        *(("completed", "a", "top"), ("completed", "d", "top"), ("completed", "top", None)),
    }


async def test_two_watches_of_a_flow_and_of_its_job_are_told_apart(redis: Redis) -> None:
    add_flow(redis)
    async with adapter() as node, flow_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON)
        async with (
            client.watch("top", queue="http", children=True) as first,
            client.watch("top", queue="http", children=True) as second,
            client.watch("top", queue="http") as alone,
        ):
            end_flow(redis)
            for watched in (first, second):
                found = [told(each) async for each in watched]
                assert sorted(found[:-1]) == OUTCOMES
            assert [told(each) async for each in alone] == [("completed", "top", None)]


async def test_a_flow_without_room_is_an_error(redis: Redis) -> None:
    add_flow(redis)
    async with adapter() as node, flow_bridge(redis.url, max_subscriptions=2) as live:
        client = await node.io(live.url, **SOON)
        async with client.watch("top", queue="http", children=True) as watched:
            with pytest.raises(Rejected, match="the flow has more jobs than a connection may have subscriptions"):
                await anext(watched)


async def test_a_look_up_counts_the_jobs_below(redis: Redis) -> None:
    add_flow(redis)
    end_child(redis, ("http", "top"), "techstack", "b", "failed")
    async with adapter() as node, flow_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON)
        (found,) = await client.call("lookup", "top", {"queue": "http", "children": True})
        assert found["tree"] == {"done": 0, "failed": 1, "total": 3}
        (found,) = await client.call("lookup", "top", {"queue": "http", "children": False})
        assert "tree" not in found
