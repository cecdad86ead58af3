"""The demo: a private Redis, the bridge, a worker, and a job that is followed from its subscription to its result."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from bullmq import Queue

from jobws.client import Event, connect
from jobws.embedded import EmbeddedRedis
from jobws.server.app import Bridge
from jobws.server.serve import listening_socket, serve
from jobws.server.settings import Settings
from jobws.watch import Board

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

QUEUE: Final = "techstack"
JOB_ID: Final = "jobws-itself"
# What BullMQ writes for a job that succeeds, in this order; progress comes in between.
EXPECTED: Final = ("added", "waiting", "active", "completed")
WALK_SECONDS: Final = 60.0


async def demo(root: Path, port: int, *, once: bool, console: Console) -> int:
    """Start everything, show one job, and stay up unless `once`.

    Args:
        root: The directory that the job analyses.
        port: Where the bridge listens; 0 takes a free port.
        once: End after the job.
        console: Where to show it.

    Returns:
        0 if every event of the job arrived, 1 otherwise.
    """
    # A queue that its worker has not made yet is no news here.
    logging.getLogger("jobws").setLevel(logging.ERROR)
    with EmbeddedRedis() as redis:
        settings = Settings(redis=redis.url, queues=(QUEUE,), port=port)
        listener = listening_socket(settings.host, settings.port)
        urls: list[str] = []
        started = anyio.Event()

        def note(url: str) -> None:
            urls.append(url)
            started.set()

        with _worker(redis.url, root) as worker:
            await anyio.to_thread.run_sync(_ready, worker)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(serve, Bridge(settings), listener, note))
                await started.wait()
                arrived = await walk(urls[0], redis.url, console)
                if once:
                    tasks.cancel_scope.cancel()
                else:
                    _invite(urls[0], redis.url, console)
    return 0 if arrived else 1


async def walk(url: str, redis_url: str, console: Console) -> bool:
    """Subscribe, add the job, and show its events. Whether each of `EXPECTED` arrived, in order."""
    board = Board([JOB_ID], console)
    seen: list[str] = []
    with anyio.move_on_after(WALK_SECONDS):
        async with connect(url) as client:
            await client.subscribe([JOB_ID], QUEUE, events=["*"])
            with board.shown():
                board.subscribed(JOB_ID, [], expect=True)
                await anyio.to_thread.run_sync(asyncio.run, _add(redis_url))
                while board.exit_code() is None:
                    event = await anext(client)
                    seen.append(event.event)
                    board.take(event)
                    if event.event == "completed":
                        _show(event, console)
    missing = [event for event in EXPECTED if event not in seen]
    if missing:
        console.print(f"these events did not arrive: {', '.join(missing)}", style="red")
    return [event for event in seen if event in EXPECTED] == list(EXPECTED)


async def _add(redis_url: str) -> None:
    """Add the job as any producer would, with BullMQ's own Queue."""
    queue = Queue(QUEUE, {"connection": redis_url})
    try:
        await queue.add("analyse", {"path": "."}, {"jobId": JOB_ID})
    finally:
        await queue.close()


def _worker(redis_url: str, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobws.demo.worker", "--redis", redis_url, "--root", str(root)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module


def _ready(worker: subprocess.Popen[str]) -> None:
    line = worker.stdout.readline() if worker.stdout is not None else ""
    if line != "ready\n":
        raise RuntimeError("the demo's worker did not start")


def _show(event: Event, console: Console) -> None:
    """The result, in words."""
    result = event.data.get("returnvalue")
    if not isinstance(result, dict):
        return
    for language in result["languages"]:
        console.print(f"  {language['name']}: {language['files']} files, {language['bytes']} bytes")
    for framework in result["frameworks"]:
        console.print(f"  {framework['name']} {framework['version']} ({framework['manifest']})", markup=False)


def _invite(url: str, redis_url: str, console: Console) -> None:
    console.print(f"\nThe demo stays up; Ctrl-C ends it.\n  bridge: {url}\n  Redis:  {redis_url}", markup=False)
    console.print(f"  try:    jobws watch {JOB_ID} --url {url}", markup=False)
