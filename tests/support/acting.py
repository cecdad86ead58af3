"""Clients that act on jobs and queues of a bridge without keys, and what Redis then has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from tests.support.bridge import live_bridge
from tests.support.http import call

if TYPE_CHECKING:
    from tests.support.redis import Redis

acting_bridge = partial(live_bridge, queues=("http", "sparql"), allow_actions=True)


def events(redis: Redis, queue: str) -> list[dict[bytes, bytes]]:
    """The events of a queue's stream."""
    entries: Any = redis.client.xrange(f"bull:{queue}:events")
    return [fields for _, fields in entries]


async def together(method: str, url: str) -> list[tuple[int, dict[str, Any]]]:
    """Send a request twice at the same time, and return the answers, the better one first."""
    answers: list[tuple[int, dict[str, Any]]] = []

    async def press() -> None:
        answers.append(await call(method, url))

    async with anyio.create_task_group() as clients:
        clients.start_soon(press)
        clients.start_soon(press)
    return sorted(answers, key=lambda answer: answer[0])
