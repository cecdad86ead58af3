"""What all views are looked at on: the demo, bridges of several kinds on its Redis, and jobs in every state."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import redis

import jobws.sync
from tests.pictures import holding
from tests.pictures.bridges import allowing, bridge
from tests.support.authorizer import Authorizer
from tests.support.extension import ORIGIN
from tests.support.page_server import PageServer
from tests.support.signing import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.pictures.demo import Demo

EVERYTHING: Final = ("--allow-actions", "--show-data", "*", "--show-stacktraces", "*")
WAITING: Final = "mails"
"""A queue without a worker."""
MANY: Final = 400


class Stage(NamedTuple):
    """What views are looked at on.

    Attributes:
        urls: The URLs of bridges: `open` shows and does everything, `keyed` wants a token, `asking` asks `authorizer`,
            `one` has one queue, `empty` none; and of `host`, which serves pages of somebody else.
        jobs: Jobs, as QUEUE/ID, by what is to be seen of them.
        client: A client of `open`.
        redis: A client of Redis.
        authorizer: Whom `asking` asks.
        pages: The files of somebody else, by their paths.
    """

    urls: dict[str, str]
    jobs: dict[str, str]
    client: jobws.sync.Jobs
    redis: redis.Redis
    authorizer: Authorizer
    pages: dict[str, bytes]

    def address(self, text: str) -> str:
        """Return a text with the names of bridges and jobs in braces replaced by their URLs and paths."""
        return text.format(**self.urls, **self.jobs)

    def add(self, queue: str, data: object, name: str) -> str:
        """Add a job, and return it as QUEUE/ID."""
        return f"{queue}/{self.client.submit(queue, data, name=name).job_id}"


@contextmanager
def stage(started: Demo) -> Iterator[Stage]:
    """Start bridges, and add jobs in every state."""
    pages: dict[str, bytes] = {}
    with ExitStack() as stack:
        server = stack.enter_context(PageServer(pages.get))
        authorizer = stack.enter_context(Authorizer(ttl=1))
        secret = {"JOBWS_JWT_SECRET": SECRET.decode()}
        urls = {
            "open": stack.enter_context(bridge(started.redis_url, *EVERYTHING, *allowing(server.origin, ORIGIN))),
            "keyed": stack.enter_context(bridge(started.redis_url, *allowing(ORIGIN), **secret)),
            "asking": stack.enter_context(bridge(started.redis_url, "--authorize-url", authorizer.url)),
            "one": stack.enter_context(bridge(started.redis_url, queues="http")),
            "empty": stack.enter_context(bridge(started.redis_url, "--prefix", "none", "--logs-stream", "none")),
            "host": server.origin,
        }
        client = stack.enter_context(jobws.sync.connect(urls["open"]))
        connection = stack.enter_context(redis.Redis.from_url(started.redis_url))
        on = Stage(urls, {}, client, connection, authorizer, pages)
        stack.enter_context(_jobs(started, on))
        yield on


@contextmanager
def _jobs(started: Demo, on: Stage) -> Iterator[None]:
    """Add jobs in every state. One of them is active until the end of the context."""
    started.work()
    on.jobs["flow"] = f"sparql/{started.flow()}"
    for port in (7, 9, 11):
        on.jobs["failed"] = on.add("http", {"url": f"http://127.0.0.1:{port}/"}, name="a port without a server")
        started.wait(*on.jobs["failed"].split("/"))
    on.jobs["large"] = on.add("analyzer", {"path": "server"}, name="audit server")
    for each in range(MANY):
        on.jobs["waiting"] = on.add(WAITING, {"to": f"reader-{each}@example.com"}, name="monthly letter")
    on.jobs["delayed"] = f"{WAITING}/{on.client.submit(WAITING, {}, name='reminder', opts={'delay': 10**8}).job_id}"
    on.jobs["active"] = on.add(holding.QUEUE, {"scene": "harbour"}, name="render the harbour")
    on.add(holding.QUEUE, {"scene": "lighthouse"}, name="render the lighthouse")
    started.wait(*on.jobs["large"].split("/"))
    command = [sys.executable, "-m", "tests.pictures.holding", started.redis_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.kill()
