"""The browser extension in Chromium, with a real bridge: its worker sleeps, wakes, and misses no outcome."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.support import eventually
from tests.support.blocking_proxy import BlockingProxy
from tests.support.bridge import live_bridge
from tests.support.extension import EVERYTHING, ORIGIN, USE, WATCH
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.bridge import Live
    from tests.support.extension_browser import ExtensionBrowser, ExtensionPage
    from tests.support.redis import Redis

TOLD: Final = "chrome.notifications.getAll().then(Object.keys)"
BADGE: Final = "chrome.action.getBadgeText({})"
TEXT: Final = "document.body.innerText"
KEPT: Final = "(area) => chrome.storage[area].get()"
# Takes all the memory that the browser gives to the extension.
FILL: Final = """async () => {
    let number = 0;
    for (let size = 4e6; size >= 60; size /= 2)
        try {
            for (;;) await chrome.storage.session.set({ [`shown:filler ${number++}`]: 'x'.repeat(size) });
        } catch {} // there is room for less
}"""


def key(queue: str | None, job_id: str) -> str:
    return json.dumps([queue, job_id], separators=(",", ":"))


def content(folder: Path) -> bytes:
    """Return what is in all files of a folder."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def until_rooms(live: Live, wanted: int) -> None:
    """Wait until so many jobs have a subscription."""
    await eventually(lambda: len(live.bridge.fanout.rooms) == wanted)


@asynccontextmanager
async def watching(
    redis: Redis, extension: ExtensionBrowser, *jobs: tuple[str | None, str], **settings: Any
) -> AsyncIterator[tuple[Live, ExtensionPage]]:
    """Yield a bridge, and a page of the extension, whose worker has subscribed to the jobs."""
    async with (
        live_bridge(redis.url, queues=("http",), allowed_origins=(ORIGIN,), **settings) as live,
        extension.page("/options.html") as page,
    ):
        await page.run(USE, [live.url, ""])
        for queue, job_id in jobs:
            await page.run(WATCH, {"queue": queue, "jobId": job_id})
        await until_rooms(live, len(jobs))
        await page.until(f"{BADGE}.then((text) => text === '{len(jobs) or ''}')")
        yield live, page


async def test_a_stopped_worker_tells_what_ended_meanwhile(redis: Redis, extension: ExtensionBrowser) -> None:
    redis.add_job("http", "7", state="active")
    async with watching(redis, extension, ("http", "7")) as (live, page):
        await extension.stop_worker(page)
        await until_rooms(live, 0)
        await page.run("chrome.alarms.clear('wake')")  # so that only the popup wakes it
        # As with `removeOnComplete`, only the stream has the outcome.
        redis.client.delete("bull:http:7", "bull:http:active")
        redis.add_event("http", "completed", "7", returnvalue='{"pages": 17}', prev="active")
        assert await page.run(TOLD) == []
        assert not await extension.worker_runs()
        async with extension.page("/popup.html") as popup:
            await popup.until("document.querySelector('li .state')?.textContent === 'completed'")
            assert '{"pages":17}' in await popup.run(TEXT)
        assert await page.run(TOLD) == [key("http", "7")]
        await page.until(f"{BADGE}.then((text) => text === '')")


async def test_a_job_that_was_removed_without_an_event_meanwhile(redis: Redis, extension: ExtensionBrowser) -> None:
    redis.add_job("http", "7", state="active")
    async with watching(redis, extension, ("http", "7")) as (live, page):
        await page.until(f"({KEPT})('local').then((kept) => kept['told:{key('http', '7')}']?.state === 'active')")
        await extension.stop_worker(page)
        await until_rooms(live, 0)
        redis.client.delete("bull:http:7", "bull:http:active")
        async with extension.page("/popup.html") as popup:
            await popup.until("document.querySelector('li .state')?.textContent === 'removed'")
        assert await page.run(TOLD) == [key("http", "7")]


