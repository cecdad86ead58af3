"""Where no WebSocket gets through to the bridge, HTTP carries the events, until one does. The page is of a foreign origin."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import trio

from tests.support import eventually
from tests.support.blocking_proxy import BlockingProxy
from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.browser import Chromium, Page
    from tests.support.page_server import PageServer
    from tests.support.redis import Redis

JOBS: Final = 20
# In milliseconds. How soon WebSocket is tried again is what tests decide.
OPTIONS: Final = {"reconnectionDelay": 10, "reconnectionDelayMax": 10, "timeout": 1000}
# Far less than a poll waits for news.
ANSWER_SECONDS: Final = 10
FOLLOW: Final = """([bridge, count, options]) => {
    window.jobs = io(bridge, options);
    window.seen = [];
    window.states = [];
    for (const name of ['connect', 'disconnect']) jobs.on(name, () => states.push(name));
    jobs.on('transport', (transport) => states.push(transport));
    for (const name of ['progress', 'completed']) jobs.on(name, (job) => seen.push(`${name} ${job.jobId} ${job.data}`));
    const ids = [...Array(count).keys()].map(String);
    return jobs.emitWithAck('subscribe-job', { jobs: ids, queue: 'http' });
}"""


class Setting(NamedTuple):
    """A page that follows jobs through a proxy."""

    page: Page
    proxy: BlockingProxy
    redis: Redis

    async def carried_by(self, transport: str) -> None:
        await self.page.until("transport => jobs.transport === transport", transport)

    def tell(self, event: str, number: int) -> list[str]:
        """Write an event of each job; what the page will have seen."""
        for job in range(JOBS):
            self.redis.add_event("http", event, str(job), returnvalue="1", prev="active", data=number)
        return [f"{event} {job} {number}" for job in range(JOBS)]

    async def saw(self, events: list[str]) -> None:
        """Wait until as many events were seen; they must be these, each once."""
        await self.page.until("count => seen.length >= count", len(events))
        assert sorted(await self.page.run("seen")) == sorted(events)


@asynccontextmanager
async def following(
    redis: Redis, chromium: Chromium, pages: PageServer, *, upgrade: float = 300, **proxy: Any
) -> AsyncIterator[Setting]:
    async with (
        live_bridge(redis.url, allowed_origins=(pages.origin,)) as live,
        trio.open_nursery() as nursery,
        chromium.page(f"{pages.origin}/blank.html") as page,
    ):
        between = BlockingProxy(int(live.url.rpartition(":")[2]))
        for name, value in proxy.items():
            setattr(between, name, value)
        nursery.start_soon(between.run)
        options = {**OPTIONS, "upgradeDelay": upgrade, "upgradeDelayMax": upgrade}
        with trio.fail_after(ANSWER_SECONDS):
            await page.run(FOLLOW, [f"http://127.0.0.1:{between.port}", JOBS, options])
        yield Setting(page, between, redis)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("blocks", "buffers", "transport"),
    [("refuse", False, "sse"), ("swallow", False, "sse"), ("refuse", True, "polling"), ("swallow", True, "polling")],
)
async def test_http_carries_the_events_until_a_websocket_gets_through(
    redis: Redis, chromium: Chromium, pages: PageServer, blocks: str, buffers: bool, transport: str
) -> None:
    async with following(redis, chromium, pages, websockets=blocks, buffers=buffers) as setting:
        await setting.carried_by(transport)
        events = setting.tell("progress", 1)
        await setting.saw(events)
        events += setting.tell("progress", 2)
        refused = setting.proxy.refused
        await eventually(lambda: setting.proxy.refused > refused)  # it tries again and again
        await setting.saw(events)
        setting.proxy.websockets = "pass"
        events += setting.tell("progress", 3)
        await setting.carried_by("websocket")
        events += setting.tell("completed", 4)
        await setting.saw(events)
        # To the page it is one connection, which nothing interrupts.
        assert await setting.page.run("states") == ["connect", transport, "websocket"]
