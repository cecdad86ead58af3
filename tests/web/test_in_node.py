"""The adapter in Node, with the WebSocket of the package `ws`, or without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import eventually
from tests.support.adapter import Rejected, adapter
from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis


@pytest.mark.parametrize(("options", "transport"), [({}, "websocket"), ({"WebSocket": False}, "sse")])
async def test_it_carries_events_and_outcomes(redis: Redis, options: dict[str, Any], transport: str) -> None:
    redis.add_job("http", "1", state="active")
    async with adapter() as node, live_bridge(redis.url) as live:
        client = await node.io(live.url, **options)
        await client.on("progress", "completed")
        assert [(told["event"], told["data"]) for told in await client.until("transport")] == [
            ("connect", None),
            ("transport", transport),
        ]
        assert await client.state() == {"connected": True, "active": True, "transport": transport}
        (answer,) = await client.emit("subscribe-job", {"jobId": "1", "queue": "http"})
        assert [job["jobId"] for job in answer["jobs"]] == ["1"]
        async with client.watch("1", queue="http", events=["progress"]) as watched:
            await eventually(lambda: len(list(live.bridge.fanout.rooms.of_job("http", "1"))) == 2)
            ids = [
                redis.add_event("http", "progress", "1", data="50"),
                redis.add_event("http", "completed", "1", returnvalue='{"pages":3}'),
            ]
            assert [each["event"] async for each in watched] == ["progress", "completed"]
        assert await client.wait("1", queue="http") == {"pages": 3}
        told = [
            (each["id"], each["event"], each["data"].get("returnvalue")) for each in await client.until("completed")
        ]
        assert told == [(ids[0], "progress", None), (ids[1], "completed", {"pages": 3})]
        with pytest.raises(Rejected, match="JobUnknown: no job 2 of queue http; if it is about to be added"):
            await client.wait("2", queue="http")
        await client.call("disconnect")
        assert (await client.until("disconnect"))[-1]["data"] == "io client disconnect"
        assert (node.warnings, node.uncaught) == ([], [])
