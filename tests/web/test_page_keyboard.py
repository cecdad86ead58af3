"""Every action of the page with keys alone: Tab reaches it, it is seen to have the focus, and a key does it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.bridge import live_bridge, quick_bridge
from tests.support.page import begin, give, says
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

# What people call the element that has the focus, also one of a custom element; '' if it is not seen to have the focus.
FOCUSED: Final = """() => {
  let element = document.activeElement;
  while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  const { x, y, width, height } = element.getBoundingClientRect();
  const seen = width && x + width > 0 && x < innerWidth && y + height > 0 && y < innerHeight;
  if (!seen || getComputedStyle(element.closest('.job') ?? element).outlineStyle === 'none') return '';
  return (element.labels?.[0]?.innerText || element.ariaLabel || element.innerText || element.placeholder || '')
    .replace(/\\s+/g, ' ').trim();
}"""
MOST: Final = 60


class Keys:
    """The keys, for a page of the browser."""

    def __init__(self, browser: Chromium, page: Page) -> None:
        self._browser = browser
        self._page = page

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self._browser.run(self._page.tab.keyboard.press, key)

    async def write(self, text: str) -> None:
        """Type a text into the field that has the focus, in place of what is in it."""
        await self.press("Control+a")
        await self._browser.run(self._page.tab.keyboard.type, text)

    async def reach(self, name: str, step: str = "Tab") -> None:
        """Press Tab until an element whose name begins with `name` has the focus."""
        passed = []
        for _ in range(MOST):
            await self.press(step)
            passed.append(await self._page.run(FOCUSED))
            if passed[-1].startswith(name):
                return
        raise AssertionError(f"{name} is not among {passed}")

    async def use(self, name: str, key: str = "Enter") -> None:
        """Reach an element, and press a key."""
        await self.reach(name)
        await self.press(key)

    async def answer(self, question: str, button: str) -> None:
        """Answer a question. It begins with what does nothing, and Escape does nothing, too."""
        await says(self._page, "dialog[open] h2", question)
        assert await self._page.run(FOCUSED) == "Cancel"
        await self.use(button, "Space")
        await self._page.until("() => !document.querySelector('dialog[open]')")


@pytest.fixture
def jobs(redis: Redis) -> Redis:
    """Jobs in each state on which there are actions."""
    now = int(time.time() * 1000)
    for number, reason in enumerate(("no such page", "no such page", "too late")):
        redis.add_job("http", f"f{number}", state="failed", name="fetch", failedReason=reason, finishedOn=now - number)
    redis.add_job("http", "later", name="later", delay=100_000, timestamp=now)
    redis.client.lrem("bull:http:wait", 0, "later")
    redis.client.zadd("bull:http:delayed", {"later": (now + 100_000) * 4096})
    redis.add_job("http", "done", state="completed", name="whole", returnvalue='{"a":{"b":{},"c":1,"d":2,"e":3}}')
    redis.add_job("http", "runs", name="runs", timestamp=now)
    redis.client.rpush("bull:http:runs:logs", *(f"line {number}" for number in range(60)))
    begin(redis, "http", "runs")
    redis.add_log("a line", queue="http")
    return redis


async def test_jobs(jobs: Redis, chromium: Chromium) -> None:
    async with (
        live_bridge(jobs.url, queues=("http",), allow_actions=True) as live,
        chromium.page(live.url + "/") as page,
    ):
        keys = Keys(chromium, page)
        await says(page, ".row .name a", "http")
        await keys.use("Skip to the content")
        assert await page.run("document.activeElement.id") == "main"
        await keys.use("http")
        await says(page, ".job .title", "fetch")
        await keys.use("delayed", "Space")
        await page.until("() => document.querySelectorAll('.list .job').length === 1")
        await keys.reach("Jobs of http")
        await keys.press("ArrowDown", "Enter")
        await says(page, ".jobhead .chip", "delayed")
        await keys.use("Promote", "Space")
        await keys.answer("Promote “later” of http?", "Promote")
        await says(page, ".jobhead .chip", "waiting")
        await keys.use("http")
        await keys.use("failed", "Space")
        await keys.reach("Filter by name or id")
        await keys.write("f0")
        await page.until("() => document.querySelectorAll('.list .job').length === 1")
        await keys.reach("fetch")
        await keys.press("Enter")
        await says(page, ".failure .reason", "no such page")
        await keys.use("Remove")
        await says(page, "dialog[open] h2", "Remove “fetch” of http?")
        await keys.press("Escape")
        await page.until("() => !document.querySelector('dialog[open]')")
        assert await page.run(FOCUSED) == "Remove"
        await keys.reach("Retry", "Shift+Tab")
        await keys.press("Enter")
        await keys.answer("Retry “fetch” of http?", "Retry")
        await says(page, ".jobhead .chip", "waiting")
        await keys.use("Remove")
        await keys.answer("Remove “fetch” of http?", "Remove")
        await says(page, ".told", "This job was removed.")


async def test_a_queue_and_its_failed_jobs(jobs: Redis, chromium: Chromium) -> None:
    async with (
        live_bridge(jobs.url, queues=("http",), allow_actions=True) as live,
        chromium.page(live.url + "/#/queues/http") as page,
    ):
        keys = Keys(chromium, page)
        await says(page, ".queuehead button", "Pause")
        await keys.use("Pause")
        await keys.answer("Pause http? Jobs that run go on.", "Pause")
        await says(page, ".queuehead .note", "paused")
        await keys.reach("Resume")
        await keys.press("Enter")
        await keys.answer("Resume http?", "Resume")
        await keys.use("Failed by reason")
        await says(page, ".group .n", "2")
        await keys.use("2 no such page")
        await keys.reach("fetch")
        await keys.use("Retry these")
        await keys.answer("Retry 2 jobs that failed for this reason?", "Retry")
        await says(page, ".notice", "2 jobs wait for another run.")
        await keys.reach("Retry all failed", "Shift+Tab")
        await keys.press("Enter")
        await keys.answer("Retry all failed jobs of http?", "Retry all failed")
        await says(page, ".empty", "No job of this queue has failed.")
        await keys.reach("Submit", "Shift+Tab")
        await keys.press("Enter")
        await keys.reach("Data")
        await keys.write('{"url": "http://127.0.0.1"}')
        await keys.reach("Name")
        await keys.write("by hand")
        await keys.reach("Job id")
        await keys.write("mine")
        await keys.reach("Attempts")
        await keys.reach("Delay")
        await keys.reach("Priority")
        await keys.use("Submit")
        await page.until("() => location.hash === '#/jobs/http/mine'")
        await says(page, ".jobhead h1", "by hand")


async def test_what_a_view_holds(jobs: Redis, chromium: Chromium) -> None:
    async with (
        live_bridge(jobs.url, queues=("http",)) as live,
        chromium.page(live.url + "/#/jobs/http/done") as page,
    ):
        keys = Keys(chromium, page)
        await says(page, ".jobhead .chip", "completed")
        await keys.use("a: {4 entries}")
        await page.until("() => document.querySelector('.tree').innerText.includes('c: 1')")
        await page.run("location.hash = '#/jobs/http/runs'")
        await says(page, ".log .lines > div", "line 59")
        await keys.use("Pause")
        await says(page, ".panelhead button", "Follow")
        await keys.press("Enter")
        await says(page, ".panelhead button", "Pause")
        await keys.reach("Log of the job")
        top = "document.querySelector('.log .lines').scrollTop"
        before = await page.run(top)
        await keys.press("PageUp")
        await page.until(f"() => {top} < {before}")
        await keys.use("↓ Newest")
        await keys.reach("Logs", "Shift+Tab")
        await keys.press("Enter")
        await keys.reach("queue")
        await keys.write("http")
        await keys.press("Enter")
        await page.until("() => document.querySelector('jobws-logs').queue === 'http'")
        await keys.reach("filter messages")
        await keys.write("line")
        await keys.reach("least severe level")
        await keys.press("ArrowDown")
        await page.until("() => document.querySelector('jobws-logs').shadowRoot.querySelector('select').value")
        await keys.use("Pause")
        await keys.reach("log lines")
        await keys.reach("Light or dark", "Shift+Tab")
        theme = await page.run("getComputedStyle(document.body).backgroundColor")
        await keys.press("Space")
        assert await page.run("getComputedStyle(document.body).backgroundColor") != theme


async def test_a_token(jobs: Redis, chromium: Chromium) -> None:
    async with (
        keyed_bridge(jobs.url, queues=("http",)) as live,
        chromium.page(live.url + "/") as page,
    ):
        keys = Keys(chromium, page)
        await give(chromium, page, jwt("admin"))
        await says(page, ".row .name a", "http")
        for button in ("Change", "Forget token"):
            await keys.use("Your rights")
            await says(page, ".rights code", "admin")
            await keys.use(button)
            await page.until("() => document.activeElement.type === 'password'")
            await keys.write(jwt("admin"))
            await keys.press("Enter")
            await page.until("() => !document.querySelector('dialog[open]')")
            await says(page, ".row .name a", "http")
        await keys.use("Go to")
        await keys.write("http failed")
        await page.until("() => document.querySelectorAll('.palette li').length === 1")
        await keys.press("Enter")
        await page.until("() => location.hash === '#/queues/http/failed'")


async def test_what_comes_meanwhile(redis: Redis, chromium: Chromium) -> None:
    for number in range(100):
        redis.add_job("http", f"n{number}", name="fetch", timestamp=1000 + number)
    async with (
        quick_bridge(redis.url, queues=("http",)) as live,
        chromium.page(live.url + "/#/queues/http") as page,
    ):
        keys = Keys(chromium, page)
        await page.until("() => document.querySelector('.space')?.clientHeight >= 100 * 44")
        await says(page, ".status .pill", "Live")
        await keys.reach("Jobs of http")
        await keys.press("End")
        redis.add_job("http", "new", name="new", timestamp=2000)
        redis.add_event("http", "added", "new", name="new")
        await says(page, ".news", "↑ 1 new job")
        await keys.reach("↑ 1 new job", "Shift+Tab")
        await keys.press("Enter")
        await says(page, ".job .title", "new")
        redis.client.delete("bull:http:events")
        redis.add_event("http", "waiting", "n1")
        await says(page, ".status .gap", "Gap")
        await keys.reach("Gap", "Shift+Tab")
        await keys.press("Enter")
        await says(page, ".why span", "Events of http are missing, since Redis no longer had them.")
        assert await page.run(FOCUSED) == "Hide"
        await keys.press("Enter")
        await page.until("() => document.querySelector('.status .gap').hidden")
        assert await page.run(FOCUSED) == "Live"
        await keys.press("Enter")
        await says(page, ".why span", "Events arrive over a WebSocket.")
        await keys.press("Enter")
        await page.until("() => document.querySelector('.why').hidden")
        await keys.reach("Filter by name or id")
        await keys.write("elsewhere")
        await keys.use("Open the job with the id “elsewhere”")
        await page.until("() => location.hash === '#/jobs/http/elsewhere'")


async def test_any_queue_and_job_by_keyboard(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "a/b", name="fetch")
    redis.make_queue("sparql")
    async with (
        live_bridge(redis.url, queues=("http", "sparql")) as live,
        chromium.page(live.url + "/") as page,
    ):
        await says(page, ".row .name a", "sparql")
        for text, place in (("spar", "#/queues/sparql"), ("a/b", "#/jobs/http/a%2Fb"), ("logs", "#/logs")):
            await chromium.run(page.tab.keyboard.press, "Control+k")
            await page.until("() => document.activeElement.closest('dialog')")
            await chromium.run(page.tab.keyboard.type, text)
            await page.until(f"() => document.querySelector('.palette li')?.dataset.href === '{place}'")
            await chromium.run(page.tab.keyboard.press, "Enter")
            await page.until(f"() => location.hash === '{place}'")


async def test_the_list_is_used_by_keyboard(redis: Redis, chromium: Chromium) -> None:
    for number in range(100):
        redis.add_job("http", f"n{number}", name="fetch", timestamp=1000 + number)
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/#/queues/http") as page:
        await page.until("() => document.querySelector('.space')?.clientHeight >= 100 * 44")
        await chromium.run(page.tab.focus, ".list")
        for key in ("ArrowDown", "ArrowDown", "End", "ArrowUp"):
            await chromium.run(page.tab.keyboard.press, key)
        assert await page.run("document.activeElement.getAttribute('href')") == "#/jobs/http/n1"
        await chromium.run(page.tab.keyboard.press, "Enter")
        await says(page, ".jobhead .chip", "waiting")
        assert await page.run("document.activeElement.id") == "main"