@pytest.mark.thorough
async def test_a_stopped_worker_wakes_by_itself(redis: Redis, extension: ExtensionBrowser) -> None:
    redis.add_job("http", "7", state="active")
    async with watching(redis, extension, ("http", "7")) as (live, page):
        await extension.stop_worker(page)
        await until_rooms(live, 0)
        redis.add_event("http", "failed", "7", failedReason="no such page", prev="active")
        assert await page.run(TOLD) == []
        await page.until(f"{TOLD}.then((told) => told.length === 1)")
        assert not await page.run("chrome.alarms.getAll().then((all) => all.length)")


async def test_the_popup_is_live_and_all_of_a_job_is_text(redis: Redis, extension: ExtensionBrowser) -> None:
    hostile = "<img src=x onerror='document.title = 1'>"
    redis.add_job("http", hostile, state="wait", name=hostile)
    async with (
        watching(redis, extension, ("http", hostile)) as (_, page),
        extension.page("/popup.html") as popup,
    ):
        await popup.until("document.querySelector('li .state')?.textContent === 'waiting'")
        assert await popup.run("document.getElementById('connection').textContent") == "live"
        redis.add_event("http", "active", hostile, prev="waiting")
        redis.add_event("http", "progress", hostile, data="62")
        await popup.until("document.querySelector('progress').value === 62")
        assert await popup.run("document.querySelector('li .called').textContent") == f"62 % · http/{hostile}"
        assert await popup.run("document.querySelector('li .name').textContent") == hostile
        redis.add_event("http", "progress", hostile, data='{"done": 7, "total": 10}')
        await popup.until("document.querySelector('progress').value === 70")
        redis.add_event("http", "progress", hostile, data='{"current": 1, "total": 4}')
        await popup.until("document.querySelector('progress').value === 25")
        redis.add_event("http", "progress", hostile, data="140")
        await popup.until("document.querySelector('li .called').textContent.startsWith('100 %')")
        redis.add_event("http", "progress", hostile, data=json.dumps({hostile: hostile}))
        await popup.until(f"document.querySelector('li .called').textContent.startsWith({hostile + ': '!r})")
        redis.add_event("http", "failed", hostile, failedReason=hostile, prev="active")
        await popup.until("document.querySelector('li .state').textContent === 'failed'")
        assert await popup.run("document.querySelector('li .text').textContent") == hostile
        assert await popup.run("document.getElementById('news').textContent") == f"http/{hostile} failed"
        assert await popup.run("[document.images.length, document.title]") == [0, "jobws: watched jobs"]
        await popup.run("document.getElementById('clear').click()")
        await popup.until("!document.querySelector('li')")
        assert set(await page.run(KEPT, "local")) == {"bridge"}


async def test_a_large_progress_costs_little_and_goes_with_the_end(redis: Redis, extension: ExtensionBrowser) -> None:
    redis.add_job("http", "7", state="active")
    async with (
        watching(redis, extension, ("http", "7")) as (_, page),
        extension.page("/popup.html") as popup,
    ):
        await popup.until("document.querySelector('li .state')?.textContent === 'active'")
        redis.add_event("http", "progress", "7", data=json.dumps(["x" * 50_000]))
        await popup.until("document.querySelector('li .called').textContent.includes('xx')")
        shown = f"shown:{key('http', '7')}"
        assert (await page.run(KEPT, "session"))[shown]["progress"] == "x" * 100
        redis.add_event("http", "completed", "7", returnvalue="1", prev="active")
        await popup.until("document.querySelector('li .state').textContent === 'completed'")
        assert "progress" not in (await page.run(KEPT, "session"))[shown]


async def test_an_end_is_told_also_where_nothing_can_be_kept(redis: Redis, extension: ExtensionBrowser) -> None:
    redis.add_job("http", "7", state="active")
    told = f"({KEPT})('local').then((kept) => kept['told:{key('http', '7')}']?.state"
    async with watching(redis, extension, ("http", "7")) as (_, page):
        await page.until(f"{told} === 'active')")
        try:
            await page.run(FILL)
            redis.add_event("http", "failed", "7", failedReason="x" * 300, prev="active")
            await page.until(f"{TOLD}.then((told) => told.length === 1)")
            await page.until(f"{told} === 'failed')")
            assert "text" not in (await page.run(KEPT, "session"))[f"shown:{key('http', '7')}"]
        finally:
            await page.run("chrome.storage.session.clear()")


