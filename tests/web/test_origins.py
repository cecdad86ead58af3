"""Pages of another origin than the bridge's: one that it allows, and one that learns what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.page_server import PageServer
    from tests.support.redis import Redis

SOON = "reconnectionDelay: 10, reconnectionDelayMax: 10"


async def test_a_page_of_an_allowed_origin(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """Events over the WebSocket, and what was too large for them over HTTP."""
    redis.add_job("http", "7", state="completed", returnvalue='"large"', finishedOn=1795435730000)
    redis.add_event("http", "completed", "7", returnvalue='"large"', prev="active")
    async with (
        live_bridge(redis.url, allowed_origins=(pages.origin,), max_result_bytes=3) as live,
        chromium.page(f"{pages.origin}/blank.html") as page,
    ):
        assert await page.run("bridge => io(bridge).wait('7', { queue: 'http' })", live.url) == "large"


async def test_a_page_of_a_refused_origin(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """No transport gets through; a browser does not say why, so the error names all there is to check."""
    async with live_bridge(redis.url) as live, chromium.page(f"{pages.origin}/blank.html") as page:
        script = f"""bridge => new Promise((resolve) => {{
            const jobs = io(bridge, {{ {SOON} }});
            jobs.once('connect_error', (error) => resolve([error.name, error.message, jobs.active, jobs.transport]));
        }})"""
        assert await page.run(script, live.url) == [
            "JobwsError",
            f"no jobws bridge at {live.url}: is it running there, is that its URL, and does it allow this page's "
            f"origin (jobws serve --allow-origin {pages.origin})? (TypeError: Failed to fetch)",
            True,
            None,
        ]
