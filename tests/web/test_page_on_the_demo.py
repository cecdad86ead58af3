"""The page at `/` on the demo: its queues, its BullMQ worker, and its bridge."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import anyio.to_thread

from jobws.client import connect
from jobws.demo.walk import MISSING
from tests.support.demo import add_flow
from tests.support.page import ASKED, AT_HALF, EVENTS, act, click, row, says, submit

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.demo import Demo

EXAMPLE: Final = "() => ![undefined, '', '{}'].includes(document.querySelector('textarea')?.value)"
FAILED: Final = ["waiting", "active", "failed", "retries-exhausted"]
LINES: Final = "document.querySelector('jobws-logs').shadowRoot.querySelector('.lines')"
FOLLOW: Final = """(text) =>
    document.querySelector('jobws-logs').shadowRoot.querySelector('.follow').innerText === text"""
AT_END: Final = f"{LINES}.scrollHeight - {LINES}.scrollTop - {LINES}.clientHeight < 1"


async def submitted(page: Page, queue: str) -> str:
    """Wait until the page shows the job that it has submitted to a queue, and return the job's id."""
    await page.until("(start) => location.hash.startsWith(start)", f"#/jobs/{queue}/")
    return str(await page.run("location.hash")).rpartition("/")[2]


async def test_a_job_from_the_example_to_its_result_in_two_tabs(demo: Demo, chromium: Chromium) -> None:
    """The example is what the queue's last job was given."""
    async with (
        chromium.page(f"{demo.url}/#/queues/http") as page,
        chromium.page(f"{demo.url}/#/queues/http") as other,
    ):
        await says(page, ".job .chip", "completed")
        await click(chromium, page, ".views a:text-is('Submit')")
        await page.until(EXAMPLE)
        await chromium.run(page.tab.press, "textarea", "}")
        await page.until("() => document.querySelector('.submit .primary').disabled")
        await chromium.run(page.tab.press, "textarea", "Backspace")
        assert json.loads(await page.run("document.querySelector('textarea').value")) == {"url": demo.page.url}
        with demo.page.held():
            await click(chromium, page, ".submit .primary")
            job_id = await submitted(page, "http")
            await says(page, ".jobhead .chip", "active")
            await page.until(AT_HALF)
            await says(other, row(job_id, ".chip"), "active")
            await says(other, row(job_id, ".progress"), "50 %")
        await says(page, ".jobhead .chip", "completed")
        await says(other, row(job_id, ".chip"), "completed")
        await says(page, ".tree li", "status: 200")
        assert await page.run(EVENTS) == ["waiting", "active", "completed"]
        await click(chromium, other, row(job_id, ".what"))
        await says(other, ".tree li", "status: 200")
        await other.until(f"{EVENTS}.length === 3")
        assert await other.run(EVENTS) == await page.run(EVENTS)


async def test_the_example_of_every_queue_works(demo: Demo, chromium: Chromium) -> None:
    async with chromium.page(f"{demo.url}/") as page:
        for queue in ("sparql", "techstack", "analyzer"):
            await page.run(f"location.hash = '#/queues/{queue}/submit'")
            await page.until(EXAMPLE)
            await click(chromium, page, ".submit .primary")
            await submitted(page, queue)
            await says(page, ".jobhead .chip", "completed")


async def test_a_job_that_fails_is_retried(demo: Demo, chromium: Chromium) -> None:
    reason = "later is no directory below the worker's root"
    async with chromium.page(f"{demo.url}/#/queues/techstack/failed") as page:
        await click(chromium, page, ".views a:text-is('Submit')")
        await page.until(EXAMPLE)
        await chromium.run(page.tab.fill, "[name=name]", "too early")
        await submit(chromium, page, '{"path": "later"}')
        await submitted(page, "techstack")
        await says(page, ".failure .reason", reason)
        await click(chromium, page, ".actions button:text-is('Retry')")
        await page.until(ASKED)
        await click(chromium, page, "dialog[open] button[value=no]")
        await page.until(f"({ASKED})() === null")
        (demo.root / "later").mkdir()
        await page.until(f"{EVENTS}.length === {len(FAILED)}")
        assert await page.run(EVENTS) == FAILED
        await act(chromium, page, "Retry", "Retry “too early” of techstack?")
        await says(page, ".notice", "The job waits for another run.")
        await says(page, ".jobhead .chip", "completed")
        assert await page.run(EVENTS) == [*FAILED, "waiting", "active", "completed"]
        assert await page.run("document.querySelector('.failure').hidden")
        await act(chromium, page, "Remove", "Remove “too early” of techstack?")
        await says(page, ".told", "This job was removed.")