async def test_where_no_websocket_gets_through(redis: Redis, extension: ExtensionBrowser) -> None:
    redis.add_job("http", "7", state="active")
    async with (
        live_bridge(redis.url, queues=("http",), allowed_origins=(ORIGIN,)) as live,
        trio.open_nursery() as nursery,
        extension.page("/popup.html") as popup,
    ):
        proxy = BlockingProxy(int(live.url.rpartition(":")[2]))
        proxy.websockets = "refuse"
        nursery.start_soon(proxy.run)
        await popup.run(USE, [f"http://127.0.0.1:{proxy.port}", ""])
        await popup.run(WATCH, {"queue": "http", "jobId": "7"})
        await popup.until("document.getElementById('connection').textContent === 'live over HTTP'")
        await popup.until("document.getElementById('problem').hidden")
        redis.add_event("http", "completed", "7", returnvalue="1", prev="active")
        await popup.until(f"{TOLD}.then((told) => told.length === 1)")
        nursery.cancel_scope.cancel()


async def test_the_popup_adds_and_removes_jobs(redis: Redis, extension: ExtensionBrowser) -> None:
    async with watching(redis, extension) as (live, _), extension.page("/popup.html") as popup:
        for text in ("https://board.example/queue/http/9", "https://board.example/", "8"):
            await extension.run(popup.tab.fill, "#job", text)
            await extension.run(popup.tab.press, "#job", "Enter")
            if text.endswith("/"):
                assert await popup.run("document.getElementById('job').validationMessage") == (
                    "That is no job: write QUEUE/ID, an id, or a link to a job."
                )
        shown = "[...document.querySelectorAll('li .name, li .state')].map((it) => it.textContent).join()"
        await popup.until(f"{shown} === '8,not there yet,http/9,not there yet'")
        links = await popup.run("[...document.querySelectorAll('li .name')].map((it) => it.getAttribute('href'))")
        assert links == [None, f"{live.url}/#/jobs/http/9"]
        await until_rooms(live, 2)
        await popup.run("document.querySelectorAll('li .remove')[1].click()")
        await until_rooms(live, 1)
        await popup.until(f"{BADGE}.then((text) => text === '1')")


async def test_a_link_or_a_selection_of_any_page(redis: Redis, extension: ExtensionBrowser) -> None:
    """The browser's own menu cannot be clicked here, so its event is fired."""
    async with watching(redis, extension) as (live, page):
        await extension.in_worker(
            "() => chrome.contextMenus.onClicked.dispatch({ linkUrl: 'https://board.example/queue/http/9' })"
        )
        await extension.in_worker("() => chrome.contextMenus.onClicked.dispatch({ selectionText: ' http/10 ' })")
        await until_rooms(live, 2)
        await extension.in_worker(
            "() => chrome.contextMenus.onClicked.dispatch({ linkUrl: 'https://board.example/', selectionText: '' })"
        )
        await page.until(f"{TOLD}.then((told) => told.includes('nothing found'))")


