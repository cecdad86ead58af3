"""What can happen to a page: its network goes and comes back, and its tab is hidden, frozen, and shown again."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import trio

from tests.chaos.proxy import Proxy
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.fake_bridge import fake_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.browser import Chromium, Window
    from tests.support.page_server import PageServer
    from tests.support.redis import Redis

JOBS = 20
# In milliseconds: so long that only a reason to check immediately can bring the client back within a test.
PATIENCE = 1e9
FOLLOW = """([bridge, count, reconnectionDelay]) => {
    window.jobs = io(bridge, { reconnectionDelay, reconnectionDelayMax: reconnectionDelay });
    window.seen = [];
    window.states = [];
    for (const name of ['connect', 'disconnect']) jobs.on(name, () => states.push(name));
    for (const name of ['progress', 'completed']) jobs.on(name, (job) => seen.push(`${name} ${job.jobId}`));
    const ids = [...Array(count).keys()].map(String);
    return jobs.emitWithAck('subscribe-job', { jobs: ids, queue: 'http' });
}"""


class Setting(NamedTuple):
    """A page that follows jobs through a network that can fail."""

    page: Window
    proxy: Proxy
    redis: Redis

    def tell(self, event: str, jobs: range) -> list[str]:
        """Write the event of each job. Return what the page must then have seen."""
        for job in jobs:
            self.redis.add_event("http", event, str(job), returnvalue="1", prev="active", data="1")
        return [f"{event} {job}" for job in jobs]

    async def cut(self) -> None:
        self.proxy.open = False
        self.proxy.cut()
        await self.page.until("states.at(-1) === 'disconnect'")

    async def saw(self, events: list[str]) -> None:
        """Wait until the page has seen as many events. They must be these, each one once."""
        await self.page.until("count => seen.length >= count", len(events))
        assert sorted(await self.page.run("seen")) == sorted(events)


@asynccontextmanager
async def following(
    redis: Redis, chromium: Chromium, pages: PageServer, delay_ms: float = 100
) -> AsyncIterator[Setting]:
    async with (
        live_bridge(redis.url, allowed_origins=(pages.origin,)) as live,
        trio.open_nursery() as nursery,
        chromium.window(f"{pages.origin}/blank.html") as page,
    ):
        proxy = Proxy(int(live.url.rpartition(":")[2]))
        nursery.start_soon(proxy.run)
        await page.run(FOLLOW, [f"http://127.0.0.1:{proxy.port}", JOBS, delay_ms])
        yield Setting(page, proxy, redis)
        nursery.cancel_scope.cancel()


async def test_a_network_that_comes_and_goes(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """Nothing is lost, and nothing comes twice. The browser's event `online` brings the page back immediately."""
    async with following(redis, chromium, pages, PATIENCE) as setting:
        events = []
        for first in range(0, JOBS, 5):
            events += setting.tell("progress", range(first, JOBS))
            await setting.cut()
            await setting.page.set_offline(True)
            events += setting.tell("completed", range(first, first + 5))
            setting.proxy.open = True
            await setting.page.set_offline(False)
            await setting.saw(events)
        assert await setting.page.run("states") == ["connect", *["disconnect", "connect"] * (JOBS // 5)]


async def test_a_connection_that_dies_unseen(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """While there is no network, a browser does not notice that its connection is gone.

    At `online`, the client finds this out.
    """
    async with following(redis, chromium, pages) as setting:
        await setting.page.set_offline(True)
        setting.proxy.cut()
        events = setting.tell("completed", range(JOBS))
        await setting.page.set_offline(False)
        await setting.saw(events)


async def test_a_hidden_tab_that_returns_looks_at_once(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """If a connection seems to exist, the client checks it with a ping. A lost one is made again."""
    async with following(redis, chromium, pages, PATIENCE) as setting:
        page = setting.page
        await page.hide()
        await page.run("jobs.emitWithAck('ping')")
        page.sent.clear()
        await page.show()
        await eventually(lambda: bool(page.sent))
        assert [json.loads(text)["event"] for text in page.sent] == ["ping"]

        await page.hide()
        await setting.cut()
        setting.proxy.open = True
        events = setting.tell("completed", range(JOBS))
        assert await page.run("states") == ["connect", "disconnect"]
        await page.show()
        await setting.saw(events)


async def test_an_event_of_the_time_of_the_look_up_is_shown_at_once(chromium: Chromium, pages: PageServer) -> None:
    """The event is not marked as a replay, so the page does not wait for a `pong` after the last replay."""
    async with (
        fake_bridge() as bridge,
        chromium.page(f"{pages.origin}/blank.html") as page,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(page.run, FOLLOW, [bridge.url, 1, 100])
        connection = await bridge.accept()
        request = await connection.receive()
        ack = {"request": request["event"], "results": [{"jobs": []}], "after": {"http": "4-0"}}
        await connection.send("ack", ack, ref=request["ref"])
        await connection.job_event("progress", "0", id="5-1", replayed=True, data={"queue": "http", "data": 1})
        await connection.job_event("progress", "0", id="5-2", data={"queue": "http", "data": 2})
        await page.until("seen.length === 2")
        nursery.cancel_scope.cancel()


async def test_a_frozen_tab(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """Chromium stops the scripts of a tab that was hidden for long.

    The page gets what happened meanwhile when it goes on.
    """
    async with following(redis, chromium, pages) as setting:
        await setting.page.freeze()
        events = setting.tell("progress", range(JOBS))
        setting.proxy.cut()
        events += setting.tell("completed", range(JOBS))
        await setting.page.show()
        await setting.saw(events)
