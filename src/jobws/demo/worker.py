"""A worker process: BullMQ's own Python `Worker`, with processors that do real work.

It ends with its standard input, so that it never outlives the demo, whatever ended that.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bullmq import Worker

from jobws.demo.techstack import analyse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bullmq import Job

    Processor = Callable[[Mapping[str, object], Path, Callable[[float], None]], dict[str, object]]

PROCESSORS: Final[dict[str, Processor]] = {"techstack": analyse}
# BullMQ blocks for up to 10 s in one command, longer than redis-py's default time-out of 5 s.
_SOCKET_TIMEOUT_SECONDS: Final = 30


async def _process(processor: Processor, root: Path, job: Job, _token: str) -> dict[str, object]:
    """Do one job in a thread, so that BullMQ can renew its lock meanwhile."""
    loop = asyncio.get_running_loop()

    def progress(percent: float) -> None:
        asyncio.run_coroutine_threadsafe(_report(job, percent), loop).result()

    data = job.data if isinstance(job.data, dict) else {}
    return await asyncio.to_thread(processor, data, root, progress)


async def _report(job: Job, percent: float) -> None:
    await job.updateProgress(percent)


async def work(redis_url: str, root: Path, queues: Sequence[str], prefix: str) -> None:
    """Serve `queues` until standard input ends. Says `ready` on standard output."""
    separator = "&" if "?" in redis_url else "?"
    options = {"connection": f"{redis_url}{separator}socket_timeout={_SOCKET_TIMEOUT_SECONDS}", "prefix": prefix}
    workers = [Worker(queue, partial(_process, PROCESSORS[queue], root), options) for queue in queues]
    print("ready", flush=True)  # noqa: T201 - whoever started us waits for it
    try:
        await asyncio.to_thread(sys.stdin.read)
    finally:
        for worker in workers:
            await worker.close(force=True)


def main() -> None:
    """`python -m jobws.demo.worker`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", required=True, help="Redis URL")
    parser.add_argument("--root", type=Path, default=Path(), help="directory that jobs may read")
    parser.add_argument("--queue", action="append", choices=sorted(PROCESSORS), help="default: all")
    parser.add_argument("--prefix", default="bull")
    arguments = parser.parse_args()
    asyncio.run(work(arguments.redis, arguments.root, arguments.queue or sorted(PROCESSORS), arguments.prefix))


if __name__ == "__main__":
    main()