async def test_a_token_stays_in_memory_and_goes_when_it_is_refused(redis: Redis, extension: ExtensionBrowser) -> None:
    redis.add_job("http", "7", state="active")
    token = jwt("read:jobs:http")
    fill = """([url, token]) => {
        [document.getElementById('url').value, document.getElementById('token').value] = [url, token];
        document.querySelector('form button').click();
    }"""
    async with (
        keyed_bridge(redis.url, queues=("http",), allowed_origins=(ORIGIN,)) as live,
        extension.page("/options.html") as page,
    ):
        assert await page.run("document.getElementById('token').type") == "password"
        await page.run(WATCH, {"queue": "http", "jobId": "7"})
        for wrong in ("", token[:-2]):
            await page.run(fill, [live.url, wrong])
            await page.until("document.getElementById('answer').dataset.fine === 'false'")
            await page.until(f"""{EVERYTHING}.then(({{ bridge, connection }}) =>
                connection.state === 'token' && connection.at === bridge.at)""")
            await page.until(f"({KEPT})('session').then(({{ access }}) => !access?.token)")
            await page.until(f"{TOLD}.then((told) => told.includes('stuck'))")
            await page.run("chrome.notifications.clear('stuck')")
        await page.run(fill, [live.url, token])
        await until_rooms(live, 1)
        await page.until("document.getElementById('answer').textContent.includes('Rights: read:jobs:http')")
        redis.add_event("http", "completed", "7", returnvalue="1", prev="active")
        await page.until(f"{TOLD}.then((told) => told.length === 1)")
        assert token not in json.dumps(await page.run(KEPT, "local"))
        assert await page.run("document.getElementById('token').value") == ""


@pytest.mark.thorough
async def test_a_restart_of_the_browser(redis: Redis, tmp_path: Path) -> None:
    """Positions are on the disk, and the token is not, so the user is asked for it."""
    from tests.support.extension_browser import ExtensionBrowser

    redis.add_job("http", "7", state="active", name="a name that nobody else sees")
    token = jwt("read:jobs:http")
    async with keyed_bridge(redis.url, queues=("http",), allowed_origins=(ORIGIN,)) as live:
        with ExtensionBrowser(tmp_path) as browser:
            async with browser.page("/options.html") as page:
                await page.run(USE, [live.url, token])
                await page.run(WATCH, {"queue": "http", "jobId": "7"})
                await until_rooms(live, 1)
                await page.until(f"{EVERYTHING}.then(({{ jobs }}) => [...jobs.values()][0].told.state === 'active')")
        await until_rooms(live, 0)
        redis.client.delete("bull:http:7", "bull:http:active")
        redis.add_event("http", "completed", "7", returnvalue="1", prev="active")
        with ExtensionBrowser(tmp_path) as browser:
            async with browser.page("/options.html") as page:
                await page.until(f"{TOLD}.then((told) => told.includes('stuck'))")
                await page.run(USE, [live.url, token])
                await page.until(f"{TOLD}.then((told) => told.includes('{key('http', '7')}'))")
    written = content(tmp_path)
    assert b"told:" in written
    for secret in (token, "a name that nobody else sees"):
        assert secret.encode() not in written


async def test_a_token_goes_to_its_own_bridge_only(redis: Redis, extension: ExtensionBrowser) -> None:
    async with extension.page("/options.html") as page:
        await page.run(USE, ["http://127.0.0.1:1", "secret"])
        assert (await page.run(EVERYTHING))["bridge"]["token"] == "secret"
        await page.run("chrome.storage.local.set({ bridge: { url: 'http://127.0.0.1:2', at: 1 } })")
        assert (await page.run(EVERYTHING))["bridge"]["token"] is None


async def test_a_bridge_that_does_not_allow_it(redis: Redis, extension: ExtensionBrowser) -> None:
    async with live_bridge(redis.url, queues=("http",)) as live, extension.page("/options.html") as page:
        await page.run(f"document.getElementById('url').value = '{live.url}/'")
        await page.run("document.querySelector('form button').click()")
        allow = f"jobws serve --allow-origin {ORIGIN}"
        await page.until("document.getElementById('answer').dataset.fine === 'false'")
        assert await page.run("document.getElementById('answer').textContent") == (
            f"No bridge answers at {live.url}. Is it running, and does it allow this extension ({allow})?"
        )
        await page.run(WATCH, {"queue": "http", "jobId": "7"})
        async with extension.page("/popup.html") as popup:
            await popup.until("document.getElementById('connection').textContent === 'no connection'")
            assert allow in await popup.run("document.getElementById('problem').textContent")
