"""The page says what the bridge does not tell it any more, and goes on when the bridge tells it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.authorizer import Authorizer, asking_bridge
from tests.support.page import ASKS, begin, give, says

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.redis import Redis

ENDED: Final = (
    "() => /^Not live: .*the token does not allow this$/.test(document.querySelector('.status .pill').innerText)"
)
SEES: Final = ("read:queues http", "read:queues sparql")


@pytest.mark.parametrize(("place", "chip"), [("queues/http", ".job .chip"), ("jobs/http/1", ".jobhead .chip")])
async def test_it_says_that_a_subscription_is_over(redis: Redis, chromium: Chromium, place: str, chip: str) -> None:
    redis.add_job("http", "1", name="fetch")
    with Authorizer(ttl=1) as authorizer:
        authorizer.allowed = None
        async with asking_bridge(redis.url, authorizer) as live, chromium.page(f"{live.url}/#/{place}") as page:
            await give(chromium, page, "ann")
            await says(page, ".status .pill", "Live")
            await says(page, chip, "waiting")
            authorizer.allowed = SEES
            await page.until(ENDED)
            begin(redis, "http", "1")
            authorizer.allowed = None
            await says(page, ".status .pill", "Live")
            await says(page, chip, "active")


async def test_it_asks_for_another_token_if_this_one_allows_nothing(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "1", name="fetch")
    with Authorizer() as authorizer:
        async with asking_bridge(redis.url, authorizer) as live, chromium.page(f"{live.url}/#/queues/http") as page:
            await page.until(ASKS)
            await page.run("([name, token]) => sessionStorage.setItem(name, token)", [f"jobws token {live.url}", "ann"])
            await chromium.run(page.tab.reload)
            await says(page, "dialog.token .problem", "the token does not allow this")
            authorizer.allowed = None
            await give(chromium, page, "bob")
            await says(page, ".job .title", "fetch")


async def test_a_job_of_which_nothing_is_known(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "1", name="fetch")
    with Authorizer(*SEES, ttl=1) as authorizer:
        async with asking_bridge(redis.url, authorizer) as live, chromium.page(f"{live.url}/#/jobs/http/1") as page:
            await give(chromium, page, "ann")
            await says(page, ".told", "the token does not allow this")
            await says(page, ".jobhead .chip", "loading …")
            authorizer.allowed = None
            await says(page, ".jobhead .chip", "waiting")
            await page.until("() => document.querySelector('.told').hidden")
            await page.run("location.hash = '#/jobs/nosuch/1'")
            await says(page, ".jobhead .chip", "unknown")
