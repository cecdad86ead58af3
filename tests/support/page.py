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

HOSTILE: Final = '<img src=x onerror="document.title=1">&amp;<script>document.title=1</script>'
"""A name that a page must show as it stands."""
LOADED: Final = ("/", "/page.js", "/page.css", "/page.svg", "/jobws.js", "/jobws-http.js", "/jobws-queues.js")
"""What a browser loads for the page, in all views together; tests/web/test_page_loads.py compares."""
ASKS: Final = "() => document.querySelector('dialog.token').open"
"""Whether the page asks for a token."""
ASKED: Final = "() => document.querySelector('dialog[open]')"
"""Whether it asks anything."""
EVENTS: Final = "[...document.querySelectorAll('.events .event')].map((each) => each.innerText)"
"""What happened to the job that it shows."""
AT_HALF: Final = "() => document.querySelector('.going').innerText.startsWith('50 %')"
"""Whether the job that it shows is at 50 %."""


async def says(page: Page, where: str, text: str) -> None:
    """Wait until an element that the selector `where` matches has this text."""
    await page.until(_SAYS, [where, text])


def row(job_id: str, part: str) -> str:
    """Return the selector of a part of a job in a list."""
    return f".job:has(.what[href$='/{job_id}']) {part}"


async def give(browser: Chromium, page: Page, token: str) -> None:
    """Wait until the page asks for a token, and give it this one."""
    await page.until(ASKS)
    await browser.run(page.tab.fill, "dialog.token input", token)
    await browser.run(page.tab.click, "dialog.token .primary")


async def click(browser: Chromium, page: Page, where: str) -> None:
    """Click on the element that Playwright's selector `where` names, once it is there."""
    await browser.run(page.tab.click, where)


async def submit(browser: Chromium, page: Page, data: str) -> None:
    """Write a job's data into the form for new jobs, and send the form."""
    await browser.run(page.tab.fill, "textarea", data)
    await click(browser, page, ".submit .primary")


async def act(browser: Chromium, page: Page, button: str, question: str) -> None:
    """Press the button with this text, and say yes to the question that must come."""
    await click(browser, page, f"main button:text-is('{button}')")
    await says(page, "dialog[open] h2", question)
    await click(browser, page, "dialog[open] button[value=yes]")


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
