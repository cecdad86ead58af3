"""`<jobws-queue>` in a page of another origin: the numbers of a queue as they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.support import eventually
from tests.support.elements import host_page, until_part
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

QUEUE: Final = '<jobws-queue queue="http"></jobws-queue>'
NAME: Final = "jobws-queue"
COUNTS: Final = "part('counts', 'jobws-queue')?.replaceAll('\\n', ' ')"


async def until_counts(page: Page, *counts: str) -> None:
    """Wait until these counts are shown, and no others."""
    await page.until(f"(counts) => {COUNTS} === counts", " ".join(counts))


async def test_counts_move(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "1", timestamp=1795435729000)
    redis.add_job("http", "2", state="failed")
    async with host_page(chromium, redis.url, QUEUE * 2, queues=("http",)) as (live, page):
        await until_counts(page, "waiting 1", "active 0", "delayed 0", "completed 0", "failed 1")
        await until_part(page, "warning", "Jobs wait, and the queue has no worker.", NAME)
        assert len(live.bridge.fanout.rooms.whole_queue("http")) == 1, "both share a subscription"
        redis.client.rpoplpush("bull:http:wait", "bull:http:active")
        redis.add_job("http", "3", state="waiting-children")
        redis.add_event("http", "active", "1", prev="waiting")
        await until_counts(
            page, "waiting 0", "active 1", "delayed 0", "waiting for children 1", "completed 0", "failed 1"
        )
        await until_part(page, "warning", None, NAME)
        assert (await page.run("document.querySelector('jobws-queue').stats"))["counts"]["active"] == 1
        redis.client.hset("bull:http:meta", "paused", "1")
        redis.add_event("http", "paused", None)
        await until_part(page, "paused", "paused", NAME)
        await page.run("document.querySelectorAll('jobws-queue').forEach((each) => each.remove())")
        await eventually(lambda: not live.bridge.fanout.rooms.whole_queue("http"))


async def test_a_queue_that_is_not_there_yet(redis: Redis, chromium: Chromium) -> None:
    async with host_page(chromium, redis.url, QUEUE, queues=("*",)) as (_, page):
        missing = "There is no such queue yet. Its numbers appear here once there is."
        await until_part(page, "times", missing, NAME)
        redis.make_queue("http")
        redis.add_job("http", "1")
        redis.add_event("http", "waiting", "1")
        await until_counts(page, "waiting 1", "active 0", "delayed 0", "completed 0", "failed 0")


async def test_it_needs_the_right_to_read_the_queue(redis: Redis, chromium: Chromium) -> None:
    redis.make_queue("http")
    async with host_page(chromium, redis.url, QUEUE, serve=keyed_bridge) as (_, page):
        await page.run("(token) => { document.querySelector('jobws-queue').token = token; }", jwt("read:jobs:http/1"))
        await until_part(page, "reason", "http: the token does not allow this", NAME)
        await page.run("(token) => { document.querySelector('jobws-queue').token = token; }", jwt("read:queues:http"))
        await until_counts(page, "waiting 0", "active 0", "delayed 0", "completed 0", "failed 0")
        await until_part(page, "reason", None, NAME)
