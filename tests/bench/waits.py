"""`python -m tests.bench.waits` does 1,000 waits in a row on one connection, and compares the first 100 with the
last.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import Final

import anyio.to_thread
import trio

from jobws.client import Client
from jobws.client.connection.reconnecting import Session, running
from jobws.client.connection.token import Credentials
from jobws.client.jobs.subscriptions import Subscriptions
from jobws.embedded import EmbeddedRedis
from tests.support.bridge import BridgeProcess
from tests.support.redis import Redis

WAITS: Final = 1000
PART: Final = 100


class Counted(Subscriptions):
    """Counts the messages that it has sent."""

    sent = 0

    def requests(self, now: float) -> list[str]:
        messages = super().requests(now)
        self.sent += len(messages)
        return messages


async def measure(url: str, redis: Redis, waits: int) -> tuple[int, list[float]]:
    """Return how many messages the client sent, and how many milliseconds each wait took.

    The jobs have already ended, so a wait takes as long as the answer of the bridge.
    """
    for number in range(waits):
        redis.add_event("http", "completed", f"job-{number}", returnvalue=f"{number}")
    times = []
    credentials, exchange = Credentials(None), Counted(random.random)
    async with running(Session[Subscriptions](url, credentials, exchange, "/ws")) as session:
        jobs = Client(url, credentials, session)
        for number in range(waits):
            began = time.perf_counter()
            result = await jobs.wait(f"job-{number}", "http")
            times.append((time.perf_counter() - began) * 1000)
            if result != number:
                raise SystemExit(f"job {number} gave {result}")
    return exchange.sent, times


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.waits", description=__doc__)
    parser.add_argument("--waits", type=int, default=WAITS)
    waits = parser.parse_args().waits
    with (
        EmbeddedRedis() as server,
        Redis(server) as redis,
        BridgeProcess("--port", "0", "--redis", redis.url) as bridge,
    ):

        async def run() -> tuple[int, list[float]]:
            url = await anyio.to_thread.run_sync(bridge.started)
            return await measure(url, redis, waits)

        sent, times = trio.run(run)
    first, last = sum(times[:PART]), sum(times[-PART:])
    print(f"{waits} waits: {sent / waits:.3f} messages each, median {statistics.median(times):.2f} ms")
    print(f"the first {PART}: {first:.0f} ms; the last {PART}: {last:.0f} ms; ratio {last / first:.2f}")


if __name__ == "__main__":
    main()
