"""Plays vectors over `/logs`: those for logs, and those about connections, messages and errors that name no job."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from tests.conformance.live import LiveTarget, play_live
from tests.conformance.runner import QUEUES, Vector, load_vectors, vector_id
from tests.support.bridge import live_bridge
from tests.support.mounted import mounted_bridge
from tests.support.redis_users import user

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis


def is_about_no_job(vector: Vector) -> bool:
    steps = json.dumps(vector["steps"])
    return vector["rule"][0] in "CMX" and "subscribe-" not in steps and '"entry"' not in steps


SHARED = [vector for vector in load_vectors("live") if is_about_no_job(vector)]
VECTORS = [*SHARED, *(vector for vector in load_vectors("logs") if vector.get("targets"))]


class LogTarget(LiveTarget):
    path = "/logs"


def test_what_is_common_is_played() -> None:
    assert {vector["rule"] for vector in SHARED} == {"C1", "C2", "C3", "C4", "M1", "M2", "M3", "M4", "M6", "X1"}
    assert len(SHARED) >= 18


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "asgi"])
@pytest.mark.parametrize("vector", VECTORS, ids=vector_id)
async def test_the_log_keeps_the_rule(
    vector: Vector, direct: bool, redis: Redis, own_redis: Callable[..., Redis]
) -> None:
    away = vector.get("redis") == "away"
    used = own_redis() if away else redis
    settings = {"queues": QUEUES, "direct": direct, **vector.get("settings", {})}
    async with AsyncExitStack() as stack:
        url = used.url if away else stack.enter_context(user(redis, "on"))
        live = await stack.enter_async_context(live_bridge(url, **settings))
        if away:
            await anyio.to_thread.run_sync(used.server.kill)
        await play_live(LogTarget(live.url, used, vector, stack), vector)


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.get("redis") != "away"], ids=vector_id)
async def test_the_log_of_a_mounted_bridge_keeps_the_rule(vector: Vector, redis: Redis) -> None:
    """The bridge runs under uvicorn, that is, on asyncio, and below a path prefix."""
    with ExitStack() as mounted:
        bridge = mounted_bridge(redis.url, "starlette", queues=QUEUES, **vector.get("settings", {}))
        url = await anyio.to_thread.run_sync(mounted.enter_context, bridge)
        async with AsyncExitStack() as stack:
            await play_live(LogTarget(url, redis, vector, stack), vector)
