"""The page at `/` on the demo, while the bridge, the network, the tab or the token goes and comes back."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
import anyio.to_thread

from jobws.client import connect
from tests.support.blocking_proxy import BlockingProxy
from tests.support.bridge import BridgeProcess
from tests.support.http import call
from tests.support.page import ASKS, EVENTS, act, click, give, row, says
from tests.support.signing import SECRET
from tests.support.tokens import jwt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobws.client import Client
    from tests.support.browser import Chromium
    from tests.support.demo import Demo

IDS: Final = "[...document.querySelectorAll('.job .what')].map((each) => each.hash.split('/').at(-1)).sort()"


@asynccontextmanager
async def proxy_of(demo: Demo) -> AsyncIterator[BlockingProxy]:
    """Run a proxy between pages and the demo's bridge."""
    async with anyio.create_task_group() as tasks:
        proxy = BlockingProxy(int(demo.url.rpartition(":")[2]))
        tasks.start_soon(proxy.run)
        await anyio.lowlevel.checkpoint()
        yield proxy
        tasks.cancel_scope.cancel()


async def add(jobs: Client, queue: str, data: dict[str, str]) -> str:
    return (await jobs.submit(queue, data)).job_id


async def ended(demo: Demo, queue: str) -> dict[str, str]:
    """Return the states of the jobs of a queue that have ended, by their ids, as the demo's own bridge tells them."""
    found: dict[str, str] = {}
    for state in ("completed", "failed"):
        _, answer = await call("GET", f"{demo.url}/queues/{queue}/jobs?state={state}&limit=200")
        found |= {each["jobId"]: state for each in answer["jobs"]}
    return found


async def test_the_bridge_is_killed_and_started_again(demo: Demo, chromium: Chromium) -> None:
    """The page uses a bridge beside the demo's own, which goes on."""
    command = ["--redis", demo.redis_url, "--queues", "*", "--allow-actions", "--port"]
    with BridgeProcess(*command, "0") as first:
        url = await anyio.to_thread.run_sync(first.started)
        async with (
            chromium.page(f"{url}/#/queues/techstack") as page,
            chromium.page(f"{url}/#/queues/techstack") as other,
            connect(demo.url) as jobs,
        ):
            await chromium.run(page.tab.set_viewport_size, {"width": 1280, "height": 4000})
            await act(chromium, page, "Pause", "Pause techstack? Jobs that run go on.")
            await says(page, ".note", "paused")
            kept, gone = [await add(jobs, "techstack", {"path": "."}) for _ in range(2)]
            for job_id in (kept, gone):
                await says(page, row(job_id, ".chip"), "waiting")
            await click(chromium, other, row(kept, ".what"))
            await says(other, ".jobhead .chip", "waiting")

            os.kill(first.pid, signal.SIGKILL)
            for each in (page, other):
                await says(each, ".status .pill", "Reconnecting")
            await jobs.act("remove", "techstack", gone)
            await jobs.act("resume", "techstack")
            for path in (".", "nowhere", "."):
                await add(jobs, "techstack", {"path": path})
            await jobs.wait(await add(jobs, "techstack", {"path": "."}), "techstack")

            with BridgeProcess(*command, url.rpartition(":")[2]) as second:
                await anyio.to_thread.run_sync(second.started)
                for each in (page, other):
                    await says(each, ".status .pill", "Live")
                await says(other, ".jobhead .chip", "completed")
                await other.until(f"{EVENTS}.length === 3")
                assert await other.run(EVENTS) == ["waiting", "active", "completed"]
                states = await ended(demo, "techstack")
                assert gone not in states
                await page.until(f"(ids) => {IDS}.join() === ids", ",".join(sorted(states)))
                for job_id, state in states.items():
                    await says(page, row(job_id, ".chip"), state)
                await page.until("() => !document.querySelector('.queuehead .note')")


async def test_without_websockets_it_goes_on_over_http(demo: Demo, chromium: Chromium) -> None:
    async with proxy_of(demo) as proxy, connect(demo.url) as jobs:
        proxy.websockets = "refuse"
        async with chromium.page(f"http://127.0.0.1:{proxy.port}/#/queues/http") as page:
            await says(page, ".status .pill", "Over HTTP")
            with demo.page.held():
                job_id = await add(jobs, "http", {"url": demo.page.url})
                await says(page, row(job_id, ".chip"), "active")
                await says(page, row(job_id, ".progress"), "50 %")
            await says(page, row(job_id, ".chip"), "completed")
            await says(page, ".status .pill", "Over HTTP")


async def test_a_hidden_tab_returns(demo: Demo, chromium: Chromium) -> None:
    """First it is only hidden. Then its scripts stop, and its connection is lost, as after some minutes."""
    async with (
        proxy_of(demo) as proxy,
        connect(demo.url) as jobs,
        chromium.window(f"http://127.0.0.1:{proxy.port}/#/queues/http") as page,
    ):
        for hide in (page.hide, page.freeze):
            with demo.page.held():
                seen = await add(jobs, "http", {"url": demo.page.url})
                await says(page, row(seen, ".progress"), "50 %")
                await hide()
            if hide == page.freeze:
                proxy.cut()
            unseen = await add(jobs, "http", {"url": demo.page.url})
            for job_id in (seen, unseen):
                await jobs.wait(job_id, "http")
            await page.show()
            for job_id in (seen, unseen):
                await says(page, row(job_id, ".chip"), "completed")
            await says(page, ".status .pill", "Live")


async def test_a_token_expires(demo: Demo, chromium: Chromium) -> None:
    """The page asks for another one, and then shows what happened meanwhile."""
    scope = "read:queues:http read:jobs:http"
    command = ["--redis", demo.redis_url, "--queues", "*", "--port", "0", "--expiring-before", "0.1"]
    with BridgeProcess(*command, "--expiry-grace", "0.1", environment={"JOBWS_JWT_SECRET": SECRET.decode()}) as keyed:
        url = await anyio.to_thread.run_sync(keyed.started)
        async with chromium.page(f"{url}/#/queues/http") as page, connect(demo.url) as jobs:
            before = await add(jobs, "http", {"url": demo.page.url})
            await give(chromium, page, jwt(scope, seconds=5))
            await says(page, row(before, ".chip"), "completed")
            await page.until(ASKS)
            await page.until("() => sessionStorage.length === 0 && !document.querySelector('.job')")
            after = await add(jobs, "http", {"url": demo.page.url})
            await jobs.wait(after, "http")
            await give(chromium, page, jwt(scope))
            for job_id in (before, after):
                await says(page, row(job_id, ".chip"), "completed")
            await says(page, ".status .pill", "Live")
