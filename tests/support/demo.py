"""`jobws demo` as a process, a page for its jobs to fetch, and flows for its queues."""

from __future__ import annotations

import re
import threading
from collections import deque
from contextlib import contextmanager
from os import environ
from signal import SIGTERM
from typing import TYPE_CHECKING, NamedTuple

from tests.support import EVENTUALLY_SECONDS
from tests.support.http_server import HttpServer, Reply
from tests.support.started import PIPE, Started

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class DemoUrls(NamedTuple):
    """Where a running demo is.

    Attributes:
        bridge: The bridge's URL.
        redis: The URL of its Redis, with the password.
    """

    bridge: str
    redis: str


@contextmanager
def running_demo(*arguments: str) -> Iterator[DemoUrls]:
    """Run `jobws demo` on a free port. Its own jobs have ended when the context begins."""
    process = Started("jobws", "demo", "--port", "0", *arguments, env=dict(environ), stdout=PIPE)
    assert process.stdout is not None
    # What nobody reads would fill the pipe, and stop the demo.
    rest = threading.Thread(target=deque, args=(process.stdout, 0))
    try:
        urls = DemoUrls(_told(process.stdout, "bridge"), _told(process.stdout, "Redis"))
        rest.start()
        yield urls
    finally:
        process.send_signal(SIGTERM)
        process.wait()
        if rest.is_alive():
            rest.join()
        process.stdout.close()


def _told(lines: Iterable[str], name: str) -> str:
    """Read up to the line that tells the URL of this name, and return the URL."""
    for line in lines:
        found = re.match(rf"  {name} +(\S+)$", line)
        if found is not None:
            return found[1]
    raise RuntimeError("the demo ended")


class HeldPage(HttpServer):
    """A page that jobs of the queue `http` fetch. Use it as a context manager."""

    def __init__(self) -> None:
        self._ends = threading.Event()
        self._ends.set()
        super().__init__(lambda _: Reply(self._pieces()))

    def _pieces(self) -> Iterator[bytes]:
        yield b"<!doctype html>"
        self._ends.wait(EVENTUALLY_SECONDS)
        yield b"<title>all of it</title>"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Send a part of the page only, until the end of the context. A job that fetches it stays at 50 %."""
        self._ends.clear()
        try:
            yield
        finally:
            self._ends.set()


class Demo(NamedTuple):
    """A demo that tests share.

    Attributes:
        url: The URL of its bridge.
        redis_url: The URL of its Redis.
        root: The folder that its jobs may read.
        page: The page that its first job of the queue `http` fetched.
    """

    url: str
    redis_url: str
    root: Path
    page: HeldPage


async def add_flow(redis_url: str, flow: dict[str, object]) -> str:
    """Add a flow with BullMQ's `FlowProducer`, on asyncio. Return the id of the job at the top."""
    from bullmq import FlowProducer

    flows = FlowProducer(redis_url)
    try:
        return str((await flows.add(flow))["job"].id)
    finally:
        await flows.close()
