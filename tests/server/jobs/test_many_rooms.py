"""Many queues and rooms delay no client: the slowest pong takes about as long as with few queues."""

from __future__ import annotations

import statistics
import time
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from tests.support.bridge import BridgeProcess
from tests.support.client import raw_client

if TYPE_CHECKING:
    from tests.support.client import RawClient
    from tests.support.redis import Redis

ROOMS = 20_000
ROOMS_PER_CLIENT = 1000
ROUNDS = 7
SWEEP_SECONDS = 0.5


@pytest.mark.thorough
@pytest.mark.long
async def test_the_slowest_pong_does_not_grow_with_the_number_of_queues(redis: Redis) -> None:
    """20,000 rooms of one queue are swept again and again, with one other queue and with 199 others."""
    slowest: dict[int, list[float]] = {2: [], 200: []}
    with ExitStack() as processes:
        async with AsyncExitStack() as clients:
            asking: dict[int, RawClient] = {}
            for queues in slowest:
                for number in range(queues):
                    redis.make_queue(f"q{number}", prefix=f"with{queues}")
                bridge = processes.enter_context(
                    BridgeProcess(
                        *("--redis", redis.url, "--port", "0", "--queues", "*", "--prefix", f"with{queues}"),
                        *("--sweep-seconds", str(SWEEP_SECONDS)),
                    )
                )
                url = await anyio.to_thread.run_sync(bridge.started)
                for first in range(0, ROOMS, ROOMS_PER_CLIENT):
                    client = await clients.enter_async_context(raw_client(url))
                    items = [{"jobId": f"{first + each}", "queue": "q0"} for each in range(ROOMS_PER_CLIENT)]
                    await client.ask("subscribe-job", items)
                asking[queues] = await clients.enter_async_context(raw_client(url))
            for _ in range(ROUNDS):
                for queues, client in asking.items():
                    slowest[queues].append(await slowest_pong(client))
    assert statistics.median(slowest[200]) < 5 * statistics.median(slowest[2])


async def slowest_pong(client: RawClient) -> float:
    """Return the time of the slowest pong, in seconds. Pings are sent for as long as two sweeps may take."""
    longest = 0.0
    until = time.perf_counter() + 3 * SWEEP_SECONDS
    while (began := time.perf_counter()) < until:
        await client.ask("ping")
        longest = max(longest, time.perf_counter() - began)
    return longest
