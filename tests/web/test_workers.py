"""The adapter without a page: in a worker, a shared worker, and a service worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.support import eventually
from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.page_server import PageServer
    from tests.support.redis import Redis

# Each script starts a worker, asks it, and returns its first answer.
START: Final = {
    "Worker": """question => new Promise((resolve) => {
        const worker = new Worker('/worker.mjs', { type: 'module' });
        worker.onmessage = (answer) => resolve(answer.data);
        worker.postMessage(question);
    })""",
    "SharedWorker": """question => new Promise((resolve) => {
        const { port } = new SharedWorker('/worker.mjs', { type: 'module' });
        port.onmessage = (answer) => resolve(answer.data);
        port.postMessage(question);
    })""",
    "ServiceWorker": """async (question) => {
        await navigator.serviceWorker.register('/worker.mjs', { type: 'module' });
        const { active } = await navigator.serviceWorker.ready;
        return new Promise((resolve) => {
            navigator.serviceWorker.onmessage = (answer) => resolve(answer.data);
            navigator.serviceWorker.startMessages();
            active.postMessage(question);
        });
    }""",
}


@pytest.mark.parametrize("kind", START)
async def test_a_worker_of_any_kind(redis: Redis, chromium: Chromium, pages: PageServer, kind: str) -> None:
    async with (
        live_bridge(redis.url, allowed_origins=(pages.origin,)) as live,
        chromium.page(f"{pages.origin}/blank.html") as page,
        trio.open_nursery() as nursery,
    ):
        answers = []

        async def ask() -> None:
            answers.append(await page.run(START[kind], {"bridge": live.url, "job": "7"}))

        nursery.start_soon(ask)
        await eventually(lambda: bool(live.bridge.fanout.rooms))
        redis.add_event("http", "completed", "7", returnvalue='{"in": "a worker"}', prev="active")
    assert answers == [{"in": "a worker"}]