async def test_all_failed_jobs_are_retried(demo: Demo, chromium: Chromium) -> None:
    """Also that which the demo has fail on purpose, and which then completes."""
    (demo.root / MISSING).mkdir()
    async with chromium.page(f"{demo.url}/#/queues/techstack/failed") as page:
        group = f".group .reason:text-is('{MISSING} is no directory below the worker\\'s root')"
        await click(chromium, page, group)
        await act(chromium, page, "Retry all failed", "Retry all failed jobs of techstack?")
        await page.until("() => document.querySelector('.notice.good')?.innerText.endsWith(' will be retried.')")
        await chromium.run(page.tab.wait_for_selector, group, state="detached")


async def test_a_flow_unfolds(demo: Demo, chromium: Chromium) -> None:
    """The page is there before the flow, and sees each of its jobs come, go on and end."""
    top, middle, held, beside = (str(uuid4()) for _ in range(4))

    def job(queue: str, job_id: str, data: dict[str, str], *below: dict[str, object]) -> dict[str, object]:
        return {"queueName": queue, "name": "job", "data": data, "opts": {"jobId": job_id}, "children": [*below]}

    flow = job(
        *("sparql", top, {"query": "ASK {}"}),
        job("techstack", middle, {"path": "."}, job("http", held, {"url": demo.page.url})),
        job("techstack", beside, {"path": "."}),
    )

    async def shows(**states: str) -> None:
        places = {"middle": (".flow >", middle), "held": (".flow > li > ul >", held), "beside": (".flow >", beside)}
        for name, state in states.items():
            above, job_id = places[name]
            await says(page, f"{above} li > .flowrow:has(a[href$='{job_id}']) .chip", state)

    async with chromium.page(f"{demo.url}/#/jobs/sparql/{top}") as page:
        await says(page, ".jobhead .chip", "unknown")
        with demo.page.held():
            await anyio.to_thread.run_sync(asyncio.run, add_flow(demo.redis_url, flow))
            await says(page, ".jobhead .chip", "waiting-children")
            await shows(middle="waiting-children", held="active", beside="completed")
            await says(page, ".flowrow .hint", "50 %")
            await says(page, ".panelhead .hint", "1 of 3 jobs done")
        await says(page, ".jobhead .chip", "completed")
        await shows(middle="completed", held="completed", beside="completed")
        await says(page, ".panelhead .hint", "3 of 3 jobs done")


async def test_logs_scroll(demo: Demo, chromium: Chromium) -> None:
    """New lines come in sight, unless the viewer has scrolled up or pauses: then they wait, and nothing moves."""
    async with chromium.page(f"{demo.url}/#/logs") as page, connect(demo.url) as jobs:

        async def work() -> str:
            """Let the worker write three lines. Return the id of their job."""
            job = await jobs.submit("techstack", {"path": "."})
            await jobs.wait(job.job_id, "techstack")
            return job.job_id

        await page.until(f"{LINES}.children.length > 10")
        for _ in range(5):
            job_id = await work()
            await page.until(
                f"(end) => {LINES}.lastChild.innerText.endsWith(end)", f"job completed  worker / techstack / {job_id}"
            )
            await page.until(AT_END)
        assert await page.run(f"{LINES}.scrollTop") > 0
        await page.run(f"{LINES}.scrollTop = 0")
        await page.until(FOLLOW, "↓ Newest")
        before = await page.run(f"[{LINES}.children.length, {LINES}.innerText]")
        await work()
        await page.until(FOLLOW, "↓ 3 new")
        assert await page.run(f"[{LINES}.children.length, {LINES}.innerText]") == before
        assert await page.run(f"{LINES}.scrollTop") == 0
        await click(chromium, page, "jobws-logs .follow")
        await page.until(f"(count) => {LINES}.children.length === count + 3", before[0])
        await page.until(AT_END)
        await click(chromium, page, "jobws-logs button:text-is('Pause')")
        await work()
        await page.until(FOLLOW, "↓ 3 new")
        await click(chromium, page, "jobws-logs button:text-is('Follow')")
        await page.until(f"(count) => {LINES}.children.length === count + 6", before[0])
        await page.until(AT_END)
