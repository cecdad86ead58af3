"""BullMQ's own workers as a process, which also adds the jobs: `python -m tests.chaos.worker REDIS_URL QUEUE…`.

A line of standard input describes a job; it is added however often Redis goes away meanwhile, which is harmless, since
every job has an id. A job that was under way when Redis died is stalled, and soon done again. The process ends with its
standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bullmq import Queue, Worker
from redis import RedisError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from bullmq import Job

# Stalled jobs come back within seconds, however often they stall: every job ends as its data say.
OPTIONS = {
    "concurrency": 20,
    "lockDuration": 2000,
    "stalledInterval": 1000,
    "maxStalledCount": 1000,
    "runRetryDelay": 200,
    "drainDelay": 1,
}


async def process(job: Job, _token: str) -> Any:
    """Take some time, tell of it, and end as the job's data say."""
    data: Any = job.data
    await asyncio.sleep(data["seconds"] / 2)
    await job.updateProgress(50)
    await asyncio.sleep(data["seconds"] / 2)
    if data["fails"]:
        raise ValueError(data["fails"])
    return data["result"]


async def work(redis_url: str, names: list[str]) -> None:
    """Add and do jobs until standard input ends."""
    options = {**OPTIONS, "connection": f"{redis_url}?socket_timeout=30"}
    queues = {name: Queue(name, {"connection": redis_url}) for name in names}
    workers = [Worker(name, process, options) for name in names]
    for worker in workers:
        worker.on("error", lambda *_: None)  # Redis is away now and then, on purpose
    adding: set[asyncio.Task[None]] = set()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        task = asyncio.create_task(_add(queues, **json.loads(line)))
        adding.add(task)
        task.add_done_callback(adding.discard)


async def _add(queues: dict[str, Queue], queue: str, data: object, opts: dict[str, object]) -> None:
    while True:
        try:
            await queues[queue].add("chaos", data, opts)
        except (RedisError, OSError):
            await asyncio.sleep(0.1)
        else:
            return


@contextmanager
def working(redis_url: str, *queues: str) -> Iterator[IO[str]]:
    """The process; what it is told goes to the file."""
    command = [sys.executable, "-m", "tests.chaos.worker", redis_url, *queues]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process.stdin
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2:]))
    os._exit(0)  # connections that BullMQ left open complain, in their finalizers, of the closed loop
