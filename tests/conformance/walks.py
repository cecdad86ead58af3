"""The example client of protocol.md in Node, and functions that end jobs as BullMQ does."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from tests.support import eventually, require
from tests.support.node import NODE, install_packages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import Process

    from tests.support.redis import Redis


class Walker:
    """The Node process with the client. Get it from `walker`.

    Attributes:
        received: What each watch got, as `event queue value`, and `replayed` if it is a replay.
    """

    def __init__(self, process: Process) -> None:
        self.received: dict[str, list[str]] = {}
        self._process = process

    async def watch(self, name: str, job_id: str | None = None, **options: Any) -> list[str]:
        """Watch the job with the id `job_id`, which is `name` by default.

        Return the list to which the watch's events are added.
        """
        self.received[name] = []
        await self._do("watch", name=name, jobId=job_id or name, options=options)
        return self.received[name]

    async def leave(self, name: str) -> None:
        await self._do("leave", name=name)

    async def cut(self) -> None:
        """End the connection. The client comes back itself."""
        await self._do("cut")

    async def until(self, name: str, count: int) -> list[str]:
        """Wait until the watch has got so many events, and return them."""
        await eventually(lambda: len(self.received[name]) >= count)
        return self.received[name]

    async def read(self) -> None:
        """Take what the process writes, until the process ends."""
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                received = json.loads(line)
                self.received[received["name"]].append(_words(received))

    async def _do(self, command: str, **rest: Any) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send(json.dumps({"do": command, **rest}).encode() + b"\n")


def _words(received: dict[str, Any]) -> str:
    data = received["data"]
    value = next((data[key] for key in ("data", "returnvalue", "failedReason", "lines") if key in data), None)
    if isinstance(value, str) and len(value) > 100:
        value = len(value)
    words = [received["event"], data.get("queue"), value, "replayed" if received.get("replayed") else None]
    return " ".join(str(word) for word in words if word is not None)


@asynccontextmanager
async def walker(url: str) -> AsyncIterator[Walker]:
    """Yield a client of the bridge at this URL. The test is skipped if Node is missing."""
    node = require("node")
    await anyio.to_thread.run_sync(install_packages, NODE, "ws")
    command = [node, str(NODE / "walker.mjs"), url.replace("http", "ws") + "/ws"]
    async with await anyio.open_process(command, stdin=subprocess.PIPE, stderr=None) as process:
        try:
            assert process.stdout is not None
            assert await process.stdout.receive(6) == b"ready\n"
            made = Walker(process)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(made.read)
                yield made
                tasks.cancel_scope.cancel()
        finally:
            process.kill()


def end(redis: Redis, queue: str, job_id: str, value: object, *, silent: bool = False, off_ms: int = 0) -> None:
    """Complete an active job; if `silent`, without an event.

    The clock of the worker is wrong by `off_ms` milliseconds.
    """
    now = int(time.time() * 1000)
    front = f"bull:{queue}:"
    with redis.client.pipeline(transaction=True) as pipeline:
        pipeline.lrem(front + "active", 0, job_id)
        pipeline.zadd(front + "completed", {job_id: now + off_ms})
        pipeline.hset(front + job_id, mapping={"returnvalue": json.dumps(value), "finishedOn": now + off_ms})
        if not silent:
            fields = {"event": "completed", "jobId": job_id, "returnvalue": json.dumps(value), "prev": "active"}
            pipeline.xadd(front + "events", dict(fields))  # type: ignore[arg-type]
        pipeline.execute()


def vanish(redis: Redis, queue: str, job_id: str) -> None:
    """Remove a job without an event, as draining does."""
    redis.client.delete(f"bull:{queue}:{job_id}")
    redis.client.lrem(f"bull:{queue}:active", 0, job_id)
