"""The addresses of a queue that the bridge does not know say so, and the connection is as live as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.bridge import live_bridge, quick_bridge
from tests.support.page import says

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.redis import Redis

NOWHERE: Final = "This bridge has no queue of this name."
YET: Final = "This bridge has no queue of this name yet. It appears here as soon as it has a job."
SEEN: Final = """(where) => [...document.querySelectorAll(where)].filter((each) => each.checkVisibility()).length"""
VIEWS: Final = {
    "queues/nowhere": (".frame .empty", ".filters, .columns, .goto"),
    "queues/nowhere/failed": (".empty", ".line button"),
    "queues/nowhere/submit": (".empty", "form"),
    "jobs/nowhere/1": (".told", ".panel, .actions button:not([hidden])"),
}


@pytest.mark.parametrize("view", VIEWS)
async def test_a_bridge_of_other_queues(redis: Redis, chromium: Chromium, view: str) -> None:
    where, hidden = VIEWS[view]
    redis.make_queue("http")
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(f"{live.url}/#/{view}") as page:
        await says(page, where, NOWHERE)
        await says(page, ".status .pill", "Live")
        assert await page.run(SEEN, hidden) == 0
        assert await page.run("document.querySelectorAll('.notice').length") == 0


@pytest.mark.parametrize(
    ("view", "comes"), [("queues/nowhere", ".job .title"), ("queues/nowhere/failed", ".group .reason")]
)
async def test_a_queue_that_appears(redis: Redis, chromium: Chromium, view: str, comes: str) -> None:
    async with quick_bridge(redis.url, queues=("*",)) as live, chromium.page(f"{live.url}/#/{view}") as page:
        await says(page, ".empty", YET)
        await says(page, ".status .pill", "Live")
        redis.make_queue("nowhere")
        redis.add_job("nowhere", "1", name="fetch", state="failed", failedReason="fetch")
        redis.add_event("nowhere", "added", "1", name="fetch")
        redis.add_event("nowhere", "failed", "1", failedReason="fetch")
        await says(page, comes, "fetch")
        await page.until(f"({SEEN})('.empty') === 0")
        assert await page.run("document.querySelectorAll('.notice').length") == 0


async def test_a_first_job_is_submitted(redis: Redis, chromium: Chromium) -> None:
    """The form of a queue that its first job makes stays."""
    async with (
        live_bridge(redis.url, queues=("*",)) as live,
        chromium.page(f"{live.url}/#/queues/nowhere/submit") as page,
    ):
        await page.until(
            "() => performance.getEntriesByType('resource').some(({ name }) => name.includes('queue-jobs'))"
        )
        await chromium.run(page.tab.click, ".submit .primary")
        await page.until("() => location.hash.startsWith('#/jobs/nowhere/')")
        await says(page, ".jobhead .chip", "waiting")
