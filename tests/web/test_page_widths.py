"""The lists of the page in windows of any width: every cell is inside its frame, and what has room is not cut."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import pytest

from tests.support.bridge import live_bridge
from tests.support.page import says

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.redis import Redis

# By the view, its rows, and a text in one of them.
LISTS: Final = {
    "": (".queues > .row", ".row .name a", "http"),
    "queues/http": (".frame .job", ".job .title", "fetch the page"),
    "queues/http/failed": (".groups > .group", ".group .n", "3"),
}
# The cells that pass the end of their row, or of the window.
PASSING: Final = """(rows) => [...document.querySelectorAll(rows)].flatMap((row) => {
  const end = Math.min(row.getBoundingClientRect().right, innerWidth);
  return [...row.querySelectorAll(':scope > *, summary > *')]
    .filter((cell) => cell.getBoundingClientRect().right > end + 0.5)
    .map((cell) => cell.className);
})"""
WIDTHS: Final = (390, 730, 830, 900, 970, 990, 1440)


@pytest.fixture
def jobs(redis: Redis) -> Redis:
    """Jobs that have ended, which fill every column."""
    now = int(time.time() * 1000)
    for number in range(3):
        reason = f"no answer from 10.0.0.{number} within {number + 1} s, although it was asked again and again"
        redis.add_job(
            "http",
            str(uuid4()),
            state="failed",
            name="fetch the page",
            failedReason=reason,
            attemptsMade=3,
            progress=62,
            timestamp=now - 9_000_000,
            processedOn=now - 5_000_000,
            finishedOn=now - number,
        )
    return redis


@pytest.mark.parametrize("view", LISTS)
async def test_no_cell_passes_the_frame(jobs: Redis, chromium: Chromium, view: str) -> None:
    rows, where, text = LISTS[view]
    async with live_bridge(jobs.url, queues=("http",)) as live, chromium.page(f"{live.url}/#/{view}") as page:
        await says(page, where, text)
        for width in WIDTHS:
            await chromium.run(page.tab.set_viewport_size, {"width": width, "height": 800})
            assert (width, await page.run(PASSING, rows)) == (width, [])


async def test_an_id_is_whole_where_its_column_has_room(jobs: Redis, chromium: Chromium) -> None:
    async with live_bridge(jobs.url, queues=("http",)) as live, chromium.page(f"{live.url}/#/queues/http") as page:
        await says(page, ".job .title", "fetch the page")
        await chromium.run(page.tab.set_viewport_size, {"width": 1440, "height": 800})
        cut = "[...document.querySelectorAll('.job .id')].filter((id) => id.scrollWidth > id.clientWidth).length"
        assert await page.run(cut) == 0
