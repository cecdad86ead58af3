"""The page at `/`, in a browser: queues, the jobs of one, and one job, while things happen to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from tests.support.blocking_proxy import BlockingProxy
from tests.support.bridge import live_bridge, quick_bridge
from tests.support.mounted import mounted_bridge
from tests.support.page import EVENTS, HOSTILE, begin, finish, says

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.redis import Redis


async def test_counts_of_queues_move(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "1", name="fetch", timestamp=int(time.time() * 1000))
    async with live_bridge(redis.url, queues=("http", "sparql")) as live, chromium.page(live.url + "/") as page:
        await says(page, ".status .pill", "Live")
        await says(page, ".row .count.waiting", "1")
        await says(page, ".note", "no worker")
        await says(page, ".note", "no job yet")  # of queue sparql
        redis.add_job("http", "2")
        redis.add_event("http", "waiting", "2")
        await says(page, ".row .count.waiting", "2")


async def test_each_count_leads_to_the_jobs_that_it_counts(redis: Redis, chromium: Chromium) -> None:
    for state in ("wait", "delayed", "prioritized", "prioritized", "waiting-children"):
        redis.add_job("http", f"{redis.client.incr('ids')}", state=state, name="fetch")
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/") as page:
        for where, text, count in (
            (".count.waiting", "1", 1),
            (".count.delayed", "1", 1),
            (".note", "2 prioritized", 2),
            (".note", "1 waiting-children", 1),
        ):
            await says(page, f".row {where}", text)
            await chromium.run(page.tab.click, f".row {where}:text-is('{text}')")
            await page.until(f"() => document.querySelectorAll('.list .job').length === {count}")
            await page.run("location.hash = '#/'")


async def test_a_thousand_queues(redis: Redis, chromium: Chromium) -> None:
    for number in range(1000):
        redis.make_queue(f"q{number:04}")
    async with live_bridge(redis.url, queues=("*",)) as live, chromium.page(live.url + "/") as page:
        await page.until("() => document.querySelectorAll('.row').length === 1000")
        names = "[...document.querySelectorAll('.row .name > a')].map((each) => each.innerText)"
        assert await page.run(names) == [f"q{number:04}" for number in range(1000)]
        # Lines are drawn for what is in sight.
        drawn = "document.querySelectorAll('.spark .line[d^=M]').length"
        await page.until(f"() => {drawn} > 0")
        assert await page.run(drawn) < 100


async def test_jobs_appear_and_change_their_state(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "old", state="completed", name="before", finishedOn=5, timestamp=1)
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/queues/http") as page:
        await says(page, ".job .title", "before")
        redis.add_job("http", "a/b", name="fetch", timestamp=int(time.time() * 1000))
        redis.add_event("http", "added", "a/b", name="fetch")
        redis.add_event("http", "waiting", "a/b")
        await says(page, ".job:has(.what[href$='/a%2Fb']) .chip", "waiting")
        begin(redis, "http", "a/b")
        redis.add_event("http", "progress", "a/b", data="40")
        await says(page, ".job .chip", "active")
        await says(page, ".job .progress", "40 %")
        await page.run("document.querySelector('.tab[data-state=completed]').click()")
        await page.until("() => document.querySelectorAll('.job').length === 1")
        assert (await page.run("location.hash")) == "#/queues/http?state=completed"
        finish(redis, "http", "a/b", 42)
        await page.until("() => document.querySelectorAll('.job').length === 2")
        await page.run("document.querySelector('.tab[data-state=\"\"]').click()")
        await chromium.run(page.tab.fill, "input[type=search]", "bef")
        await page.until("() => document.querySelectorAll('.job').length === 1")
        await says(page, ".job .title", "before")
        await chromium.run(page.tab.fill, "input[type=search]", "none")
        await says(page, ".goto", "Open the job with the id “none” →")


async def test_the_list_does_not_jump(redis: Redis, chromium: Chromium) -> None:
    """Jobs that come while the viewer has scrolled do not move what is in sight."""
    for number in range(300):
        redis.add_job("http", f"n{number}", name="fetch", timestamp=1000 + number)
    top = "(() => { const list = document.querySelector('.list').getBoundingClientRect(); return [...document"
    top += ".querySelectorAll('.job')].map((each) => [each.getBoundingClientRect().top - list.top, each.innerText])"
    top += ".filter(([at]) => at >= 0).sort((a, b) => a[0] - b[0])[0] })()"
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/queues/http") as page:
        await page.until("() => document.querySelector('.space')?.clientHeight > 200 * 40")
        assert (await page.run("document.querySelectorAll('.job').length")) < 60
        await page.run("document.querySelector('.list').scrollTop = 2010")
        await page.until(f"() => {top}?.[0] < 44")
        before = await page.run(top)
        for number in range(20):
            redis.add_event("http", "added", f"new{number}", name="fetch")
        await says(page, ".news", "↑ 20 new jobs")
        assert await page.run(top) == before
        await page.run("document.querySelector('.news').click()")
        await page.until(
            "() => document.querySelector('.list').scrollTop === 0 && document.querySelector('.news').hidden"
        )


async def test_rows_stay_apart_when_the_window_becomes_narrow(redis: Redis, chromium: Chromium) -> None:
    for number in range(3):
        redis.add_job("http", f"n{number}", name="fetch")
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/queues/http") as page:
        await says(page, ".job .title", "fetch")
        await chromium.run(page.tab.set_viewport_size, {"width": 390, "height": 844})
        boxes = "[...document.querySelectorAll('.job')].map((each) => each.getBoundingClientRect())"
        sorted_boxes = f"{boxes}.sort((a, b) => a.top - b.top)"
        await page.until(f"() => {sorted_boxes}.every(({{ top }}, n, all) => !n || top >= all[n - 1].bottom)")


async def test_a_job_shows_its_life_and_its_result(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "7", name="fetch", timestamp=int(time.time() * 1000))
    redis.add_event("http", "added", "7", name="fetch")
    redis.add_event("http", "waiting", "7")
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/jobs/http/7") as page:
        await says(page, ".jobhead .chip", "waiting")
        await says(page, "h1", "fetch")
        begin(redis, "http", "7")
        redis.client.rpush("bull:http:7:logs", "first line", HOSTILE)
        redis.client.hset("bull:http:7", "progress", '{"done": 1, "total": 4}')  # as BullMQ, together with the event
        redis.add_event("http", "progress", "7", data='{"done": 1, "total": 4}')
        await says(page, ".jobhead .chip", "active")
        await page.until("() => document.querySelector('.going').innerText.startsWith('25 %')")
        await says(page, ".log .lines div", HOSTILE)
        result = {"link": "https://a.example/x", "script": "javascript:alert(1)", "deep": {HOSTILE: HOSTILE}}
        finish(redis, "http", "7", result)
        await says(page, ".jobhead .chip", "completed")
        await says(page, ".tree .key", f"{HOSTILE}:")
        await says(page, ".tree .text", HOSTILE)
        links = "[...document.querySelectorAll('.tree a')].map((each) => [each.href, each.rel])"
        assert await page.run(links) == [["https://a.example/x", "noopener noreferrer"]]
        assert await page.run(EVENTS) == ["waiting", "active", "completed"]
        assert await page.run("document.querySelectorAll('.life [data-state=active]').length") == 1
        assert await page.run("document.title") != "1"


async def test_a_failed_job_shows_its_reason(redis: Redis, chromium: Chromium) -> None:
    redis.add_job(
        "http",
        "7",
        state="failed",
        name=HOSTILE,
        timestamp=1000,
        processedOn=3000,
        finishedOn=4000,
        failedReason=HOSTILE,
    )
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/jobs/http/7") as page:
        await says(page, ".jobhead .chip", "failed")
        await says(page, ".failure .reason", HOSTILE)
        await says(page, "h1", HOSTILE)
        # Of this end there is no event, only the job's hash.
        await says(page, ".life [data-state=active] b", "ran 1.0 s")
        await page.run("location.hash = '#/jobs/http/none'")
        await says(page, ".jobhead .chip", "unknown")


async def test_it_goes_on_where_only_polls_get_through(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "7", name="fetch")
    async with live_bridge(redis.url, queues=("http",)) as live, anyio.create_task_group() as tasks:
        proxy = BlockingProxy(int(live.url.rpartition(":")[2]))
        proxy.websockets = "refuse"
        proxy.buffers = True
        tasks.start_soon(proxy.run)
        await anyio.lowlevel.checkpoint()
        async with chromium.page(f"http://127.0.0.1:{proxy.port}/#/jobs/http/7") as page:
            await says(page, ".status .pill", "Over HTTP")
            await chromium.run(page.tab.click, ".status .pill")
            http = "No WebSocket gets through this network, so events arrive over HTTP."
            await says(page, ".why span", f"{http} By polling: the network delays streams.")
            begin(redis, "http", "7")
            await says(page, ".jobhead .chip", "active")
        tasks.cancel_scope.cancel()


async def test_it_says_where_events_are_missing(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "7", name="fetch")
    redis.add_event("http", "waiting", "7")
    async with (
        quick_bridge(redis.url, queues=("http",)) as live,
        chromium.page(live.url + "/#/jobs/http/7") as page,
    ):
        await says(page, ".events .event", "waiting")
        redis.client.delete("bull:http:events")
        redis.add_event("http", "waiting", "8")
        await says(page, ".status .gap", "Gap")
        await chromium.run(page.tab.click, ".status .gap")
        await says(page, ".why span", "Events of http are missing, since Redis no longer had them.")
        await chromium.run(page.tab.click, ".why button")
        await page.until("() => document.querySelector('.status .gap').hidden && document.querySelector('.why').hidden")
        await says(page, ".status .pill", "Live")


async def test_a_reload_shows_the_same(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "7", name="fetch")
    redis.add_event("http", "waiting", "7")
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/jobs/http/7") as page:
        await says(page, ".jobhead .chip", "waiting")
        begin(redis, "http", "7")
        finish(redis, "http", "7", 42)
        await says(page, ".jobhead .chip", "completed")
        await page.until(f"{EVENTS}.length === 3")  # the chip may tell of the end before the events come
        before = await page.run(EVENTS)
        await chromium.run(page.tab.reload)
        await says(page, ".jobhead .chip", "completed")
        await page.until(f"{EVENTS}.length === 3")
        assert await page.run(EVENTS) == before == ["waiting", "active", "completed"]


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
        await page.until("() => document.querySelector('[name=name]')?.value === 'before'")
        await chromium.run(page.tab.keyboard.press, "Control+k")
        await chromium.run(page.tab.keyboard.type, "a/b/2")
        await page.until("() => document.querySelector('.palette li')?.dataset.href === '#/jobs/a%2Fb/2'")


async def test_it_works_below_a_path(redis: Redis, chromium: Chromium) -> None:
    """Of a bridge that an app has mounted, all requests go to that path."""
    redis.add_job("http", "7", name="fetch")
    with mounted_bridge(redis.url, "starlette", queues=("http",)) as url:
        async with chromium.page(f"{url}/#/jobs/http/7") as page:
            await says(page, ".status .pill", "Live")
            await says(page, "h1", "fetch")
            await page.run("location.hash = '#/logs'")
            await page.until(
                "() => document.querySelector('jobws-logs')?.shadowRoot.querySelector('[data-status=live]')"
            )
