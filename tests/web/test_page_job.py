"""The page's view of one job, and its row: progress of any shape, and outcomes that no event and no hash hold."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.bridge import live_bridge
from tests.support.page import begin, finish, says

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.redis import Redis

# Of an example such as 50 % · about 1 min 20 s left, how many seconds.
LEFT: Final = """(() => {
  const { innerText } = document.querySelector('.going');
  const [, minutes = 0, seconds] = innerText.match(/about (?:(\\d+) min )?(\\d+) s left/) ?? [];
  return 60 * minutes + Number(seconds);
})()"""
ROWS: Final = [{"page": number, "text": "x" * 50} for number in range(100)]
OUTCOME: Final[dict[str, dict[str, Any]]] = {
    "completed": {"returnvalue": json.dumps({"rows": ROWS})},
    "failed": {"failedReason": "too long " * 400},
}
SHOWN: Final = {
    "completed": ".tree .count",
    "failed": ".failure .reason",
}


def forget(redis: Redis, job_id: str) -> None:
    """Take a job away, as BullMQ does with `removeOnComplete` and `removeOnFail`."""
    redis.client.delete(f"bull:http:{job_id}")
    for each in ("active", "wait"):
        redis.client.lrem(f"bull:http:{each}", 0, job_id)
    for each in ("completed", "failed"):
        redis.client.zrem(f"bull:http:{each}", job_id)


def add_past(redis: Redis, at: int, event: str, **fields: str) -> None:
    """Add an event of job 7 that happened at the time `at`."""
    entry = {"event": event, "jobId": "7", **fields}
    redis.add_entry("http", {name.encode(): value for name, value in entry.items()}, stream_id=f"{at}-0")


@pytest.mark.parametrize("event", ["completed", "failed"])
async def test_an_outcome_too_large_for_its_event_is_shown_though_its_job_is_gone(
    redis: Redis, chromium: Chromium, event: str
) -> None:
    redis.add_job("http", "7", name="fetch", timestamp=int(time.time() * 1000))
    async with (
        live_bridge(redis.url, queues=("http",), max_result_bytes=1000) as live,
        chromium.page(live.url + "/#/jobs/http/7") as page,
    ):
        await says(page, ".jobhead .chip", "waiting")
        begin(redis, "http", "7")
        await says(page, ".jobhead .chip", "active")
        forget(redis, "7")
        redis.add_event("http", event, "7", prev="active", **OUTCOME[event])
        shown = "{1 entry}" if event == "completed" else OUTCOME[event]["failedReason"].strip()
        await says(page, SHOWN[event], shown)
        await chromium.run(page.tab.reload)
        await says(page, SHOWN[event], shown)
        await says(page, ".jobhead .chip", event)
        redis.client.xtrim("bull:http:events", maxlen=0)
        await page.run("location.hash = '#/'")
        await page.run("location.hash = '#/jobs/http/7'")
        await says(page, ".jobhead .chip", "unknown")


async def test_it_says_that_such_an_outcome_is_gone(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "7", name="fetch", timestamp=int(time.time() * 1000))
    async with (
        live_bridge(redis.url, queues=("http",), max_result_bytes=1000) as live,
        chromium.page(live.url + "/#/jobs/http/7") as page,
    ):
        await says(page, ".jobhead .chip", "waiting")
        begin(redis, "http", "7")
        await says(page, ".jobhead .chip", "active")
        await chromium.run(page.tab.route, "**/jobs?**", lambda route: route.abort())
        forget(redis, "7")
        redis.add_event("http", "completed", "7", prev="active", **OUTCOME["completed"])
        await says(page, ".jobhead .chip", "completed")
        redis.client.xtrim("bull:http:events", maxlen=0)
        await chromium.run(page.tab.unroute, "**/jobs?**")
        await says(page, ".told", "The outcome was too large for an event, and Redis does not have it any more.")


async def test_a_result_stays_though_its_job_is_removed(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "7", name="fetch", timestamp=int(time.time() * 1000))
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/jobs/http/7") as page:
        await says(page, ".jobhead .chip", "waiting")
        begin(redis, "http", "7")
        finish(redis, "http", "7", "fine")
        await says(page, ".tree", "fine")
        forget(redis, "7")
        redis.add_event("http", "removed", "7", prev="completed")
        await says(page, ".jobhead .chip", "removed")
        await says(page, ".tree", "fine")


@pytest.mark.parametrize(
    ("progress", "row", "head"),
    [
        ({"percent": 40, "message": "reading"}, "40 %", "40 % · reading"),
        ({"done": 30, "total": 120}, "25 %", "25 % · 30 of 120"),
        (
            {"pages": 3, "errors": [1, 2], "site": {"a": 1}},
            "pages: 3, errors: [2], s…",
            "pages: 3, errors: [2], site: {…}",
        ),
        ("half way", "half way", "half way"),
    ],
)
async def test_progress_of_any_shape_is_read_easily(
    redis: Redis, chromium: Chromium, progress: object, row: str, head: str
) -> None:
    redis.add_job("http", "7", name="fetch", timestamp=int(time.time() * 1000))
    begin(redis, "http", "7")
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/queues/http") as page:
        await says(page, ".job .chip", "active")
        redis.client.hset("bull:http:7", "progress", json.dumps(progress))
        redis.add_event("http", "progress", "7", data=json.dumps(progress))
        await says(page, ".job .progress", row)
        assert await page.run("document.querySelector('.job .bar').classList.contains('none')") == ("%" not in row)
        await page.run("location.hash = '#/jobs/http/7'")
        await page.until(
            "(head) => document.querySelector('.going')?.innerText.split(/ · [^·]* left$/)[0] === head", head
        )
        assert await page.run("document.querySelector('.meter').hidden") == ("%" not in row)


async def test_the_time_left_falls_while_no_progress_comes(redis: Redis, chromium: Chromium) -> None:
    """Ten percent took ten seconds each, and the last of them are five seconds ago."""
    now = int(time.time() * 1000)
    redis.add_job("http", "7", state="active", timestamp=now - 30_000, processedOn=now - 25_000, progress="20")
    for ago, event, fields in ((25, "active", {}), (15, "progress", {"data": "10"}), (5, "progress", {"data": "20"})):
        add_past(redis, now - 1000 * ago, event, **fields)
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/jobs/http/7") as page:
        await page.until(f"{LEFT} > 0")
        before = await page.run(LEFT)
        assert before <= 75
        await page.until(f"{LEFT} < {before}")


async def test_the_time_left_is_known_after_the_first_progress(redis: Redis, chromium: Chromium) -> None:
    now = int(time.time() * 1000)
    redis.add_job("http", "7", state="active", timestamp=now - 30_000, processedOn=now - 25_000, progress="20")
    for ago, event, fields in ((25, "active", {}), (5, "progress", {"data": "20"})):
        add_past(redis, now - 1000 * ago, event, **fields)
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/jobs/http/7") as page:
        await says(page, ".events .event", "active")
        await page.until(f"{LEFT} > 50 && {LEFT} <= 75")


async def test_the_time_left_is_known_though_redis_has_no_event_any_more(redis: Redis, chromium: Chromium) -> None:
    now = int(time.time() * 1000)
    redis.add_job("http", "7", state="active", timestamp=now - 30_000, processedOn=now - 20_000, progress="20")
    redis.add_event("http", "active", "8")
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/jobs/http/7") as page:
        await page.until(f"{LEFT} > 70 && {LEFT} < 90")


async def test_a_delayed_job_says_when_it_is_due(redis: Redis, chromium: Chromium) -> None:
    now = int(time.time() * 1000)
    redis.add_job("http", "7", state="delayed", timestamp=now - 60_000)
    facts = "[...document.querySelectorAll('.aside dt')].map((each) => each.innerText)"
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/jobs/http/7") as page:
        # Only an event tells when.
        await page.until("() => /^delayed 1 min/.test(document.querySelector('.sums')?.innerText)")
        assert await page.run(facts) == ["Added"]
        redis.add_event("http", "delayed", "7", delay=now + 86_400_000)
        await page.until(f"{facts}[1] === 'Due'")
        await chromium.run(page.tab.reload)
        await page.until(f"{facts}[1] === 'Due'")
        due = "document.querySelector('.aside div:nth-child(2) dd').innerText"
        written = "new Date(%d).toLocaleTimeString(undefined, {hour: '2-digit', minute: '2-digit', second: '2-digit'})"
        assert await page.run(f"{due}.endsWith({written % (now + 86_400_000)})")
        redis.client.zrem("bull:http:delayed", "7")
        begin(redis, "http", "7")
        await says(page, ".jobhead .chip", "active")
        await page.until(f"!{facts}.includes('Due')")


async def test_a_job_between_two_attempts_does_not_run(redis: Redis, chromium: Chromium) -> None:
    """Redis has none of its events any more."""
    now = int(time.time() * 1000)
    redis.add_job("http", "7", state="delayed", timestamp=now - 90_000, processedOn=now - 60_000)
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/jobs/http/7") as page:
        await page.until("() => /^waited 30 s · delayed 1 min/.test(document.querySelector('.sums')?.innerText)")
