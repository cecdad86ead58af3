"""Names, ids, reasons and labels that are HTML are text in every view of the page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tests.support.bridge import live_bridge
from tests.support.flows import add_child
from tests.support.page import HOSTILE, says

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

LABEL: Final = "<img src=x onerror=document.title=2>"


async def harmless(page: Page) -> None:
    """Fail if a name became an element, or ran."""
    assert await page.run("document.querySelectorAll('img[src=x], script:not([src])').length") == 0
    assert await page.run("document.title") not in ("1", "2")


async def test_names_are_text_in_every_view(redis: Redis, chromium: Chromium) -> None:
    now = int(time.time() * 1000)
    redis.make_queue(LABEL)
    redis.add_job(LABEL, "top", state="waiting-children", name=HOSTILE, timestamp=now)
    redis.add_event(LABEL, "added", "top", name=HOSTILE)
    add_child(redis, (LABEL, "top"), LABEL, HOSTILE)
    redis.client.hset(f"bull:{LABEL}:{HOSTILE}", "name", HOSTILE)
    redis.add_job(LABEL, "broken", state="failed", name=HOSTILE, failedReason=HOSTILE, finishedOn=now)
    label = quote(LABEL, safe="")
    async with live_bridge(redis.url, queues=("*",)) as live, chromium.page(live.url + "/") as page:
        await says(page, ".row .name a", LABEL)
        await harmless(page)

        await page.run("(hash) => (location.hash = hash)", f"#/queues/{label}")
        await says(page, ".job:has(.what[href$='/broken']) .title", HOSTILE)
        await says(page, f".job:has(.what[href$='/{quote(HOSTILE, safe='')}']) .title", HOSTILE)
        await harmless(page)

        await page.run("(hash) => (location.hash = hash)", f"#/queues/{label}/failed")
        await says(page, ".group .reason", HOSTILE)
        await chromium.run(page.tab.click, ".group summary")
        await says(page, ".group[open] li a", HOSTILE)
        await harmless(page)

        await page.run("(hash) => (location.hash = hash)", f"#/jobs/{label}/top")
        await says(page, ".flowrow .title", HOSTILE)
        await harmless(page)

        await chromium.run(page.tab.keyboard.press, "Control+k")
        await says(page, ".palette li > :first-child", LABEL)
        await chromium.run(page.tab.keyboard.insert_text, "broken")
        await says(page, ".palette li > :first-child", HOSTILE)
        await chromium.run(page.tab.fill, ".palette input", HOSTILE)
        await says(page, ".palette li .hint", f"waiting job {HOSTILE} of {LABEL}")
        await harmless(page)
