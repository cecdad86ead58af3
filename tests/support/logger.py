"""Worker processes that write log lines when a test wants them, with BullMQ for Node and BullMQ for Python."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import anyio.to_thread
from bullmq import Queue, Worker

from tests.support import require
from tests.support.node import NODE, install_packages

if TYPE_CHECKING:
    from bullmq import Job

    from tests.support.redis import Redis


class Logger:
    """A worker process that does one job at a time. Use it as a context manager."""

    def __init__(self, kind: str, redis: Redis, queue: str) -> None:
        if kind == "node":
            install_packages()
            password = redis.server.url.split(":")[2].split("@")[0]
            command = [require("node"), str(NODE / "logger.mjs"), str(redis.server.port), password, queue]
        else:
            command = [sys.executable, "-m", "tests.support.logger", redis.url, queue]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    async def tell(self, **told: Any) -> None:
        """Have the worker do something, and wait until Redis has it.

        `add` adds a job with these options, `log` writes a line to it, and `end` ends the job with this result.
        """
        await anyio.to_thread.run_sync(self._tell, told)

    def _tell(self, told: dict[str, Any]) -> None:
        print(json.dumps(told), file=self._process.stdin, flush=True)
        assert self._read() == "done"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


async def work(redis_url: str, name: str) -> None:
    """Do in Python what `logger.mjs` does. BullMQ's package for Python has no function that clears logs."""
    begun: asyncio.Queue[Job] = asyncio.Queue()
    ends: asyncio.Queue[Any] = asyncio.Queue()
    completed: asyncio.Queue[None] = asyncio.Queue()

    async def process(job: Job, _token: str) -> Any:
        begun.put_nowait(job)
        return await ends.get()

    queue = Queue(name, {"connection": redis_url})
    worker = Worker(name, process, {"connection": f"{redis_url}?socket_timeout=30", "drainDelay": 1})
    worker.on("completed", lambda *_: completed.put_nowait(None))
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        told = json.loads(line)
        if "add" in told:
            await queue.add("job", {}, told["add"])
            job = await begun.get()
        if "log" in told:
            await job.log(told["log"])
        if "end" in told:
            ends.put_nowait(told["end"])
            await completed.get()
        print("done", flush=True)
    await worker.close()
    await queue.close()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
