"""What the extension's worker asks of a bridge, with a fake one: the positions from which it goes on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.support.extension import EVERYTHING, USE, WATCH
from tests.support.fake_bridge import fake_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.extension_browser import ExtensionBrowser, ExtensionPage
    from tests.support.fake_bridge import FakeBridge, FakeConnection

# Of the only job.
TOLD: Final = f"{EVERYTHING}.then(({{ jobs }}) => [...jobs.values()][0].told)"


@asynccontextmanager
async def watching(
    extension: ExtensionBrowser, **job: str | None
) -> AsyncIterator[tuple[FakeBridge, FakeConnection, ExtensionPage]]:
    """Yield a bridge, the worker's connection to it, and a page of the extension. The worker has watched the job."""
    async with fake_bridge() as server, extension.page("/options.html") as page:
        await page.run(USE, [server.url, ""])
        await page.run(WATCH, {"queue": "q", "jobId": "1", **job})
        yield server, await server.accept(), page


async def until_kept(page: ExtensionPage, after: dict[str, str]) -> None:
    """Wait until these are the positions that the worker has kept."""
    kept = f"JSON.stringify((await {TOLD}).after)"
    await page.until(f"async (after) => {kept} === JSON.stringify(after)", after)


async def wake(extension: ExtensionBrowser, server: FakeBridge, page: ExtensionPage) -> Any:
    """Stop the worker and wake it. Return the item with which it comes back."""
    await extension.stop_worker(page)
    await page.run("chrome.runtime.sendMessage('awake').catch(() => {})")
    bridge = await server.accept()
    (item,) = (await bridge.subscribed())["jobs"]
    return item


async def test_it_comes_back_with_its_positions(extension: ExtensionBrowser) -> None:
    async with watching(extension) as (server, bridge, page):
        (item,) = (await bridge.subscribed({"q": "5-0"}))["jobs"]
        assert "after" not in item
        await until_kept(page, {"q": "5-0"})
        await bridge.job_event("waiting", id="6-0", data={"prev": "delayed"})
        await until_kept(page, {"q": "6-0"})
        # An event without an id moves no position (P3).
        await bridge.job_event("active", data={"prev": "waiting"})
        await page.until(f"{TOLD}.then(({{ state }}) => state === 'active')")
        assert (await wake(extension, server, page))["after"] == {"q": "6-0"}


async def test_positions_of_a_stream_that_began_again_hold_no_more(extension: ExtensionBrowser) -> None:
    async with watching(extension) as (server, bridge, page):
        await bridge.subscribed({"q": "5-0"})
        await until_kept(page, {"q": "5-0"})
        await bridge.send("gap", {"queue": "q", "reason": "trimmed", "jobs": None})
        await bridge.send("gap", {"queue": "q", "reason": "recreated", "jobs": ["2"]})
        await bridge.job_event("delayed")
        await page.until(f"{TOLD}.then(({{ state }}) => state === 'delayed')")
        await until_kept(page, {"q": "5-0"})
        await bridge.send("gap", {"queue": "q", "reason": "recreated", "jobs": None})
        await until_kept(page, {"q": "0-0"})
        assert (await wake(extension, server, page))["after"] == {"q": "0-0"}


async def test_the_positions_of_a_silent_job_do_not_grow_old(extension: ExtensionBrowser) -> None:
    """At each alarm the worker asks again, with what the adapter knows from each `pong`."""
    async with watching(extension) as (_, bridge, page):
        await bridge.subscribed({"q": "5-0"})
        await until_kept(page, {"q": "5-0"})
        await bridge.send("pong", {"after": {"q": "9-0"}})
        await extension.in_worker("() => chrome.alarms.onAlarm.dispatch({ name: 'wake' })")
        assert (await bridge.receive())["event"] == "unsubscribe-job"
        (item,) = (await bridge.subscribed({"q": "12-0"}))["jobs"]
        assert item["after"] == {"q": "9-0"}


async def test_a_subscription_that_an_authorizer_ends(extension: ExtensionBrowser) -> None:
    async with watching(extension) as (_, bridge, page), extension.page("/popup.html") as popup:
        await bridge.subscribed({"q": "5-0"})
        await until_kept(page, {"q": "5-0"})
        data = {"queue": "q", "jobId": "1", "code": "forbidden", "message": "the token does not allow this"}
        await bridge.send("ended", data, sub=bridge.names["q", "1"])
        await popup.until("document.querySelector('li .text')?.textContent === 'the token does not allow this'")


async def test_an_id_that_several_queues_know(extension: ExtensionBrowser) -> None:
    async with watching(extension, queue=None) as (_, bridge, page), extension.page("/popup.html") as popup:
        jobs = [{"queue": queue, "jobId": "1", "state": "completed"} for queue in "qr"]
        await bridge.subscribed({"q": "5-0", "r": "6-0"}, {"jobs": jobs, "ambiguous": True})
        await until_kept(page, {"q": "5-0", "r": "6-0"})
        await popup.until("document.querySelector('li .text')?.textContent.startsWith('Several queues')")
        await bridge.job_event("completed", id="7-0", data={"returnvalue": "the later one"})
        await popup.until("document.querySelector('li .text').textContent === 'the later one'")
