"""Numbers of workers that are JSON, and too large for msgspec, in the Python client."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
import trio

from jobws.client import connect
from tests.support import EVENTUALLY_SECONDS
from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis


@pytest.mark.parametrize("number", ["1e999", "9" * 5000])
async def test_they_are_infinite_and_what_follows_comes(redis: Redis, number: str) -> None:
    redis.add_job("http", "1", state="active")
    async with live_bridge(redis.url, progress_ms=0) as live, connect(live.url) as jobs:
        with trio.fail_after(EVENTUALLY_SECONDS):
            async with jobs.watch("1", "http", ["*"]) as events:
                redis.add_event("http", "progress", "1", data=number)
                redis.add_event("http", "completed", "1", returnvalue=f"[{number}, 1]")
                progress, completed = [event.data async for event in events]
                assert (progress["data"], completed["returnvalue"]) == (inf, [inf, 1])
            redis.add_job("http", "2", state="completed", finishedOn=1, returnvalue=number)
            (found,) = await jobs.lookup("2", "http")
            assert found["returnvalue"] == inf
