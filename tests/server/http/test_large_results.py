"""Results of megabytes that are redacted: while one client gets them, the others are served."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio.to_thread
import trio

from tests.bench.steps import Recorder
from tests.support.bridge import live_bridge
from tests.support.http import exchange

if TYPE_CHECKING:
    from tests.support.redis import Redis

# From how many milliseconds on a step is too long. To redact this result takes 200.
TOO_LONG = 60
SECRET = "hidden"


async def test_no_step_is_long(redis: Redis) -> None:
    result = json.dumps([{"s": SECRET}] * 80_000)
    redis.add_job("http", "1", state="completed", returnvalue=result, finishedOn=5)
    longest = []
    async with live_bridge(redis.url, redact=("http:returnvalue.*.s",)) as live:
        for path in ("/jobs/http/1", "/jobs?queue=http&jobId=1&event=1-0"):
            recorder = Recorder()
            trio.lowlevel.add_instrument(recorder)
            answer = await anyio.to_thread.run_sync(exchange, "GET", live.url + path, None, {})
            trio.lowlevel.remove_instrument(recorder)
            assert (answer.status, SECRET in str(answer.content()), "redacted" in str(answer.content())) == (
                200,
                False,
                True,
            )
            longest.append(recorder.take())
    assert [each["steps"] for each in longest if each["longest"] > TOO_LONG] == []
