"""Pages of another origin than the bridge's: one is allowed, and one gets an error that says what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.documents import block

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.page_server import PageServer
    from tests.support.redis import Redis

SOON = "reconnectionDelay: 10, reconnectionDelayMax: 10"


async def test_a_page_of_an_allowed_origin(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """It gets events over the WebSocket, and over HTTP what was too large for them, also of a job that is gone."""
    redis.add_event("http", "completed", "7", returnvalue='"large"', prev="active")
    async with (
        live_bridge(redis.url, allowed_origins=(pages.origin,), max_result_bytes=3) as live,
        chromium.page(f"{pages.origin}/blank.html") as page,
    ):
        assert await page.run("bridge => io(bridge).wait('7', { queue: 'http' })", live.url) == "large"


async def test_a_page_of_a_refused_origin(redis: Redis, chromium: Chromium, pages: PageServer) -> None:
    """No transport gets through. The browser does not say why, so the error names everything to check."""
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


@pytest.mark.parametrize("own", [True, False], ids=["a page of the bridge", "a page of an allowed origin"])
async def test_what_the_readme_shows_runs_with_the_module_that_the_bridge_serves(
    redis: Redis, chromium: Chromium, pages: PageServer, own: bool
) -> None:
    redis.add_job("http", "42", state="completed", returnvalue='{"pages":3}', finishedOn=1795435730000)
    async with (
        live_bridge(redis.url, allowed_origins=(pages.origin,)) as live,
        chromium.page(f"{live.url}/queues" if own else f"{pages.origin}/package.json") as page,
        trio.open_nursery() as nursery,
    ):
        shown = block("js", "jobs.watch(").replace("http://127.0.0.1:8787", live.url)
        # A function must import in this form what a script imports in its first lines.
        script = re.sub(r"^import (\{.*\}) from ('.*');", r"const \1 = await import(\2);", shown)
        assert script != shown
        told: list[Any] = []

        async def run() -> None:
            told.extend(
                await page.run(
                    f"async () => {{ const told = []; const console = {{ log: (...line) => told.push(line) }};"
                    f"{script}; jobs.disconnect(); return told; }}"
                )
            )

        nursery.start_soon(run)
        await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("http", "43")))
        redis.add_event("http", "progress", "43", data="50")
        redis.add_event("http", "failed", "43", failedReason="no such page")
    assert [line[0] for line in told[1:]] == ["progress", "failed"]
    assert (told[0], told[1][1]["data"], told[2][1]["failedReason"]) == ([{"pages": 3}], 50, "no such page")
