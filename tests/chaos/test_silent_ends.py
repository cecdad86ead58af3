"""BullMQ's drain, obliterate and clean write no event for the jobs that they remove. Still, every `wait` ends."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest
import trio
from bullmq import Queue

from jobws.client import connect
from jobws.errors import JobRemoved
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.node import NodeProcess, install_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from tests.support.redis import Redis

    Producer: TypeAlias = "Callable[[Redis], AbstractContextManager[Callable[[str], None]]]"

JOBS = ("one", "two", "three")


@contextmanager
def node(redis: Redis) -> Iterator[Callable[[str], None]]:
    password = redis.server.url.split(":")[2].split("@")[0]
    with NodeProcess("ends.mjs", str(redis.server.port), password, "http") as process:

        def tell(command: str) -> None:
            process.write_line(command)
            assert process.read_line() == "done"

        yield tell


@contextmanager
def python(redis: Redis) -> Iterator[Callable[[str], None]]:
    async def do(command: str) -> None:
        queue = Queue("http", {"connection": redis.url})
        match command:
            case "drain":
                await queue.drain()
            case "obliterate":
                await queue.pause()
                await queue.obliterate()
            case "clean":
                await queue.clean(0, 100, "wait")
            case _:
                await queue.add("chaos", {}, {"jobId": command})
        await queue.close()

    yield lambda command: asyncio.run(do(command))


@pytest.mark.parametrize("end", ["drain", "obliterate", "clean"])
@pytest.mark.parametrize("bullmq", [python, node])
async def test_every_wait_ends(redis: Redis, bullmq: Producer, end: str) -> None:
    if bullmq is node:
        await anyio.to_thread.run_sync(install_packages)
    with bullmq(redis) as tell:
        async with live_bridge(redis.url, sweep_seconds=0.2) as live, connect(live.url) as jobs:
            for job_id in JOBS:
                await anyio.to_thread.run_sync(tell, job_id)
            ended: list[str] = []

            async def wait(job_id: str) -> None:
                with pytest.raises(JobRemoved):
                    await jobs.wait(job_id, "http")
                ended.append(job_id)

            async with trio.open_nursery() as nursery:
                for job_id in JOBS:
                    nursery.start_soon(wait, job_id)
                rooms = live.bridge.fanout.rooms
                await eventually(
                    lambda: all(
                        [each.held is None for each in rooms.of_job("http", job_id)] == [True] for job_id in JOBS
                    )
                )
                await anyio.to_thread.run_sync(tell, end)
            assert sorted(ended) == sorted(JOBS)
