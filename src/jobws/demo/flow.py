"""Runs the demo's flow: three jobs in three queues. A worker begins the first after the two below it completed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import anyio
import anyio.to_thread

from jobws.cli.watch import Board
from jobws.client import connect, connect_logs
from jobws.demo.job import SOURCE
from jobws.demo.show import say_missing, show_outcome
from jobws.demo.worker_log import WorkerLog
from jobws.protocol.messages import OUTCOMES

if TYPE_CHECKING:
    from rich.console import Console

FLOW_SECONDS: Final = 60.0
_TOP: Final = "sparql"
_UPDATE: Final = "INSERT DATA { <urn:demo:flow> <urn:demo:jobs> 2 }"


async def show_flow(url: str, redis_url: str, page: str, console: Console) -> bool:
    """Follow a flow, add it, and show what happens to its jobs.

    The job in `sparql` waits for one in `techstack`, and for one in `http`, which fetches the URL `page`. After 60 s,
    what has not come counts as missing.

    Returns:
        Whether all jobs completed, that in `sparql` last, and the worker's log has a line for the end of each.

    Raises:
        ClientError: The bridge refused a request, or is gone.
    """
    top = str(uuid4())
    below = [_job("techstack", str(uuid4()), {"path": "."}), _job("http", str(uuid4()), {"url": page})]
    flow = {**_job(_TOP, top, {"update": _UPDATE}), "children": below}
    expected = [*sorted(("completed", str(each["queueName"])) for each in below), ("completed", _TOP)]
    board = Board([top], console, results=False, bars=True)
    ended: list[tuple[str, str]] = []
    logged = True
    with anyio.move_on_after(FLOW_SECONDS):
        async with connect(url) as client, connect_logs(url, source=SOURCE) as lines:
            log = WorkerLog(lines, console)
            with board.shown():
                async with client.watch(top, _TOP, events=["*"], children=True) as watched, log.shown():
                    board.jobs[top].queue = _TOP
                    board.subscribed(top, ())
                    await anyio.to_thread.run_sync(_add, redis_url, flow)
                    async for event in watched:
                        if event.event in OUTCOMES:
                            ended.append((event.event, str(event.data["queue"])))
                            logged &= await log.told(str(event.data["jobId"]), 1)
                        board.take(event)
                        if event.event in OUTCOMES:
                            show_outcome(event, console)
    told = [*sorted(ended[:-1]), *ended[-1:]]
    if told != expected or not logged:
        say_missing(f"flow {_TOP}/{top}: expected {expected}, and their ends in the log; got {told}", console)
    return told == expected and logged


def _job(queue: str, job_id: str, data: dict[str, object]) -> dict[str, object]:
    return {"name": "job", "queueName": queue, "data": data, "opts": {"jobId": job_id}}


def _add(redis_url: str, flow: dict[str, object]) -> None:
    """Add a flow with BullMQ's Python package, which needs asyncio."""
    from bullmq import FlowProducer  # comes with the worker

    async def add() -> None:
        flows = FlowProducer(redis_url)
        try:
            await flows.add(flow)
        finally:
            await flows.close()

    asyncio.run(add())
