"""The page is as the viewer's system is: it tells times in the time zone there, and keeps still if that is wished."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import pytest

from tests.support.bridge import live_bridge
from tests.support.page import says

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.redis import Redis

ADDED: Final = datetime(2026, 11, 23, 21, 48, 49, tzinfo=UTC)
# How often a number of the overview has flashed.
COUNT_FLASHES: Final = """window.flashes = 0;
const { animate } = Element.prototype;
Element.prototype.animate = function (...given) { window.flashes++; return animate.apply(this, given) };"""


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York"])
async def test_times_are_in_the_time_zone_of_the_viewer(redis: Redis, chromium: Chromium, zone: str) -> None:
    redis.add_job("http", "7", name="fetch", timestamp=int(ADDED.timestamp() * 1000))
    there = ADDED.astimezone(ZoneInfo(zone))
    moment = f"{there:%b %d, %Y, %I:%M:%S %p} "
    titles = "[...document.querySelectorAll('main [title]')].map((each) => each.title.replace(/\\u202f/g, ' '))"
    shown = f"moment => {titles}.some((title) => title.startsWith(moment))"
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page("about:blank") as page:
        await page.command("Emulation.setTimezoneOverride", timezoneId=zone)
        await chromium.run(page.tab.goto, live.url + "/#/queues/http")
        await says(page, ".job .title", "fetch")
        await page.until(shown, moment)
        await page.run("location.hash = '#/jobs/http/7'")
        await says(page, "h1", "fetch")
        await page.until(shown, moment)
        assert f"{there:%I:%M:%S}" in await page.run("document.querySelector('main').innerText")


@pytest.mark.parametrize("wish", ["no-preference", "reduce"])
async def test_nothing_moves_if_the_viewer_wants_less_motion(redis: Redis, chromium: Chromium, wish: str) -> None:
    redis.add_job("http", "1")
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page("about:blank") as page:
        feature = {"name": "prefers-reduced-motion", "value": wish}
        await page.command("Emulation.setEmulatedMedia", features=[feature])
        await chromium.run(page.tab.add_init_script, COUNT_FLASHES)
        await chromium.run(page.tab.goto, live.url + "/")
        await says(page, ".status .pill", "Live")
        await says(page, ".row .count.waiting", "1")
        redis.add_job("http", "2")
        redis.add_event("http", "waiting", "2")
        await says(page, ".row .count.waiting", "2")
        flashes = await page.run("window.flashes")
        moving = await page.run("document.getAnimations().length")
    assert (flashes > 0, moving > 0) == ((False, False) if wish == "reduce" else (True, True))
