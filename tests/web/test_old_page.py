"""A page for the Socket.IO bridge: with one line changed it shows the same, and also what the old bridge loses."""

from __future__ import annotations

import json
import signal
from typing import IO, TYPE_CHECKING, Any, Final

import trio
from anyio.to_thread import run_sync

from tests.bench.servers import OPPONENT
from tests.chaos.bridges import BridgeAtPort
from tests.chaos.proxy import Proxy
from tests.chaos.worker import working
from tests.support import eventually
from tests.support.node import install_packages
from tests.support.page_server import PAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.bridges import Kind
    from tests.support.browser import Chromium, Page
    from tests.support.page_server import PageServer
    from tests.support.redis import Redis

QUEUES: Final = ("http", "analyzer")
# The old bridge has four queues, and reads each one from the moment when it first waits for the queue.
OLD_READERS: Final = 4


class Side:
    """A bridge and its page."""

    def __init__(self, kind: Kind, redis: Redis, pages: PageServer) -> None:
        self.bridge = BridgeAtPort(kind, redis.url, pages.origin)
        self.proxy = Proxy(self.bridge.port)
        self.page: Page
        self._redis = redis

    async def start(self) -> None:
        await run_sync(self.bridge.start)
        if self.bridge.kind == "socketio":
            await eventually(lambda: str(self._redis.client.client_list()).count("'cmd': 'xread'") >= OLD_READERS)

    def url(self, path: str, jobs: Sequence[str]) -> str:
        return f"{path}?bridge=http://127.0.0.1:{self.proxy.port}" + "".join(f"&job={job}" for job in jobs)

    async def subscribe(self, job_id: str) -> None:
        await self.page.run("id => subscribe(id)", job_id)

    async def says(self, state: str) -> None:
        await self.page.until("state => document.querySelector('#state').textContent === state", state)

    async def shows(self, count: int) -> list[Any]:
        """Wait until the page shows so many lines, and return them."""
        await self.page.until("count => document.querySelectorAll('li').length >= count", count)
        lines = await self.page.run("[...document.querySelectorAll('li')].map(line => JSON.parse(line.textContent))")
        return sorted(lines)


def add_jobs(worker: IO[str], count: int) -> None:
    """Add jobs to both queues. Their ids are numbers that each queue counts, so both queues have the same ids."""
    for number in range(count):
        for queue in QUEUES:
            data = {"seconds": 0, "fails": "échec" if number % 3 == 2 else None, "result": {"of": queue, "n": number}}
            task = {"name": "chaos", "data": data, "opts": {}}
            print(json.dumps({"queue": queue, "jobs": [task]}), file=worker, flush=True)


async def ends(redis: Redis, jobs: Sequence[str]) -> list[Any]:
    """Wait until all jobs have ended, and return how, from their hashes."""

    def read(queue: str, job: str) -> dict[str, str]:
        fields: Any = redis.client.hgetall(f"bull:{queue}:{job}")
        return {name.decode(): value.decode() for name, value in fields.items()}

    await eventually(lambda: all("finishedOn" in read(queue, job) for queue in QUEUES for job in jobs))
    lines = []
    for queue in QUEUES:
        for job in jobs:
            fields = read(queue, job)
            failed = fields.get("failedReason")
            outcome = ["completed", queue, job, json.loads(fields["returnvalue"])] if failed is None else None
            lines.append([*(outcome or ["failed", queue, job, failed]), "active"])
    return sorted(lines)


async def test_one_changed_line_shows_the_same_and_more(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    await run_sync(install_packages, PAGES, "socket.io-client")
    await run_sync(install_packages, OPPONENT, "socket.io")
    old, new = Side("socketio", redis, pages), Side("jobws", redis, pages)
    for queue in QUEUES:
        redis.make_queue(queue)
    with old.bridge, new.bridge, working(redis.url, *QUEUES) as worker:
        async with trio.open_nursery() as nursery:
            for side in (old, new):
                nursery.start_soon(side.proxy.run)
                await side.start()
            jobs = ["1", "2", "3"]
            async with (
                chromium.page(old.url(f"{pages.origin}/old.html", jobs)) as old.page,
                chromium.page(new.url(f"{pages.origin}/new.html", jobs)) as new.page,
            ):
                for side in (old, new):
                    await side.says("3 subscribed")
                add_jobs(worker, 3)
                truth = await ends(redis, jobs)
                assert await old.shows(6) == truth
                assert await new.shows(6) == truth

                # Job 4 has ended before the page subscribes to it.
                add_jobs(worker, 1)
                late = await ends(redis, ["4"])
                for side in (old, new):
                    await side.subscribe("4")
                    await side.says("4 subscribed")
                assert await new.shows(8) == sorted(truth + late)

                # The network is cut, and jobs end meanwhile.
                for side in (old, new):
                    for job in ("5", "6"):
                        await side.subscribe(job)
                    await side.says("6 subscribed")
                    side.proxy.open = False
                    side.proxy.cut()
                    await side.says("disconnected")
                add_jobs(worker, 1)
                cut = await ends(redis, ["5"])
                for side in (old, new):
                    side.proxy.open = True
                    await side.says("6 subscribed")
                assert await new.shows(10) == sorted(truth + late + cut)

                # The bridge is restarted.
                for side in (old, new):
                    await run_sync(side.bridge.end, signal.SIGTERM)
                    await side.says("disconnected")
                add_jobs(worker, 1)
                restart = await ends(redis, ["6"])
                for side in (old, new):
                    await side.start()
                    await side.says("6 subscribed")
                assert await new.shows(12) == sorted(truth + late + cut + restart)

                # Each outcome comes once. The old page shows none, but that of job 4 if its bridge read it late.
                read_late = [each for each in late if each in await old.shows(6)]
                for side in (old, new):
                    await side.subscribe("7")
                    await side.says("7 subscribed")
                add_jobs(worker, 1)
                last = await ends(redis, ["7"])
                assert await new.shows(14) == sorted(truth + late + cut + restart + last)
                assert await old.shows(8 + len(read_late)) == sorted(truth + read_late + last)
            nursery.cancel_scope.cancel()
