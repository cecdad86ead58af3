"""Plays the vectors against a real server with a real Redis."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from itertools import cycle
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from tests.conformance.live import LiveTarget, give, play_live
from tests.conformance.runner import QUEUES, Vector, load_vectors, vector_id
from tests.support.bridge import live_bridge
from tests.support.mounted import APPS, mounted_bridge
from tests.support.redis_users import user

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis


# In the two kinds of apps in turn, since a mounted bridge behaves the same in each.
MOUNTED = list(zip((each for each in load_vectors("live") if each.get("redis") != "away"), cycle(APPS), strict=False))


@pytest.mark.parametrize(("vector", "kind"), MOUNTED, ids=[f"{vector_id(vector)}-{kind}" for vector, kind in MOUNTED])
async def test_a_mounted_bridge_keeps_the_rule(vector: Vector, kind: str, redis: Redis) -> None:
    """The bridge runs under uvicorn, that is, on asyncio, and below a path prefix."""
    give(redis, vector)
    with ExitStack() as mounted:
        bridge = mounted_bridge(redis.url, kind, **{"queues": QUEUES, **vector.get("settings", {})})
        url = await anyio.to_thread.run_sync(mounted.enter_context, bridge)
        async with AsyncExitStack() as stack:
            await play_live(LiveTarget(url, redis, vector, stack), vector)


# Without the variant of ASGI in short runs, since mounted bridges use ASGI, too.
@pytest.mark.parametrize("direct", [True, pytest.param(False, marks=pytest.mark.thorough)], ids=["direct", "asgi"])
@pytest.mark.parametrize("vector", load_vectors("live"), ids=vector_id)
async def test_a_live_server_keeps_the_rule(
    vector: Vector, direct: bool, redis: Redis, own_redis: Callable[..., Redis]
) -> None:
    """The bridge has the rights in Redis that docs/deployment.md names for reading, and no others."""
    away = vector.get("redis") == "away"
    used = own_redis() if away else redis
    give(used, vector)
    settings = {"queues": QUEUES, "direct": direct, **vector.get("settings", {})}
    async with AsyncExitStack() as stack:
        url = used.url if away else stack.enter_context(user(redis, "on"))
        live = await stack.enter_async_context(live_bridge(url, **settings))
        if away:
            await anyio.to_thread.run_sync(used.server.kill)
        await play_live(LiveTarget(live.url, used, vector, stack), vector)
