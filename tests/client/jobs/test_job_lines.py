"""Log lines in the Python client come in order and once for each watch that wants them, also over several
connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

import jobws.sync
from jobws.client import connect
from jobws.server.bridge import RESTART
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.logger import Logger

if TYPE_CHECKING:
    from jobws.client.frames import Event
    from jobws.client.jobs.iterators import Events
    from tests.support.redis import Redis

LOGS = "bull:http:7:logs"


async def told(events: Events, last: str) -> list[Any]:
    """Return the lines, and the names of other events, up to the line or event `last`."""
    items: list[Any] = []
    while last not in items:
        event = await anext(events)
        items += _lines(event) if event.event == "job-log" else [event.event]
    return items


def _lines(event: Event) -> list[Any]:
    lines = event.data["lines"]
    assert isinstance(lines, list)
    return lines


async def test_lines_are_watched_up_to_the_outcome(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    redis.client.rpush(LOGS, "a", "b")
    async with (
        live_bridge(redis.url) as live,
        connect(live.url) as jobs,
        jobs.watch("7", "http", logs=True) as events,
        jobs.watch("7", "http", ["*"]) as others,
    ):
        assert await told(events, "b") == ["a", "b"]
        redis.client.rpush(LOGS, "c")
        redis.add_event("http", "completed", "7", returnvalue="1")
        assert await told(events, "completed") == ["c", "completed"]
        assert [event.event async for event in others] == ["completed"]


async def test_whoever_comes_later_gets_all_lines_and_nobody_gets_one_twice(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    redis.client.rpush(LOGS, "a", "b")
    async with live_bridge(redis.url) as live, connect(live.url) as jobs, jobs.watch("7", logs=True) as first:
        assert await told(first, "b") == ["a", "b"]
        async with jobs.watch("7", logs=True) as second:
            redis.client.rpush(LOGS, "c")
            assert await told(second, "c") == ["a", "b", "c"]
            assert await told(first, "c") == ["c"]
            async with jobs.watch("7", "http", logs=True) as named:
                assert await told(named, "c") == ["a", "b", "c"]
                redis.client.rpush(LOGS, "d")
                for events in (first, second, named):
                    assert await told(events, "d") == ["d"]


async def test_a_lost_connection_costs_no_line(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    async with live_bridge(redis.url) as live, connect(live.url) as jobs, jobs.watch("7", "http", logs=True) as events:
        for number in range(5):
            redis.client.rpush(LOGS, f"{number}")
            assert await told(events, f"{number}") == [f"{number}"]
            redis.client.ltrim(LOGS, -2, -1)
            before = set(live.bridge.clients.connected)
            live.bridge.close_all(RESTART)
            await eventually(lambda: bool(live.bridge.clients.connected - before))  # noqa: B023 - asked at once
        redis.add_event("http", "completed", "7", returnvalue="1")
        assert await told(events, "completed") == ["completed"]


async def test_lines_of_a_worker_without_await(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:

        def watch() -> list[Any]:
            items: list[Any] = []
            with jobws.sync.connect(live.url) as jobs:
                for event in jobs.watch("j", "http", logs=True):
                    items += _lines(event) if event.event == "job-log" else [event.event]
            return items

        with await trio.to_thread.run_sync(Logger, "python", redis, "http") as worker:
            await worker.tell(add={"jobId": "j"})
            for line in ("a", "b"):
                await worker.tell(log=line)
            await worker.tell(end=1)
        assert await trio.to_thread.run_sync(watch) == ["a", "b", "completed"]
