"""Queues and workers of BullMQ in a process, for Node and for Python."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread

from tests.support.node import NodeProcess, install_packages
from tests.support.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import Redis

QUEUES: Final = ("http", "sparql", "techstack")


class Workers:
    """Each of `QUEUES` with a worker. A job does what its data say as `do`; see tests/node/actions.mjs."""

    def __init__(self, process: Program) -> None:
        self._process = process

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the process, and return its answer."""
        self._process.write_line(json.dumps([method, *arguments]))
        return json.loads(await anyio.to_thread.run_sync(self._process.read_line))


@contextmanager
def node_workers(redis: Redis) -> Iterator[Workers]:
    """Yield those of tests/node/actions.mjs. The test is skipped if Node is missing."""
    install_packages()
    password = redis.server.url.split(":")[2].split("@")[0]
    with NodeProcess("actions.mjs", str(redis.server.port), password, *QUEUES) as process:
        yield Workers(process)


@contextmanager
def python_workers(redis: Redis) -> Iterator[Workers]:
    """Yield those of `python_workers`, which have fewer methods."""
    with Program(sys.executable, "-m", "tests.support.python_workers", redis.url, *QUEUES) as process:
        yield Workers(process)
