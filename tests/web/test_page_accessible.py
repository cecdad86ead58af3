"""axe-core finds nothing serious in any view of the page, light or dark, wide or narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from tests.support.axe import PAGES, RUN, source
from tests.support.bridge import live_bridge
from tests.support.node import install_packages
from tests.support.page import says
from tests.support.page_views import VIEWS, fill
from tests.support.tokens import keyed_bridge

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis


@pytest.fixture
def filled(redis: Redis) -> Redis:
    fill(redis)
    return redis


async def violations(browser: Chromium, page: Page) -> Any:
    await page.run(f"() => {{ {source()} }}")
    return await page.run(RUN)


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_view_has_a_serious_barrier(filled: Redis, chromium: Chromium, theme: str, width: int) -> None:
    await anyio.to_thread.run_sync(install_packages, PAGES, "axe-core")
    found = {}
    async with (
        live_bridge(filled.url, queues=("http",), allow_actions=True) as live,
        chromium.page(live.url + "/") as page,
    ):
        await chromium.run(page.tab.emulate_media, color_scheme=theme, reduced_motion="reduce")
        await chromium.run(page.tab.set_viewport_size, {"width": width, "height": 844})
        for address, there in VIEWS.items():
            await page.run(f"location.hash = '{address}'")
            await says(page, *there)
            found[address] = await violations(chromium, page)
        for dialog, opener in (("rights", "[aria-label='Your rights']"), ("question", ".actions button:last-child")):
            await page.run("location.hash = '#/jobs/http/broken'")
            await says(page, ".failure .reason", "no such page")
            await chromium.run(page.tab.click, opener)
            await page.until("() => document.querySelector('dialog[open]')")
            found[dialog] = await violations(chromium, page)
            await chromium.run(page.tab.keyboard.press, "Escape")
        await chromium.run(page.tab.keyboard.press, "Control+k")
        await page.until("() => document.querySelector('.palette li')")
        found["go to"] = await violations(chromium, page)
    async with keyed_bridge(filled.url, queues=("http",)) as live, chromium.page(live.url + "/") as page:
        await chromium.run(page.tab.emulate_media, color_scheme=theme, reduced_motion="reduce")
        await page.until("() => document.querySelector('dialog.token').open")
        found["token"] = await violations(chromium, page)
    assert {place: each for place, each in found.items() if each} == {}
