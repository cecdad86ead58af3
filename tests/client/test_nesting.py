"""JSON at the limit of nesting and beyond it, in the Python client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from jobws.client import connect
from jobws.errors import ResponseError, UnreachableError
from jobws.protocol.nesting import MAX_FRAME_LEVELS, MAX_LEVELS
from tests.support.bridge import live_bridge
from tests.support.fake_bridge import FakeConnection, fake_bridge
from tests.support.nested import nested_list, nested_text

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_results(redis: Redis) -> None:
    redis.add_job("http", "1", state="active", progress=nested_text(MAX_LEVELS))
    async with live_bridge(redis.url) as live, connect(live.url) as jobs:
        async with jobs.watch("1", "http") as events:
            (shown,) = events.snapshots["1"]
            assert shown["progress"] == nested_list(MAX_LEVELS)
            redis.add_event("http", "completed", "1", returnvalue=nested_text(MAX_LEVELS))
            outcomes = [event.data["returnvalue"] async for event in events]
            assert outcomes == [nested_list(MAX_LEVELS)]
        for job_id, levels in (("2", MAX_LEVELS + 1), ("3", 100_000)):
            redis.add_event("http", "completed", job_id, returnvalue=nested_text(levels))
            assert await jobs.wait(job_id, "http", expect=True) == nested_text(levels)


async def test_data_of_a_new_job(redis: Redis) -> None:
    """The object around the data is a level, too. A list that contains itself has no end."""
    circle: list[object] = []
    circle.append(circle)
    async with live_bridge(redis.url) as live, connect(live.url) as jobs:
        await jobs.submit("http", nested_list(MAX_LEVELS - 1))
        for deep in (nested_list(MAX_LEVELS), nested_list(3000), nested_list(100_000), circle):
            with pytest.raises(ResponseError, match="the JSON is nested too deep; it may have 512 levels") as refusal:
                await jobs.submit("http", deep)
            assert refusal.value.code == "too-deep"


@pytest.mark.parametrize(("inner", "value"), [("", None), (r'"\ud800"', "\ud800")])
async def test_frames(inner: str, value: object) -> None:
    """A frame that is nested too deep counts as malformed: the client disconnects and connects again."""

    def completed(connection: FakeConnection, levels: int) -> str:
        sub = connection.names["q", "1"]
        data = '{"queue":"q","jobId":"1","returnvalue":' + nested_text(levels - 2, inner) + "}"
        return f'{{"event":"completed","id":"1-0","sub":{sub},"data":{data}}}'

    results: list[object] = []
    async with fake_bridge() as bridge, connect(bridge.url) as jobs, trio.open_nursery() as nursery:

        async def wait() -> None:
            results.append(await jobs.wait("1", "q"))

        nursery.start_soon(wait)
        for levels in (MAX_FRAME_LEVELS + 1, 100_000):
            connection = await bridge.accept()
            await connection.subscribed()
            await connection.socket.send_message(completed(connection, levels))
            await connection.closed()
        connection = await bridge.accept()
        await connection.subscribed()
        await connection.socket.send_message(completed(connection, MAX_FRAME_LEVELS))
    assert results == [nested_list(MAX_FRAME_LEVELS - 2, value)]


async def test_the_first_frame() -> None:
    async with fake_bridge(more=nested_list(MAX_FRAME_LEVELS - 1)) as bridge:
        with pytest.raises(UnreachableError, match="it is nested deeper than 520 levels"):
            async with connect(bridge.url):
                pass
