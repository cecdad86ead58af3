"""More look-ups than fit into the time that a subscription may wait."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio

from tests.support.bridge import live_bridge
from tests.support.client import raw_client

if TYPE_CHECKING:
    from tests.support.client import RawClient
    from tests.support.redis import Redis

CLIENTS = 10
SUBSCRIPTIONS = 200
QUEUES = 10


async def ask_for_all(clients: list[RawClient]) -> tuple[int, float]:
    """Have each client subscribe to jobs in any queue. How many were answered, and the seconds that it took."""
    answered = 0
    began = time.monotonic()

    async def ask(client: RawClient, number: int) -> None:
        nonlocal answered
        items = [{"jobId": f"{number}-{job}", "sub": job} for job in range(SUBSCRIPTIONS)]
        results = (await client.ask("subscribe-job", items))["data"]["results"]
        answered += sum("error" not in result for result in results)

    async with anyio.create_task_group() as tasks:
        for number, client in enumerate(clients):
            tasks.start_soon(ask, client, number)
    return answered, time.monotonic() - began


async def test_a_bridge_that_is_too_slow_for_all_answers_some(redis: Redis) -> None:
    """All would be late each time if they were looked up together, however often they are asked for."""
    for number in range(QUEUES):
        redis.make_queue(f"q{number}")
    queues = tuple(f"q{number}" for number in range(QUEUES))
    seconds = 60.0
    for _ in range(2):
        async with AsyncExitStack() as stack:
            live = await stack.enter_async_context(live_bridge(redis.url, queues=queues, join_seconds=seconds / 4))
            clients = [await stack.enter_async_context(raw_client(live.url)) for _ in range(CLIENTS)]
            answered, seconds = await ask_for_all(clients)
    assert answered
