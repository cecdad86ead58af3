"""The Python client against a real bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from jobws.client import connect
from jobws.errors import ConnectionLostError, RefusedError, ResponseError, UnreachableError
from jobws.server.app import RESTART
from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_a_job_is_followed(redis: Redis) -> None:
    redis.add_job("http", "1")
    async with live_bridge(redis.url) as live, connect(live.url) as client:
        assert client.hello["protocol"] == "jobws.v1"
        known, unknown, refused = await client.subscribe(["1", "2", ""], "http", events=["*"])
        assert known["jobs"][0]["state"] == "waiting"  # type: ignore[index]
        assert unknown == {"jobs": []}
        assert refused["error"]["code"] == "bad-job-id"  # type: ignore[index]
        sent = redis.add_event("http", "completed", "2", returnvalue="[1]")
        event = await anext(client)
        assert (event.event, event.id, event.data["returnvalue"]) == ("completed", sent, [1])


async def test_events_that_come_between_are_kept(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, connect(live.url) as client:
        await client.subscribe(["1"])
        sent = redis.add_event("http", "completed", "1", returnvalue="1")
        while (await client.request("ping"))["cursor"].get("http") != sent:  # type: ignore[attr-defined]
            pass
        assert (await anext(client)).id == sent


async def test_errors_say_what_happened(redis: Redis) -> None:
    with pytest.raises(UnreachableError, match="expected http://host:port"):
        async with connect("ftp://x"):
            pass
    with pytest.raises(UnreachableError, match=r"no bridge at ws://127\.0\.0\.1:1/ws"):
        async with connect("http://127.0.0.1:1"):
            pass
    async with live_bridge(redis.url, allowed_hosts=()) as live:
        with pytest.raises(UnreachableError, match="status 403"):
            async with connect(live.url + "/elsewhere"):
                pass
        elsewhere = live.url.replace("127.0.0.1", "localhost")
        async with connect(elsewhere) as client:
            with pytest.raises(ResponseError, match="no queue of that label") as caught:
                await client.request("subscribe-queue", "nope")
            assert caught.value.code == "unknown-queue"
            live.bridge.close_all(RESTART)
            with pytest.raises(ConnectionLostError, match="1012 the bridge restarts"):
                await anext(client)
    async with live_bridge(redis.url) as live, connect(live.url) as client:
        with pytest.raises(RefusedError, match="4502 20 errors within 10 s"):  # noqa: PT012 - any of them may be the last
            for _ in range(21):
                with pytest.raises(ResponseError):
                    await client.request("dance")


async def test_an_exception_of_the_body_comes_out_alone(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        with pytest.raises(ZeroDivisionError):
            async with connect(live.url):
                _ = 1 / 0


async def test_cancelling_leaves_no_task(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        with trio.move_on_after(0.05) as scope:
            async with connect(live.url) as client:
                await anext(client)
        assert scope.cancelled_caught
