"""`<jobws-logs>` in a page of another origin: the lines of the bridge's log, live, with filters, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobws.server.bridge import RESTART
from tests.support.elements import host_page, until_part

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

NAME: Final = "jobws-logs"
ROOT: Final = "document.querySelector('jobws-logs').shadowRoot"
MESSAGES: Final = f"[...{ROOT}.querySelectorAll('.message')].map((each) => each.textContent)"
CHOOSE: Final = f"""([name, value, event]) => {{
  {ROOT}.querySelector(name).value = value;
  {ROOT}.querySelector(name).dispatchEvent(new Event(event));
}}"""
AT_END: Final = f"""() => {{
  const box = {ROOT}.querySelector('[role=log]');
  return box.scrollHeight - box.scrollTop - box.clientHeight < 5;
}}"""
HOSTILE: Final = "<img src=x onerror='window.harmed = true'>"
QUIET: Final[dict[str, Any]] = {"own_log": False}


async def until_messages(page: Page, *messages: str) -> None:
    await page.until(f"(messages) => JSON.stringify({MESSAGES}) === JSON.stringify(messages)", list(messages))


async def test_lines_come_live_and_across_a_restart(redis: Redis, chromium: Chromium) -> None:
    redis.add_log("before", source="worker", queue="http", jobId="7")
    async with host_page(chromium, redis.url, "<jobws-logs></jobws-logs>", **QUIET) as (live, page):
        await until_messages(page, "before")
        assert await page.run(f"{ROOT}.querySelector('.about').textContent.trim()") == "worker / http / 7"
        await until_part(page, "connection", "live", NAME)
        redis.add_log(HOSTILE, level="error")
        await until_messages(page, "before", HOSTILE)
        live.bridge.close_all(RESTART)
        redis.add_log("after")
        await until_messages(page, "before", HOSTILE, "after")
        assert await page.run(f"{ROOT}.querySelector('img') === null && window.harmed === undefined")


async def test_filters_are_attributes_and_the_viewer_may_change_them(redis: Redis, chromium: Chromium) -> None:
    for level in ("debug", "warning", "error"):
        redis.add_log(f"a {level}", level=level, queue="http")
    redis.add_log("another queue", level="error", queue="sparql")
    body = '<jobws-logs queue="http" level="warning"></jobws-logs>'
    async with host_page(chromium, redis.url, body, **QUIET) as (_, page):
        await until_messages(page, "a warning", "a error")
        await page.run(CHOOSE, ["select", "", "change"])
        await until_messages(page, "a debug", "a warning", "a error")
        await page.run(CHOOSE, ["input", "ERR", "input"])
        await until_messages(page, "a error")
        await page.run("document.querySelector('jobws-logs').queue = null")
        await until_messages(page, "a warning", "a error", "another queue")


async def test_a_reader_who_scrolls_up_is_not_moved(redis: Redis, chromium: Chromium) -> None:
    for number in range(100):
        redis.add_log(f"line {number}")
    async with host_page(chromium, redis.url, "<jobws-logs></jobws-logs>", **QUIET) as (_, page):
        await page.until(f"() => {MESSAGES}.length === 100")
        await page.until(AT_END)
        await page.run(f"{ROOT}.querySelector('[role=log]').scrollTop = 50")
        await page.until(f"() => !{ROOT}.querySelector('[part=follow]').hidden")
        redis.add_log("newest")
        await page.until(f"() => {ROOT}.querySelector('[part=follow]').textContent === '↓ 1 new'")
        assert await page.run(f"{ROOT}.querySelector('[role=log]').scrollTop") == 50
        await page.run(f"{ROOT}.querySelector('[part=follow]').click()")
        await page.until(f"() => {MESSAGES}.at(-1) === 'newest'")
        await page.until(AT_END)
