"""The extension's popup says for how long a job has been in its state, and says nothing where nobody knows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.bridge import live_bridge
from tests.support.extension import ORIGIN, USE, WATCH

if TYPE_CHECKING:
    from tests.support.extension_browser import ExtensionBrowser
    from tests.support.redis import Redis

SHOWN: Final = "[...document.querySelectorAll('li :is(.state, .since)')].map((it) => it.textContent).join()"


@pytest.mark.parametrize(
    ("redis_state", "tried", "shown"),
    [
        ("wait", 0, "waiting,for 5 min"),
        ("wait", 1, "waiting,"),  # for less long than since it was added
        ("delayed", 0, "delayed,"),
        ("active", 1, "active,for 2 min"),
        (None, 0, "not there yet,"),
    ],
)
async def test_of_a_job_that_was_there_before(
    redis: Redis, extension: ExtensionBrowser, redis_state: str | None, tried: int, shown: str
) -> None:
    now = int(time.time() * 1000)
    if redis_state is not None:
        begun: dict[str, Any] = {"processedOn": now - 150_000} if tried else {}
        redis.add_job("http", "7", state=redis_state, timestamp=now - 330_000, atm=tried, **begun)
    async with (
        live_bridge(redis.url, queues=("http",), allowed_origins=(ORIGIN,)) as live,
        extension.page("/popup.html") as popup,
    ):
        await popup.run(USE, [live.url, ""])
        await popup.run(WATCH, {"queue": "http", "jobId": "7"})
        await popup.until(f"!['', 'looking,'].includes({SHOWN})")
        assert await popup.run(SHOWN) == shown


async def test_of_a_job_whose_change_it_saw(redis: Redis, extension: ExtensionBrowser) -> None:
    """The event's position tells since when."""
    async with (
        live_bridge(redis.url, queues=("http",), allowed_origins=(ORIGIN,)) as live,
        extension.page("/popup.html") as popup,
    ):
        await popup.run(USE, [live.url, ""])
        await popup.run(WATCH, {"queue": "http", "jobId": "7"})
        await popup.until(f"{SHOWN} === 'not there yet,'")
        redis.add_event("http", "delayed", "7", delay="60000")
        await popup.until(f"/^delayed,for \\d s$/.test({SHOWN})")
