"""What a browser loads for the page in all its views: files of the bridge, and nothing from another host."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support.bridge import live_bridge
from tests.support.page import ASKS, LOADED, says
from tests.support.page_views import VIEWS, fill
from tests.support.tokens import keyed_bridge

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

FILES = ("document", "script", "stylesheet", "image", "font", "media", "manifest", "other")


class Requests:
    """Notes all that a page asks for: `hosts` and, of files, `paths`."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()
        self.paths: set[str] = set()

    async def listen(self, page: Page, *scripts: str) -> None:
        """Begin with a page that is still empty, and run scripts in it before its own."""
        page.tab.on("request", lambda request: self._note(request.url, request.resource_type))
        page.tab.on("websocket", lambda socket: self._note(socket.url, "websocket"))
        for script in scripts:
            await page.tab.add_init_script(script)

    def _note(self, url: str, kind: str) -> None:
        self.hosts.add(urlsplit(url).netloc)
        if kind in FILES:
            self.paths.add(urlsplit(url).path)


async def look_at_all(chromium: Chromium, page: Page) -> None:
    for address, there in VIEWS.items():
        await page.run(f"location.hash = '{address}'")
        await says(page, *there)
    await page.until("() => document.querySelector('jobws-logs').shadowRoot.querySelector('.lines time')")
    await chromium.run(page.tab.click, "[aria-label='Your rights']")
    await page.until("() => document.querySelector('dialog[open]')")
    await chromium.run(page.tab.keyboard.press, "Escape")
    await chromium.run(page.tab.keyboard.press, "Control+k")
    await page.until("() => document.querySelector('.palette li')")


async def test_no_view_loads_another_file_or_asks_another_host(redis: Redis, chromium: Chromium) -> None:
    fill(redis)
    asked, over_http = Requests(), Requests()
    async with live_bridge(redis.url, queues=("http",), allow_actions=True) as live:
        async with chromium.page("about:blank") as page:
            await chromium.run(asked.listen, page)
            await chromium.run(page.tab.goto, live.url + "/")
            await says(page, ".status .pill", "Live")
            await look_at_all(chromium, page)
            # A browser without a window loads no icon.
            icon = urlsplit(await page.run("document.querySelector('link[rel=icon]').href"))
        async with chromium.page("about:blank") as page:
            await chromium.run(over_http.listen, page, "delete window.WebSocket")
            await chromium.run(page.tab.goto, live.url + "/")
            await says(page, ".status .pill", "Over HTTP")
    assert asked.hosts == over_http.hosts == {icon.netloc} == {urlsplit(live.url).netloc}
    assert sorted(asked.paths | over_http.paths | {icon.path}) == sorted(LOADED)


async def test_nor_does_the_question_for_a_token(redis: Redis, chromium: Chromium) -> None:
    asked = Requests()
    async with keyed_bridge(redis.url, queues=("http",)) as live, chromium.page("about:blank") as page:
        await chromium.run(asked.listen, page)
        await chromium.run(page.tab.goto, live.url + "/")
        await page.until(ASKS)
    assert asked.hosts == {urlsplit(live.url).netloc}
    assert asked.paths < set(LOADED)
