"""The view of a queue's failed jobs, by the reason of their failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.bridge import live_bridge
from tests.support.page import says

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.redis import Redis


async def test_failed_jobs_are_grouped_by_their_reason(redis: Redis, chromium: Chromium) -> None:
    for number in range(5):
        reason = f"timeout 110 after {number} ms" if number else "no such page"
        redis.add_job("http", f"j{number}", state="failed", failedReason=reason, finishedOn=number)
    async with (
        live_bridge(redis.url, queues=("http",)) as live,
        chromium.page(f"{live.url}/#/queues/http/failed") as page,
    ):
        await says(page, ".group .n", "4")
        await says(page, ".group .n", "1")
        await says(page, ".group .reason", "timeout 110 after … ms")  # only what differs is left out
        redis.add_event("http", "failed", "new", failedReason="no such page", prev="active")
        await says(page, ".group .n", "2")
        redis.add_event("http", "waiting", "j3", prev="failed")
        await says(page, ".group .n", "3")
        for job_id in ("j1", "j2"):
            redis.add_event("http", "waiting", job_id, prev="failed")
        await says(page, ".group .reason", "timeout 110 after 4 ms")


async def test_after_a_clean_it_has_the_jobs_that_redis_has(redis: Redis, chromium: Chromium) -> None:
    """Of a clean there is one event, and none of each job."""
    for job_id in ("goes", "stays"):
        redis.add_job("http", job_id, state="failed", failedReason="no such page", finishedOn=1)
    async with (
        live_bridge(redis.url, queues=("http",)) as live,
        chromium.page(f"{live.url}/#/queues/http/failed") as page,
    ):
        await says(page, ".group .n", "2")
        redis.client.delete("bull:http:goes")
        redis.client.zrem("bull:http:failed", "goes")
        redis.add_job("http", "unseen", state="failed", failedReason="no answer", finishedOn=2)
        redis.add_event("http", "cleaned", None, count="1")
        await says(page, ".group:has(a[href$='/stays']) .n", "1")
        await says(page, ".group:has(a[href$='/unseen']) .reason", "no answer")
        assert await page.run("document.querySelectorAll('.group').length") == 2
