"""BullMQ's own workers as a process, which also adds the jobs: `python -m tests.chaos.worker REDIS_URL QUEUE…`.

A line of standard input says what to do with a queue: add `jobs`, perhaps all in one transaction (`atOnce`), to a
stream that keeps `maxLen` entries, or `obliterate` it. What concerns one queue is done in order, and however often
Redis goes away meanwhile, which is harmless, since every job has an id. A job that was under way when Redis died is
stalled, and soon done again. The process ends with its standard input.
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
    turns = {name: asyncio.Lock() for name in names}
    doing: set[asyncio.Task[None]] = set()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        what = json.loads(line)
        task = asyncio.create_task(_do(queues[what["queue"]], turns[what["queue"]], what))
        doing.add(task)
        task.add_done_callback(doing.discard)


async def _do(queue: Queue, turn: asyncio.Lock, what: dict[str, Any]) -> None:
    async with turn:
        while True:
            try:
                if "obliterate" in what:
                    await queue.obliterate(force=True)
                else:
                    await _add(queue, what)
            except (RedisError, OSError):
                await asyncio.sleep(0.1)
            else:
                return


async def _add(queue: Queue, what: dict[str, Any]) -> None:
    if "maxLen" in what:  # BullMQ in Python has no such option
        await queue.client.hset(queue.keys["meta"], "opts.maxLenEvents", what["maxLen"])
    if what.get("atOnce"):
        await queue.addBulk(what["jobs"])
    else:
        for job in what["jobs"]:
            await queue.add(job["name"], job["data"], job["opts"])


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
