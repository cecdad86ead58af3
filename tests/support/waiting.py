"""HTTP requests that take long: until a job has ended, or for as long as the client stays."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio

from tests.support import eventually
from tests.support.http import call

if TYPE_CHECKING:
    from tests.support.bridge import Live
    from tests.support.redis import Redis

RESULT = '"' + "x" * 50_000 + '"'


class Held:
    """A request that is under way. `answer` waits for it."""

    def __init__(self, live: Live, tasks: anyio.abc.TaskGroup, path: str) -> None:
        self._live = live
        self._done = anyio.Event()
        self._answer: tuple[int, Any] = (0, None)
        tasks.start_soon(self._ask, live.url + path)

    async def _ask(self, url: str) -> None:
        self._answer = await call("GET", url)
        self._done.set()

    async def waits(self) -> None:
        """Wait until the request has subscribed to the job and its look-up is done. The request must not have ended."""

        def subscribed() -> bool:
            connected = list(self._live.bridge.clients.connected)
            return bool(connected) and not any(each.catching_up for each in connected)

        await eventually(subscribed)
        assert not self._done.is_set()

    async def answer(self) -> tuple[int, Any]:
        with anyio.fail_after(20):
            await self._done.wait()
        return self._answer


def finish(redis: Redis, job_id: str, state: str, queue: str = "http", **fields: str) -> str:
    """Write what BullMQ writes when a job ends: the hash, the set and the event. Return the event's stream id."""
    redis.client.lrem(f"bull:{queue}:active", 1, job_id)
    redis.add_job(queue, job_id, state=state, finishedOn=str(round(time.time() * 1000)), **fields)
    return redis.add_event(queue, state, job_id, prev="active", **fields)


def is_free(live: Live) -> bool:
    return not live.bridge.fanout.rooms and not live.bridge.clients.connected


def subscribe(jobs: object, **rest: object) -> dict[str, Any]:
    return {"event": "subscribe-job", "data": {"jobs": jobs, **rest}}
