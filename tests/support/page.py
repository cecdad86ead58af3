"""What tests of the bridge's page share."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

# A function, since the page's Content Security Policy forbids to evaluate text.
_SAYS: Final = """([where, text]) =>
    [...document.querySelectorAll(where)].some((each) => each.innerText.trim() === text)"""

ASKS: Final = "() => document.querySelector('dialog.token').open"
"""Whether the page asks for a token."""


async def says(page: Page, where: str, text: str) -> None:
    """Wait until an element that the selector `where` matches has this text."""
    await page.until(_SAYS, [where, text])


async def give(browser: Chromium, page: Page, token: str) -> None:
    """Wait until the page asks for a token, and give it this one."""
    await page.until(ASKS)
    await browser.run(page.tab.fill, "dialog.token input", token)
    await browser.run(page.tab.click, "dialog.token .primary")


def begin(redis: Redis, queue: str, job_id: str) -> None:
    """Write what BullMQ writes when a worker takes a job."""
    redis.client.lrem(f"bull:{queue}:wait", 0, job_id)
    redis.client.lpush(f"bull:{queue}:active", job_id)
    redis.client.hset(f"bull:{queue}:{job_id}", "processedOn", int(time.time() * 1000))
    redis.add_event(queue, "active", job_id, prev="waiting")


def finish(redis: Redis, queue: str, job_id: str, result: object) -> None:
    """Write what BullMQ writes when a job has been completed."""
    text, now = json.dumps(result), int(time.time() * 1000)
    redis.client.lrem(f"bull:{queue}:active", 0, job_id)
    redis.add_job(queue, job_id, state="completed", returnvalue=text, finishedOn=now, attemptsMade=1)
    redis.add_event(queue, "completed", job_id, returnvalue=text, prev="active")
