"""A worker that begins a job of the queue `renders` and never ends it, so that one can look at a job that runs."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from bullmq import Worker

if TYPE_CHECKING:
    from bullmq import Job

QUEUE: Final = "renders"
_FRAMES: Final = 50


async def _hold(job: Job, _token: str) -> None:
    for frame in range(31):
        await job.log(f"frame {frame:03} of {_FRAMES}: 1920 x 1080, {940 + 37 * frame % 91} ms")
    await job.updateProgress({"done": 31, "total": _FRAMES})
    print("ready", flush=True)
    await asyncio.Event().wait()


async def _work(redis_url: str) -> None:
    await Worker(QUEUE, _hold, {"connection": redis_url, "autorun": False}).run()


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1]))
