"""The page shows the flow of a job: all jobs below it by their names, also after the job itself has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import eventually
from tests.support.flows import QUEUES, add_child, add_flow, end_child, fail_of_child, flow_bridge
from tests.support.page import begin, give, says
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from playwright.async_api import APIResponse, Route

    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

TOP = ("http", "top")


async def shows(page: Page, name: str, state: str) -> None:
    """Wait until the flow has a job with this name in this state."""
    await page.until(
        "([name, state]) => [...document.querySelectorAll('.flowrow')].some((each) =>"
        " each.querySelector('.title').innerText === name && each.querySelector('.chip').innerText.trim() === state)",
        [name, state],
    )


async def test_it_is_followed_after_the_job_itself_has_ended(redis: Redis, chromium: Chromium) -> None:
    add_flow(redis)
    async with flow_bridge(redis.url) as live, chromium.page(live.url + "/#/jobs/http/top") as page:
        await says(page, ".panelhead .hint", "0 of 3 jobs done")
        end_child(redis, TOP, "techstack", "b", "failed")
        fail_of_child(redis, "http", "top", "bull:techstack:b")
        await says(page, ".jobhead .chip", "failed")
        await says(page, ".panelhead .hint", "0 of 3 jobs done, 1 failed")
        add_child(redis, ("sparql", "a"), "sparql", "late")
        await shows(page, "test", "waiting")
        end_child(redis, ("sparql", "a"), "techstack", "c")
        end_child(redis, ("sparql", "a"), "sparql", "late")
        await page.until("() => document.querySelectorAll('.flowrow [data-state=completed]').length === 2")
        await says(page, ".panelhead .hint", "2 of 4 jobs done, 1 failed")


def add_quietly(redis: Redis, *job_ids: str) -> None:
    """Add `top` with jobs below it of which there is no event."""
    redis.add_job(*TOP, state="waiting-children")
    for job_id in job_ids:
        redis.add_job("techstack", job_id, name=f"scan {job_id}", parentKey="bull:http:top")
        redis.client.sadd("bull:http:top:dependencies", f"bull:techstack:{job_id}")


async def test_jobs_have_names_though_no_event_tells_them(redis: Redis, chromium: Chromium) -> None:
    """A look-up that fails is tried again."""
    add_quietly(redis, "b", "c")
    failed: list[Route] = []

    async def fail(route: Route) -> None:
        failed.append(route)
        await route.abort()

    async with flow_bridge(redis.url) as live, chromium.page(live.url + "/#/jobs/http/top") as page:
        await says(page, ".panelhead .hint", "0 of 2 jobs done")
        await chromium.run(page.tab.route, "**/lookup*", fail)
        begin(redis, "techstack", "b")
        await eventually(lambda: bool(failed))
        await shows(page, "b", "active")
        await says(page, ".flowrow .hint", "techstack")
        await chromium.run(page.tab.unroute, "**/lookup*")
        await shows(page, "scan b", "active")
        await says(page, ".flowrow .hint", "techstack / b")
        begin(redis, "techstack", "c")
        await shows(page, "scan c", "active")


async def test_a_look_up_does_not_undo_what_happened_meanwhile(redis: Redis, chromium: Chromium) -> None:
    add_quietly(redis, "b")
    answered: list[tuple[Route, APIResponse]] = []

    async def hold(route: Route) -> None:
        answered.append((route, await route.fetch()))

    async with flow_bridge(redis.url) as live, chromium.page(live.url + "/#/jobs/http/top") as page:
        await says(page, ".panelhead .hint", "0 of 1 job done")
        await chromium.run(page.tab.route, "**/lookup*", hold)
        begin(redis, "techstack", "b")
        await eventually(lambda: bool(answered))
        end_child(redis, TOP, "techstack", "b")
        await shows(page, "b", "completed")
        ((route, response),) = answered
        await chromium.run(route.fulfill, response=response)
        await shows(page, "scan b", "completed")


async def test_with_the_right_to_the_flow_alone_no_job_below_can_be_opened(redis: Redis, chromium: Chromium) -> None:
    """Nor is it looked up, which would be refused: its name comes with the event that added it."""
    add_flow(redis)
    asked: list[str] = []

    async def listen(page: Page) -> None:  # Playwright asks for the loop of its own thread
        page.tab.on("request", lambda request: asked.append(request.url))

    async with keyed_bridge(redis.url, queues=QUEUES) as live, chromium.page(live.url + "/") as page:
        await chromium.run(listen, page)
        await give(chromium, page, jwt("read:jobs:http/top:children"))
        await says(page, ".panelhead .hint", "0 of 3 jobs done")
        await shows(page, "test", "waiting")
        end_child(redis, TOP, "techstack", "b")
        await shows(page, "test", "completed")
        await says(page, ".panelhead .hint", "1 of 3 jobs done")
        assert await page.run("document.querySelectorAll('.flowrow a').length") == 0
    assert not [url for url in asked if "lookup" in url]


async def test_it_says_that_a_flow_is_too_large(redis: Redis, chromium: Chromium) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url, max_subscriptions=4) as live,
        chromium.page(live.url + "/#/jobs/http/top") as page,
    ):
        await says(page, ".panelhead .hint", "top: the flow has more jobs than a connection may have subscriptions")
