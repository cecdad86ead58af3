"""Progress that workers report faster than anyone can watch it: over the WebSocket, and over both event streams."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from jobws.errors import ConfigurationError
from jobws.server.settings import Settings
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.event_source import event_source, frame_source

if TYPE_CHECKING:
    from tests.support.redis import Redis

UPDATES = 10_000
PROGRESS = {"jobId": "1", "queue": "http", "events": ["progress", "completed"]}


def report(redis: Redis) -> float:
    """Report progress for about a second, then the outcome. Return when it began, on the clock `time.monotonic`."""
    began = time.monotonic()
    for start in range(0, UPDATES, 100):
        with redis.client.pipeline(transaction=False) as pipe:
            for number in range(start + 1, start + 101):
                pipe.xadd("bull:http:events", {"event": "progress", "jobId": "1", "data": number})
            pipe.execute()
        time.sleep(max(0.0, began + start / UPDATES - time.monotonic()))
    redis.add_event("http", "completed", "1", returnvalue="1")
    return began


def check(events: list[dict[str, Any]], seconds: float) -> None:
    """Check what a subscription got: a dozen frames in a second, in order, the last value, and then the outcome.

    `seconds` is the time until the outcome arrived, since a bridge on a busy machine lags behind what is reported.
    """
    *updates, outcome = events
    assert outcome["event"] == "completed"
    values = [update["data"]["data"] for update in updates]
    assert values[-1] == UPDATES
    assert values == sorted(set(values))
    assert len(values) <= 2 + math.ceil(10 * seconds)


async def test_ten_thousand_updates_a_second_are_a_dozen_frames(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", PROGRESS)
        await client.ask("subscribe-queue", {"queue": "http", "events": ["progress", "completed"], "sub": 1})
        began = await anyio.to_thread.run_sync(report, redis)
        frames = await client.until("completed")
        frames += await client.until("completed")
        seconds = time.monotonic() - began
    check([frame for frame in frames if "sub" not in frame], seconds)
    check([frame for frame in frames if "sub" in frame], seconds)


async def test_so_they_are_over_http(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    requests = [{"event": "subscribe-job", "data": PROGRESS}]
    async with (
        live_bridge(redis.url) as live,
        event_source(live.url, "1", queue="http", events="progress,completed") as stream,
        frame_source(live.url, requests) as post,
    ):
        await stream.until("ack")
        assert [(await post.frame())["event"] for _ in range(2)] == ["hello", "ack"]
        began = await anyio.to_thread.run_sync(report, redis)
        of_stream, of_post = await stream.until("completed"), [await post.frame()]
        while of_post[-1]["event"] != "completed":
            of_post.append(await post.frame())
        seconds = time.monotonic() - began
    check([{"event": each.event, "data": each.data} for each in of_stream], seconds)
    check([frame for frame in of_post if frame["event"] != "pong"], seconds)


async def test_with_0_every_update_comes(redis: Redis) -> None:
    async with live_bridge(redis.url, progress_ms=0) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", PROGRESS)
        await anyio.to_thread.run_sync(report, redis)
        frames = await client.until("completed")
    assert [frame["data"].get("data") for frame in frames] == [*range(1, UPDATES + 1), None]


@pytest.mark.parametrize("milliseconds", [-1, 10_001])
def test_the_setting_has_limits(milliseconds: float) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(progress_ms=milliseconds).check()
    assert str(caught.value) == "progress_ms must be 0 to 10000"
