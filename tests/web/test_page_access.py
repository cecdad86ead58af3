"""The page of a bridge with keys: it asks for a token, keeps it in the tab, and shows what it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.support.page import ASKS, begin, finish, give, says
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Chromium
    from tests.support.redis import Redis

KEPT: Final = "Object.values(sessionStorage)"


async def test_it_asks_for_a_token_and_keeps_it_in_the_tab(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "1", name="fetch")
    token = jwt("read:queues:http read:jobs:http")
    async with (
        keyed_bridge(redis.url, queues=("http", "sparql")) as live,
        chromium.page(live.url + "/#/queues/http") as page,
    ):
        await says(page, ".status .pill", "No token")
        assert await page.run("document.querySelector('dialog.token input').type") == "password"
        await give(chromium, page, jwt("admin", key=b"x" * 32))
        await says(page, "dialog.token .problem", "the token is not accepted; the bridge's log says why")
        assert await page.run(KEPT) == []
        await give(chromium, page, token)
        await says(page, ".job .title", "fetch")
        assert await page.run(KEPT) == [token]
        assert await page.run("Object.values(localStorage).join()") == ""
        assert token not in await page.run("location.href + document.documentElement.outerHTML")
        await chromium.run(page.tab.reload)
        await says(page, ".job .title", "fetch")
        await chromium.run(page.tab.click, "[aria-label='Your rights']")
        await says(page, ".rights code", "read:queues:http")
        await chromium.run(page.tab.click, "dialog.who button:has-text('Forget')")
        await page.until(ASKS)
        assert await page.run(KEPT) == []
        assert await page.run("document.querySelector('main').innerText") == ""


async def test_it_says_which_right_is_missing(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "1", name="fetch")
    async with (
        keyed_bridge(redis.url, queues=("http", "sparql")) as live,
        chromium.page(live.url + "/#/queues/http") as page,
    ):
        await give(chromium, page, jwt("read:queues:http read:jobs:sparql"))
        await says(page, ".missing code", "read:jobs:http")
        await page.run("location.hash = '#/jobs/http/1'")
        await says(page, ".missing code", "read:jobs:http/1")
        await page.run("location.hash = '#/logs'")
        await says(page, ".missing code", "read:logs")
        await page.run("location.hash = '#/queues/http/submit'")
        await says(page, ".missing code", "write:jobs:http")
        await page.run("location.hash = '#/'")
        await says(page, ".row .name a", "http")
        await says(page, ".row .name a", "sparql")


async def test_a_token_for_one_job_shows_that_job_alone(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "a/b", name="fetch")
    async with keyed_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/") as page:
        await give(chromium, page, jwt("read:jobs:http/a%2Fb"))
        await says(page, "h1", "fetch")
        await says(page, ".jobhead .chip", "waiting")
        await page.run("location.hash = '#/queues/http'")
        await says(page, "h1", "fetch")
        assert await page.run("document.querySelector('.crumbs a')") is None
        assert await page.run("[...document.querySelectorAll('nav, .search')].every((each) => each.hidden)")


async def test_a_token_that_expires_soon_is_asked_for(redis: Redis, chromium: Chromium) -> None:
    """What the page shows goes on meanwhile. The new token is used without a loss."""
    redis.add_job("http", "1", name="fetch")
    async with (
        keyed_bridge(redis.url, queues=("http",), expiring_seconds=7200) as live,
        chromium.page(live.url + "/#/jobs/http/1") as page,
    ):
        soon, later = (jwt("read:jobs:http", seconds=seconds) for seconds in (3600, 86_400))
        await give(chromium, page, soon)
        await says(page, "dialog.token .problem", "The token expires soon. Give a new one to go on.")
        begin(redis, "http", "1")
        await says(page, ".jobhead .chip", "active")
        assert await page.run(KEPT) == [soon]
        await give(chromium, page, later)
        await page.until(f"!({ASKS})()")
        finish(redis, "http", "1", "done")
        await says(page, ".jobhead .chip", "completed")
        assert await page.run(KEPT) == [later]


async def test_a_token_that_is_revoked_is_forgotten(redis: Redis, chromium: Chromium, tmp_path: Path) -> None:
    redis.add_job("http", "1", name="fetch")
    revoked = tmp_path / "revoked"
    revoked.write_text("")
    async with (
        keyed_bridge(redis.url, queues=("http",), revoked_file=str(revoked)) as live,
        chromium.page(live.url + "/#/jobs/http/1") as page,
    ):
        await give(chromium, page, jwt("read:jobs:http", jti="mine"))
        await says(page, "h1", "fetch")
        revoked.write_text("mine\n")
        await page.until("() => sessionStorage.length === 0 && document.querySelector('dialog.token').open")
        assert await page.run("document.querySelector('main').innerText") == ""
