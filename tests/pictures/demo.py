"""The demo as a process, with jobs that are worth looking at."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from anyio.from_thread import start_blocking_portal

import jobws.sync
from jobws.errors import JobFailed
from tests.support.demo import add_flow, running_demo

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_MILLISECONDS: Final = 86_400_000
# Names, queues, data and BullMQ's options of jobs. Some fail, and some are not due. `API` is the URL of the bridge's.
JOBS: Final[list[tuple[str, str, dict[str, object], dict[str, object]]]] = [
    ("scan server", "techstack", {"path": "server"}, {}),
    ("scan client", "techstack", {"path": "client"}, {}),
    ("scan archive", "techstack", {"path": "archive/2025"}, {"attempts": 2}),
    ("scan all", "techstack", {"path": "."}, {}),
    ("nightly scan", "techstack", {"path": "."}, {"delay": DAY_MILLISECONDS}),
    ("scan web", "techstack", {"path": "web"}, {}),
    ("is the API there", "http", {"url": "API"}, {}),
    ("is the API there", "http", {"url": "API"}, {}),
    ("a port without a server", "http", {"url": "http://127.0.0.1:9/"}, {}),
    ("count triples", "sparql", {"query": "SELECT (COUNT(*) AS ?n) WHERE { ?s ?p ?o }"}, {}),
]


class Demo(NamedTuple):
    """A running demo.

    Attributes:
        url: The bridge's URL.
        redis_url: The URL of its Redis, with the password.
        jobs: A client.
    """

    url: str
    redis_url: str
    jobs: jobws.sync.Jobs

    def work(self) -> None:
        """Add `JOBS`, and wait until those that are due have ended."""
        added = [(queue, self._add(name, queue, data, opts), opts) for name, queue, data, opts in JOBS]
        for queue, job_id, opts in added:
            if "delay" not in opts:
                self.wait(queue, job_id)

    def work_for(self, seconds: float) -> None:
        """Add some of `JOBS`, and now and then a long one, at irregular times, for so long."""
        chance = random.Random(3)
        due = [job for job in JOBS if "delay" not in job[3]] + [("audit server", "analyzer", {"path": "server"}, {})]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for job in chance.sample(due, chance.randint(1, 4)):
                self._add(*job)
            time.sleep(chance.uniform(2, 15))

    def _add(self, name: str, queue: str, data: dict[str, object], opts: dict[str, object]) -> str:
        given = {**data, "url": f"{self.url}/openapi.json"} if data.get("url") == "API" else data
        return self.jobs.submit(queue, given, name=name, opts=opts).job_id

    def flow(self) -> str:
        """Add a flow of four jobs, wait until it has completed, and return the id of its top, a job of `sparql`."""
        below = [
            {"name": "scan server", "queueName": "techstack", "data": {"path": "server"}},
            {"name": "scan web", "queueName": "techstack", "data": {"path": "web"}},
            {"name": "audit demo", "queueName": "analyzer", "data": {"path": "demo"}},
        ]
        update = "INSERT DATA { <urn:project:jobws> <urn:project:scans> 3 }"
        flow: dict[str, object] = {"name": "report on the project", "queueName": "sparql", "data": {"update": update}}
        with start_blocking_portal("asyncio") as portal:  # Playwright's loop runs in this thread
            job_id = portal.call(add_flow, self.redis_url, {**flow, "children": below})
        self.wait("sparql", job_id)
        return job_id

    def wait(self, queue: str, job_id: str) -> None:
        """Wait until a job has ended, well or not."""
        with suppress(JobFailed):
            self.jobs.wait(job_id, queue)

    def redis(self) -> dict[str, str]:
        """Return what programs for Node need in their environment to reach Redis."""
        parts = urlsplit(self.redis_url)
        return {"REDIS_PORT": str(parts.port), "REDIS_PASSWORD": parts.password or ""}


@contextmanager
def demo() -> Iterator[Demo]:
    """Run `jobws demo`. Its own jobs have ended when the context begins."""
    with running_demo() as urls, jobws.sync.connect(urls.bridge) as jobs:
        yield Demo(urls.bridge, urls.redis, jobs)
