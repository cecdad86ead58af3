"""BullMQ's own workers as a process, which also adds the jobs: `python -m tests.chaos.worker REDIS_URL [QUEUE…]`.

A line of standard input says what to do with a queue. It adds `jobs`, in one transaction if `atOnce` is true, and sets
the length of the stream to `maxLen`. Or it says how to `obliterate` the queue: the worker stays (`jobs`), or ends
before (`all`). The lines about one queue are done in order. If Redis goes away meanwhile, a line is tried again, which
is harmless, since every job has an id. A job that was in progress when Redis died is stalled, and is soon done again.
The process ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bullmq import Queue, Worker
from redis import RedisError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from bullmq import Job

CLOSE_SECONDS = 2
# Stalled jobs are done again within seconds, however often they stall, so every job ends as its data say.
OPTIONS = {
    "concurrency": 20,
    "lockDuration": 2000,
    "stalledInterval": 1000,
    "maxStalledCount": 1000,
    "runRetryDelay": 200,
    "drainDelay": 1,
}
# For many queues that come and go. Redis does not die in these runs, and no job may stall on a busy machine.
MANY = {**OPTIONS, "concurrency": 4, "lockDuration": 30_000, "stalledInterval": 5000}


async def process(job: Job, _token: str) -> Any:
    """Do a job: take some time, report progress, and end as the job's data say."""
    data: Any = job.data
    await asyncio.sleep(data["seconds"] / 2)
    await job.updateProgress(50)
    await asyncio.sleep(data["seconds"] / 2)
    if data["fails"]:
        raise ValueError(data["fails"])
    return data["result"]


class Work:
    """One queue and its worker.

    Args:
        redis_url: The URL of Redis.
        name: The name of the queue.
        options: The options of the worker.
    """

    def __init__(self, redis_url: str, name: str, options: dict[str, int]) -> None:
        self._redis_url = redis_url
        self._queue = Queue(name, {"connection": redis_url})
        self._options = options
        self._worker: Worker | None = None
        self._turn = asyncio.Lock()

    def begin(self) -> None:
        """Start a worker. It writes the queue's `meta` if this does not exist."""
        if self._worker is None:
            options = {**self._options, "connection": f"{self._redis_url}?socket_timeout=30"}
            self._worker = Worker(self._queue.name, process, options)
            self._worker.on("error", lambda *_: None)  # Redis is away now and then, on purpose

    async def do(self, what: dict[str, Any]) -> None:
        """Do what a line says, after the earlier lines about this queue."""
        async with self._turn:
            while True:
                try:
                    await (self._obliterate(what) if "obliterate" in what else self._add(what))
                except (RedisError, OSError):
                    await asyncio.sleep(0.1)
                else:
                    return

    async def _obliterate(self, what: dict[str, Any]) -> None:
        if what["obliterate"] == "all" and self._worker is not None:
            worker, self._worker = self._worker, None
            # With a limit: closing may wait for ever, also if it is cancelled.
            await asyncio.wait({asyncio.ensure_future(worker.close(force=True))}, timeout=CLOSE_SECONDS)
        await self._queue.obliterate(force=True)

    async def _add(self, what: dict[str, Any]) -> None:
        if "maxLen" in what:  # BullMQ for Python has no such option
            await self._queue.client.hset(self._queue.keys["meta"], "opts.maxLenEvents", what["maxLen"])
        if what.get("atOnce"):
            await self._queue.addBulk(what["jobs"])
        else:
            for job in what["jobs"]:
                await self._queue.add(job["name"], job["data"], job["opts"])
        if what["jobs"]:
            self.begin()


async def work(redis_url: str, names: list[str]) -> None:
    """Add and do jobs until standard input ends."""
    # Otherwise, connections that BullMQ leaves open when a worker ends would log errors.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    works = {name: Work(redis_url, name, OPTIONS) for name in names}
    for each in works.values():
        each.begin()
    doing: set[asyncio.Task[None]] = set()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        what = json.loads(line)
        name = what["queue"]
        if name not in works:
            works[name] = Work(redis_url, name, MANY)
        task = asyncio.create_task(works[name].do(what))
        doing.add(task)
        task.add_done_callback(doing.discard)


@contextmanager
def working(redis_url: str, *queues: str) -> Iterator[IO[str]]:
    """Run the process. Yield its standard input."""
    from tests.support.started import PIPE, Started  # not above, since the process itself must not need pytest

    arguments = ("tests.chaos.worker", redis_url, *queues)
    with Started(*arguments, env=dict(os.environ), stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process.stdin
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2:]))
    os._exit(0)  # not a normal exit, in which connections that BullMQ left open would report the closed event loop
