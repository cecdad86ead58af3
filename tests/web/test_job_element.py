"""`<jobws-job>` in a page of another origin: what it shows of a job, live, and how harmless hostile values are."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from jobws.server.bridge import RESTART
from tests.support import eventually
from tests.support.elements import host_page, until_part

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.redis import Redis

JOB: Final = '<jobws-job queue="http" job="42"></jobws-job>'
ELEMENT: Final = "document.querySelector('jobws-job')"
# What screen readers have been told.
NEWS: Final = f"{ELEMENT}.shadowRoot.querySelector('[aria-live=polite]').textContent"
LINES: Final = f"[...{ELEMENT}.shadowRoot.querySelectorAll('[role=log] > div')].map((line) => line.textContent)"
HOSTILE: Final = "<img src=x onerror='window.harmed = true'><style>*{display:none}</style><script>harmed = 1</script>"


async def test_two_lines_of_html_show_a_live_job(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", name="analyze", timestamp=1795435729000)
    async with host_page(chromium, redis.url, JOB) as (_, page):
        await until_part(page, "state", "waiting")
        await until_part(page, "name", "analyze")
        await until_part(page, "about", "http / 42")
        await until_part(page, "progress", None)
        redis.add_event("http", "active", "42", prev="waiting")
        await until_part(page, "state", "active")
        redis.add_event("http", "progress", "42", data='{"done":3,"total":4,"step":"reading"}')
        await until_part(page, "progress-text", "75 %\nreading")
        assert await page.run(NEWS) == ""
        redis.add_event("http", "completed", "42", returnvalue='{"files":[1,"two"]}')
        await until_part(page, "state", "completed")
        await until_part(page, "result", "{1 entry}\nfiles: [2 items]\n0: 1\n1: two")
        assert await page.run(NEWS) == "analyze 42 completed"
        assert await page.run(f"[{ELEMENT}.state, {ELEMENT}.result]") == ["completed", {"files": [1, "two"]}]


async def test_a_failure_says_why_and_a_retry_begins_anew(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="failed", finishedOn=1795435731000, failedReason="no such page", attemptsMade=2)
    async with host_page(chromium, redis.url, JOB) as (_, page):
        await until_part(page, "state", "failed")
        await until_part(page, "reason", "no such page")
        assert await page.run(NEWS) == "", "an end from before is no news"
        redis.add_event("http", "waiting", "42", prev="failed")
        await until_part(page, "state", "waiting")
        await until_part(page, "reason", None)
        redis.add_event("http", "active", "42", prev="waiting")
        redis.add_event("http", "failed", "42", failedReason="still none", prev="active")
        await until_part(page, "reason", "still none")
        assert await page.run(NEWS) == "test 42 failed: still none"


async def test_a_job_that_is_not_there_yet_appears(redis: Redis, chromium: Chromium) -> None:
    redis.make_queue("http")
    async with host_page(chromium, redis.url, JOB) as (live, page):
        await until_part(page, "state", "no such job")
        redis.add_job("http", "42", name="late")
        redis.add_event("http", "added", "42", name="late")
        redis.add_event("http", "waiting", "42")
        await until_part(page, "state", "waiting")
        await until_part(page, "name", "late")
        await page.run(f"{ELEMENT}.job = '43'")
        await until_part(page, "about", "http / 43")
        await until_part(page, "state", "no such job")
        await eventually(lambda: not live.bridge.fanout.rooms.of_job("http", "42"))
        await page.run(f"{ELEMENT}.queue = 'nowhere'")
        await until_part(page, "state", "refused")
        await until_part(page, "reason", "43: this bridge has no `queue` of that label; GET /queues lists them")


async def test_log_lines_come_when_they_are_asked_for(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    redis.client.rpush("bull:http:42:logs", "first", "\x1b[31msecond\x1b[0m")
    async with host_page(chromium, redis.url, JOB) as (_, page):
        await until_part(page, "state", "active")
        assert not any("first" in str(frame) for frame in page.received)
        await page.run(f"{ELEMENT}.shadowRoot.querySelector('summary').click()")
        await page.until(f"() => {LINES}.join() === 'first,second'")
        await page.run(f"{ELEMENT}.shadowRoot.querySelector('[part=pause]').click()")
        redis.client.rpush("bull:http:42:logs", "third")
        await page.until(f"() => {ELEMENT}.shadowRoot.querySelector('[part=follow]').textContent === '↓ 1 new'")
        assert await page.run(LINES) == ["first", "second"]
        await page.run(f"{ELEMENT}.shadowRoot.querySelector('[part=pause]').click()")
        await page.until(f"() => {LINES}.join() === 'first,second,third'")


async def test_nothing_of_a_job_is_html(redis: Redis, chromium: Chromium) -> None:
    link, trap = "https://example.com/?a=1", "javascript:harmed=1"
    result = json.dumps({HOSTILE: HOSTILE, "link": link, "trap": trap, "list": [HOSTILE]})
    redis.add_job("http", "42", state="active", name=HOSTILE, progress=json.dumps({"percent": 5, "text": HOSTILE}))
    redis.client.rpush("bull:http:42:logs", HOSTILE)
    async with host_page(chromium, redis.url, JOB) as (_, page):
        await until_part(page, "name", HOSTILE)
        await until_part(page, "progress-text", f"5 %\n{HOSTILE}")
        await page.run(f"{ELEMENT}.shadowRoot.querySelector('summary').click()")
        await page.until(f"(line) => {LINES}.join() === line", HOSTILE)
        redis.add_event("http", "failed", "42", failedReason=HOSTILE)
        await until_part(page, "reason", HOSTILE)
        redis.add_event("http", "waiting", "42", prev="failed")
        redis.add_event("http", "completed", "42", returnvalue=result)
        await until_part(
            page,
            "result",
            f"{{4 entries}}\n{HOSTILE}: {HOSTILE}\nlink: {link}\ntrap: {trap}\nlist: [1 item]\n0: {HOSTILE}",
        )
        assert await page.run(f"{ELEMENT}.shadowRoot.querySelectorAll('img, style, script').length") == 0
        links = f"[...{ELEMENT}.shadowRoot.querySelectorAll('a')].map((each) => [each.href, each.rel])"
        assert await page.run(links) == [[link, "noopener noreferrer"]]
        assert await page.run("window.harmed === undefined")


async def test_it_comes_back_after_a_restart_with_what_it_missed(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    async with host_page(chromium, redis.url, JOB) as (live, page):
        await until_part(page, "state", "active")
        await page.run(f"window.states = []; {ELEMENT}.addEventListener('jobws-state', (e) => states.push(e.detail))")
        live.bridge.close_all(RESTART)
        redis.add_event("http", "completed", "42", returnvalue="7")
        await until_part(page, "state", "completed")
        await until_part(page, "connection", None)
        told = await page.run("states")
        assert told == [{"state": "completed", "queue": "http", "jobId": "42", "result": 7, "reason": ""}]


async def test_a_result_that_is_too_large_for_an_event_is_loaded_on_demand(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    async with host_page(chromium, redis.url, JOB, max_result_bytes=2000) as (_, page):
        await until_part(page, "state", "active")
        redis.add_event("http", "completed", "42", returnvalue=json.dumps({"text": "x" * 3000}))
        await until_part(page, "load", "Load all of it (4 kB)")
        await page.run(f"{ELEMENT}.shadowRoot.querySelector('[part=load]').click()")
        await until_part(page, "tree", f"{{1 entry}}\ntext: {'x' * 2000} … show all 3,000 characters")
        await page.run(f"{ELEMENT}.shadowRoot.querySelector('[part=tree] button').click()")
        await until_part(page, "tree", f"{{1 entry}}\ntext: {'x' * 3000}")


async def test_a_job_that_runs_already_says_how_long_it_still_takes(redis: Redis, chromium: Chromium) -> None:
    now = int(time.time() * 1000)
    redis.add_job("http", "42", state="active", processedOn=now - 20_000, progress="20")
    redis.add_event("http", "active", "41")
    async with host_page(chromium, redis.url, JOB) as (_, page):
        await page.until(
            f"/^20 %about 1 min \\d+ s left$/.test({ELEMENT}.shadowRoot?.querySelector('.words').textContent)"
        )
