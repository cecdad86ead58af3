"""If no WebSocket gets through to the bridge, events come over HTTP until one does. All pages have another origin."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import pytest
import trio

from tests.support import eventually
from tests.support.blocking_proxy import BlockingProxy
from tests.support.bridge import live_bridge
from tests.support.page_server import PageServer, page_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

JOBS: Final = 20
# In milliseconds. Tests decide how soon a WebSocket is tried again. It must not be much more often than here: after 16
# failures in some minutes, Chromium delays the WebSockets of a page by up to 5 s, which is more than `timeout`.
OPTIONS: Final = {"reconnectionDelay": 10, "reconnectionDelayMax": 10, "timeout": 2000, "upgradeDelayMax": 5000}
# Much shorter than a poll waits for news.
ANSWER_SECONDS: Final = 20
# In turn: what happens to WebSockets, whether responses are held back, and over what events then come.
WAYS: Final[list[tuple[Literal["pass", "refuse", "swallow"], bool, str]]] = [
    ("refuse", False, "sse"),
    ("pass", False, "websocket"),
    ("refuse", True, "polling"),
    ("pass", True, "websocket"),
    ("swallow", False, "sse"),
]
FOLLOW: Final = """([bridge, count, options]) => {
    window.tries = { sockets: 0, streams: 0 };
    const { fetch, WebSocket } = window;
    window.fetch = (url, ...rest) => {
        tries.streams += url.endsWith('/events');
        return fetch(url, ...rest);
    };
    window.WebSocket = class extends WebSocket {
        constructor(...values) {
            super(...values);
            tries.sockets++;
        }
    };
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
        """Write an event of each job. Return what the page must then have seen."""
        for job in range(JOBS):
            self.redis.add_event("http", event, str(job), returnvalue="1", prev="active", data=number)
        return [f"{event} {job} {number}" for job in range(JOBS)]

    async def saw(self, events: list[str]) -> None:
        """Wait until the page has seen as many events. They must be these, each one once."""
        await self.page.until("count => seen.length >= count", len(events))
        assert sorted(await self.page.run("seen")) == sorted(events)


@asynccontextmanager
async def following(
    redis: Redis, chromium: Chromium, pages: PageServer, *, upgrade: float | None = 300, **proxy: Any
) -> AsyncIterator[Setting]:
    async with (
        live_bridge(redis.url, allowed_origins=(pages.origin,), progress_ms=0) as live,  # progress is not merged
        trio.open_nursery() as nursery,
        chromium.page(f"{pages.origin}/blank.html") as page,
    ):
        between = BlockingProxy(int(live.url.rpartition(":")[2]))
        for name, value in proxy.items():
            setattr(between, name, value)
        nursery.start_soon(between.run)
        options = OPTIONS if upgrade is None else {**OPTIONS, "upgradeDelay": upgrade}
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
        await eventually(lambda: setting.proxy.refused > refused)  # the page tries again and again
        await setting.saw(events)
        setting.proxy.websockets = "pass"
        events += setting.tell("progress", 3)
        await setting.carried_by("websocket")
        events += setting.tell("completed", 4)
        await setting.saw(events)
        # For the page it is one connection without an interruption.
        states = await setting.page.run("states")
        assert [each for each in states if "connect" in each] == ["connect"]
        # A stream that begins late, as on a busy machine, looks at first as if a network held it back.
        assert states[1:] in ([transport, "websocket"], ["polling", transport, "websocket"])


async def test_a_stream_that_is_tried_again_tries_no_websockets(
    redis: Redis, chromium: Chromium, pages: PageServer
) -> None:
    """While a page polls, each round tries one WebSocket and one stream."""
    async with following(redis, chromium, pages, websockets="refuse", buffers=True) as setting:
        await setting.carried_by("polling")
        await setting.page.run("tries.sockets = tries.streams = 0")
        await setting.page.until("tries.streams >= 3")
        tries = await setting.page.run("tries")
        assert tries["sockets"] == tries["streams"]


async def test_a_websocket_is_soon_tried_again(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """A bridge that starts again may answer over HTTP first, which says nothing about the network."""
    async with following(redis, chromium, pages, upgrade=None, websockets="refuse") as setting:
        await setting.carried_by("sse")
        setting.proxy.websockets = "pass"
        with trio.fail_after(ANSWER_SECONDS):
            await setting.carried_by("websocket")


async def test_a_stream_that_only_was_slow_is_tried_again(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """On a busy machine, a stream begins late, as if a network held it back.

    The client uses polls only while this lasts.
    """
    async with following(redis, chromium, pages, websockets="refuse", buffers=True) as setting:
        await setting.carried_by("polling")
        events = setting.tell("progress", 1)
        await setting.saw(events)
        setting.proxy.buffers = False
        events += setting.tell("progress", 2)
        await setting.carried_by("sse")
        events += setting.tell("completed", 3)
        await setting.saw(events)
        assert await setting.page.run("states") == ["connect", "polling", "sse"]


async def test_a_fallback_that_does_not_load_is_loaded_again(redis: Redis, chromium: Chromium) -> None:
    """The first request for the fallback is never answered, and browsers wait for it for long."""
    asked, ended = threading.Event(), threading.Event()

    def answer(path: str) -> bytes | None:
        if path == "jobws-http.js" and not asked.is_set():
            asked.set()
            ended.wait()
        return page_file(path)

    with PageServer(answer) as pages:
        try:
            async with following(redis, chromium, pages, websockets="refuse") as setting:
                await setting.carried_by("sse")
                assert asked.is_set()
        finally:
            ended.set()


async def test_nothing_is_lost_or_doubled_from_one_transport_to_the_next(
    redis: Redis, chromium: Chromium, pages: PageServer
) -> None:
    """Events are written all the time, while WebSockets are blocked and allowed, responses are held back, and
    connections are cut.
    """
    async with following(redis, chromium, pages) as setting, trio.open_nursery() as nursery:
        events: list[str] = []
        ended = trio.Event()

        async def write() -> None:
            while not ended.is_set():
                events.extend(setting.tell("progress", len(events)))
                await trio.sleep(0.02)

        for websockets, buffers, transport in WAYS:
            setting.proxy.websockets = websockets
            setting.proxy.buffers = buffers
            setting.proxy.cut()
            if not events:
                nursery.start_soon(write)
            await setting.carried_by(transport)
            await setting.page.until("count => seen.length > count", len(events))
        ended.set()
        events += setting.tell("completed", 0)
        await setting.saw(events)


async def test_polls_leave_the_bridge_the_time_to_be_sure(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """The position at the end of an answer is older than its events.

    A client that asks again immediately gets all of them again.
    """
    async with following(redis, chromium, pages, upgrade=1e9, websockets="refuse", buffers=True) as setting:
        await setting.carried_by("polling")
        events: list[str] = []
        for number in range(4):
            events += setting.tell("progress", number)
            await setting.saw(events)
        polls = "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('wait=20'))"
        begun = await setting.page.run(f"{polls}.map(({{ startTime }}) => startTime)")
        assert len(begun) >= 3
        assert min(later - earlier for earlier, later in pairwise(begun)) > 250
