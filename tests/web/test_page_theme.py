"""The page is light or dark as the system is, until the viewer chooses in this browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.bridge import live_bridge
from tests.support.page import says

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

COLOURS: Final = {"light": "rgb(245, 246, 249)", "dark": "rgb(16, 18, 25)"}


async def shows(page: Page, theme: str) -> None:
    """Wait until the ground, and what the browser draws itself, such as scroll bars, have the colours of a theme."""
    await page.until(
        "(wanted) => { const { backgroundColor, colorScheme } = getComputedStyle(document.body);"
        " return backgroundColor === wanted[0] && (colorScheme === wanted[1] || colorScheme === 'light dark') }",
        [COLOURS[theme], theme],
    )


@pytest.mark.parametrize(("system", "other"), [("light", "dark"), ("dark", "light")])
async def test_the_theme_is_that_of_the_system_or_the_chosen_one(
    redis: Redis, chromium: Chromium, system: str, other: str
) -> None:
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/") as page:
        await says(page, ".status .pill", "Live")
        await chromium.run(page.tab.emulate_media, color_scheme=other)
        await shows(page, other)
        await chromium.run(page.tab.emulate_media, color_scheme=system)
        await shows(page, system)
        await chromium.run(page.tab.click, "[aria-label='Light or dark']")
        await shows(page, other)
        await chromium.run(page.tab.reload)
        await shows(page, other)
        await chromium.run(page.tab.click, "[aria-label='Light or dark']")
        await shows(page, system)
        await chromium.run(page.tab.emulate_media, color_scheme=other)
        await chromium.run(page.tab.reload)
        await says(page, ".status .pill", "Live")
        await shows(page, system)
