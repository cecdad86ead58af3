"""What people do on the page: submit a job, see how it ends, retry it, go anywhere by keyboard."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.demo_worker import Worker
from tests.support.page import begin, finish, says

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

DIALOG: Final = "() => document.querySelector('dialog[open]')"
EVENTS: Final = "() => [...document.querySelectorAll('.events .event')].map((each) => each.innerText)"


async def click(browser: Chromium, page: Page, where: str) -> None:
    await browser.run(page.tab.click, where)


async def submit(browser: Chromium, page: Page, data: str) -> None:
    await browser.run(page.tab.fill, "textarea", data)
    await click(browser, page, ".submit .primary")


async def test_a_job_that_is_submitted_shows_its_result(redis: Redis, chromium: Chromium, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"dependencies": {"react": "19.2.7"}}')
    with Worker(redis.url, tmp_path).ready() as worker:
        async with (
            live_bridge(redis.url, queues=("techstack",), show_data=("*",)) as live,
            chromium.page(f"{live.url}/#/queues/techstack/submit") as page,
        ):
            await submit(chromium, page, '{"path": "."}')
            await page.until("() => location.hash.startsWith('#/jobs/techstack/')")
            await says(page, ".jobhead .chip", "completed")
            await page.until("() => /react/i.test(document.querySelector('.tree')?.innerText)")
            assert await page.run("document.querySelector('.actions').innerText") == ""  # no --allow-actions
            await page.run("location.hash = '#/queues/techstack/submit'")
            # The form begins with the data of the last job.
            await page.until("() => document.querySelector('textarea')?.value.includes('path')")
            await chromium.run(page.tab.fill, "textarea", "{")
            await page.until("() => document.querySelector('.submit .primary').disabled")
        assert worker.end() == 0


async def test_a_job_that_fails_shows_its_reason_and_is_retried(
    redis: Redis, chromium: Chromium, tmp_path: Path
) -> None:
    with Worker(redis.url, tmp_path).ready() as worker:
        async with (
            live_bridge(redis.url, queues=("techstack",), allow_actions=True) as live,
            chromium.page(f"{live.url}/#/queues/techstack/submit") as page,
        ):
            await submit(chromium, page, '{"path": "nowhere"}')
            await says(page, ".failure .reason", "nowhere is no directory below the worker's root")
            await click(chromium, page, ".actions button:has-text('Retry')")
            await page.until(DIALOG)
            await click(chromium, page, "dialog[open] button[value=no]")
            await page.until("() => !document.querySelector('dialog[open]')")
            assert (await page.run(EVENTS)).count("active") == 1
            await click(chromium, page, ".actions button:has-text('Retry')")
            await click(chromium, page, "dialog[open] button[value=yes]")
            await says(page, ".notice", "The job waits for another run.")
            await page.until(f"() => ({EVENTS})().filter((each) => each === 'active').length === 2")
            await says(page, ".jobhead .chip", "failed")
            await page.run("location.hash = '#/queues/techstack/failed'")
            await says(page, ".group .reason", "nowhere is no directory below the worker's root")
            await click(chromium, page, "button:has-text('Retry all failed')")
            await click(chromium, page, "dialog[open] button[value=yes]")
            await says(page, ".notice", "1 job will be retried.")
            await page.run("history.back()")
            await page.until(f"() => ({EVENTS})().filter((each) => each === 'active').length === 3")
            await says(page, ".jobhead .chip", "failed")
            await click(chromium, page, ".actions button:has-text('Remove')")
            await click(chromium, page, "dialog[open] button[value=yes]")
            await says(page, ".told", "This job was removed.")
        assert worker.end() == 0


async def test_failed_jobs_are_grouped_by_their_reason(redis: Redis, chromium: Chromium) -> None:
    for number in range(5):
        reason = f"timeout after {number} ms" if number else "no such page"
        redis.add_job("http", f"j{number}", state="failed", failedReason=reason, finishedOn=number)
    async with (
        live_bridge(redis.url, queues=("http",)) as live,
        chromium.page(f"{live.url}/#/queues/http/failed") as page,
    ):
        await says(page, ".group .n", "4")
        await says(page, ".group .n", "1")
        await says(page, ".group .reason", "timeout after 4 ms")
        redis.add_event("http", "failed", "new", failedReason="no such page", prev="active")
        await says(page, ".group .n", "2")
        redis.add_event("http", "waiting", "j3", prev="failed")
        await says(page, ".group .n", "3")


async def test_a_label_may_have_a_slash(redis: Redis, chromium: Chromium) -> None:
    """All that the page asks for names the queue in the query."""
    label, now = "a/b", int(time.time() * 1000)
    redis.add_job(label, "1", state="completed", name="before", finishedOn=now, timestamp=now)
    redis.add_job(label, "2", state="failed", name="broken", failedReason="no such page", finishedOn=now)
    async with (
        live_bridge(redis.url, queues=("a", label), allow_actions=True, show_data=("*",)) as live,
        chromium.page(live.url + "/") as page,
    ):
        await page.until("() => document.querySelectorAll('.spark .line.done')[1]?.getAttribute('d')")  # of jobs before
        await chromium.run(page.tab.click, ".row .name a[href$='/a%2Fb']")
        await says(page, ".job .title", "before")
        await chromium.run(page.tab.click, "a[href$='/a%2Fb/failed']")
        await says(page, ".group .reason", "no such page")
        await chromium.run(page.tab.click, "button:text-is('Pause')")
        await chromium.run(page.tab.click, "dialog[open] .primary")
        await page.until("() => [...document.querySelectorAll('button')].some((each) => each.innerText === 'Resume')")
        await chromium.run(page.tab.click, "a[href$='/a%2Fb/submit']")
        await page.until("() => document.querySelector('[name=name]').value === 'before'")
        await chromium.run(page.tab.keyboard.press, "Control+k")
        await chromium.run(page.tab.keyboard.type, "a/b/2")
        await page.until("() => document.querySelector('.palette li')?.dataset.href === '#/jobs/a%2Fb/2'")


async def test_any_queue_and_job_by_keyboard(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "a/b", name="fetch")
    redis.make_queue("sparql")
    async with (
        live_bridge(redis.url, queues=("http", "sparql")) as live,
        chromium.page(live.url + "/") as page,
    ):
        await says(page, ".row .name a", "sparql")
        for text, place in (("spar", "#/queues/sparql"), ("a/b", "#/jobs/http/a%2Fb"), ("logs", "#/logs")):
            await chromium.run(page.tab.keyboard.press, "Control+k")
            await page.until("() => document.activeElement.closest('dialog')")
            await chromium.run(page.tab.keyboard.type, text)
            await page.until(f"() => document.querySelector('.palette li')?.dataset.href === '{place}'")
            await chromium.run(page.tab.keyboard.press, "Enter")
            await page.until(f"() => location.hash === '{place}'")


async def test_it_recovers_from_a_bridge_that_is_killed(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "7", name="fetch", timestamp=int(time.time() * 1000))
    redis.add_event("http", "waiting", "7")
    command = ["--redis", redis.url, "--queues", "http", "--port"]
    with BridgeProcess(*command, "0") as first:
        url = await anyio.to_thread.run_sync(first.started)
        async with chromium.page(f"{url}/#/jobs/http/7") as page:
            await says(page, ".jobhead .chip", "waiting")
            os.kill(first.pid, signal.SIGKILL)
            await says(page, ".status .pill", "Reconnecting")
            begin(redis, "http", "7")
            finish(redis, "http", "7", "done")
            with BridgeProcess(*command, url.rpartition(":")[2]) as second:
                await anyio.to_thread.run_sync(second.started)
                await says(page, ".status .pill", "Live")
                await says(page, ".jobhead .chip", "completed")
                await says(page, ".tree", "done")
                await page.until(f"() => ({EVENTS})().length === 3")
                assert await page.run(EVENTS) == ["waiting", "active", "completed"]


async def test_the_list_is_used_by_keyboard(redis: Redis, chromium: Chromium) -> None:
    for number in range(100):
        redis.add_job("http", f"n{number}", name="fetch", timestamp=1000 + number)
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/queues/http") as page:
        await page.until("() => document.querySelector('.space')?.clientHeight >= 100 * 44")
        await chromium.run(page.tab.focus, ".list")
        for key in ("ArrowDown", "ArrowDown", "End", "ArrowUp"):
            await chromium.run(page.tab.keyboard.press, key)
        assert await page.run("document.activeElement.getAttribute('href')") == "#/jobs/http/n1"
        await chromium.run(page.tab.keyboard.press, "Enter")
        await says(page, ".jobhead .chip", "waiting")
        assert await page.run("document.activeElement.id") == "main"


async def test_a_thousand_queues(redis: Redis, chromium: Chromium) -> None:
    for number in range(1000):
        redis.make_queue(f"q{number:04}")
    async with live_bridge(redis.url, queues=("*",)) as live, chromium.page(live.url + "/") as page:
        await page.until("() => document.querySelectorAll('.row').length === 1000")
        names = "[...document.querySelectorAll('.row .name a')].map((each) => each.innerText)"
        assert await page.run(names) == [f"q{number:04}" for number in range(1000)]
        # Lines are drawn for what is in sight.
        drawn = "document.querySelectorAll('.spark .line[d^=M]').length"
        await page.until(f"() => {drawn} > 0")
        assert await page.run(drawn) < 100
