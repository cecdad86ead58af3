"""Plays vectors over `POST /events`: those in which the client sends everything before it gets anything."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NoReturn

import anyio.to_thread
import pytest

from jobws.protocol.nesting import is_too_deep
from tests.conformance.live import LiveTarget, give
from tests.conformance.runner import QUEUES, Vector, load_vectors, play, vector_id
from tests.support.bridge import live_bridge
from tests.support.event_source import EventSource, frame_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis


def is_one_body(vector: Vector) -> bool:
    """Whether all messages that the client sends over a connection can be one JSON list."""
    if vector.keys() & {"subprotocols", "headers"} or vector["rule"].startswith("A"):
        return False
    asked = told = False
    for step in vector["steps"]:
        ((kind, value),) = step.items()
        match kind:
            case "send" | "sendText":
                if told or (kind == "sendText" and not is_json(value)):
                    return False
                asked = True
            case "reconnect":
                asked = told = False
            case "expect":
                if value.get("event") == "pong" and '"ping"' not in json.dumps(vector["steps"]):
                    return False  # over this transport, a pong may always come
                told = True
            case "sendBinary" | "refused":
                return False
            case "close":
                if value == 1009:  # an error response, before the stream begins
                    return False
                told = True
            case _:
                told = asked
    return True


def is_json(text: str) -> bool:
    if is_too_deep(text):
        return False
    try:
        json.loads(text, parse_constant=_refuse)
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


VECTORS = [vector for vector in load_vectors("live") if is_one_body(vector)]


class PostTarget(LiveTarget):
    """Collects messages, and sends them when the vector does anything else."""

    _source: EventSource | None

    async def connect(self) -> None:
        self._requests: list[str] = []
        self._source = None

    async def send(self, message: str | bytes) -> None:
        assert isinstance(message, str)
        self._requests.append(message)

    async def _opened(self) -> EventSource:
        if self._source is None:
            body = f"[{','.join(self._requests)}]".encode(errors="surrogatepass")
            self._source = await self._stack.enter_async_context(frame_source(self._url, body))
            assert self._source.status == 200
            if self._vector.get("hello", True):
                assert (await self._source.frame())["event"] == "hello"
        return self._source

    async def add_entry(self, queue: str, fields: dict[str, bytes], stream_id: str | None) -> None:
        if self._requests:
            await self._opened()
        await super().add_entry(queue, fields, stream_id)

    async def make_queue(self, name: str) -> None:
        if self._requests:
            await self._opened()
        await super().make_queue(name)

    async def receive(self) -> dict[str, Any]:
        frame = await (await self._opened()).frame()
        while frame["event"] == "pong" and not any('"ping"' in request for request in self._requests):
            frame = await (await self._opened()).frame()  # a pong comes half a second after the answers
        return frame

    async def close_code(self) -> int:
        last = (await (await self._opened()).rest())[-1]
        assert last.event == "close"
        return int(last.data["code"])

    async def reconnect(self) -> None:
        await self.connect()


def test_most_rules_can_be_played() -> None:
    assert len(VECTORS) >= 60


@pytest.mark.parametrize("vector", VECTORS, ids=vector_id)
async def test_post_events_keeps_the_rule(vector: Vector, redis: Redis, own_redis: Callable[..., Redis]) -> None:
    away = vector.get("redis") == "away"
    used = own_redis() if away else redis
    give(used, vector)
    settings = {"queues": QUEUES, **vector.get("settings", {})}
    async with live_bridge(used.url, **settings) as live, AsyncExitStack() as stack:
        if away:
            await anyio.to_thread.run_sync(used.server.kill)
        target = PostTarget(live.url, used, vector, stack)
        await target.connect()
        await play(vector, target)
