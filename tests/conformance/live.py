"""Plays a vector against a real server with a real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio_websocket

from tests.conformance.runner import Vector, play, with_tokens
from tests.support.client import raw_client
from tests.support.tokens import bearer

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from tests.support.redis import Redis


class LiveTarget:
    """A WebSocket to a bridge, and its Redis."""

    path = "/ws"

    def __init__(self, url: str, redis: Redis, vector: Vector, stack: AsyncExitStack) -> None:
        self._url = url
        self._redis = redis
        self._vector = vector
        self._stack = stack
        self._written: dict[str, str] = {}

    async def connect(self) -> None:
        vector = self._vector
        client = raw_client(
            self._url,
            hello=vector.get("hello", True),
            subprotocols=with_tokens(vector.get("subprotocols", [])),
            headers=list(vector.get("headers", {}).items()),
            path=self.path,
        )
        self._client = await self._stack.enter_async_context(client)

    async def send(self, message: str | bytes) -> None:
        await self._client.send_raw(message)

    async def add_entry(self, queue: str, fields: dict[str, bytes], stream_id: str | None) -> None:
        entry = {name.encode(): value for name, value in fields.items()}
        self._written[queue] = self._redis.add_entry(queue, entry, stream_id=stream_id or "*")

    async def receive(self) -> dict[str, Any]:
        return await self._client.receive()

    async def close_code(self) -> int:
        return (await self._client.closed())[0]

    async def read(self) -> None:
        headers = bearer("admin") if "jwt_secret" in self._vector.get("settings", {}) else {}
        async with raw_client(self._url, headers=list(headers.items())) as other:
            for queue, stream_id in self._written.items():
                await other.read_up_to(queue, stream_id)

    async def make_queue(self, name: str) -> None:
        self._redis.make_queue(name)

    async def trim(self, queue: str) -> None:
        await self.read()  # otherwise the bridge sends a gap, since it cannot be sure that it has read all
        self._redis.client.xtrim(f"bull:{queue}:events", maxlen=0, approximate=False)

    async def vanish(self, queue: str, job_id: str) -> None:
        self._redis.client.delete(f"bull:{queue}:{job_id}")

    async def add_below(self, below: dict[str, list[str]]) -> None:
        add_below(self._redis, below)

    async def add_line(self, stream_id: str, fields: dict[str, bytes]) -> None:
        self._redis.client.xadd("jobws:logs", dict(fields), id=stream_id)  # type: ignore[arg-type]

    async def trim_log(self, length: int | None) -> None:
        if length is None:
            self._redis.client.delete("jobws:logs")
        else:
            self._redis.client.xtrim("jobws:logs", maxlen=length, approximate=False)

    async def add_job_log(self, queue: str, job_id: str, lines: list[str], keep: int | None) -> None:
        with self._redis.client.pipeline() as both:
            both.rpush(f"bull:{queue}:{job_id}:logs", *lines)
            if keep is not None:
                both.ltrim(f"bull:{queue}:{job_id}:logs", -keep, -1)
            both.execute()

    async def reconnect(self) -> None:
        await self._client.socket.aclose()
        await self.connect()


def give(redis: Redis, vector: Vector) -> None:
    """Write what Redis has before the steps."""
    for job in vector.get("given", []):
        redis.add_job(job["queue"], job["jobId"], state=job["state"], **job["hash"])
    add_below(redis, vector.get("below", {}))
    for queue, length in vector.get("maxLengths", {}).items():
        redis.client.hset(f"bull:{queue}:meta", "opts.maxLenEvents", length)


def add_below(redis: Redis, below: dict[str, list[str]]) -> None:
    for above, keys in below.items():
        redis.client.sadd(f"{above}:dependencies", *keys)


async def play_live(target: LiveTarget, vector: Vector) -> None:
    if "refused" not in vector["steps"][0]:
        await target.connect()
        await play(vector, target)
        return
    with pytest.RaisesGroup(trio_websocket.ConnectionRejected) as caught:
        await target.connect()
    rejected = caught.value.exceptions[0]
    assert isinstance(rejected, trio_websocket.ConnectionRejected)
    assert rejected.status_code == vector["steps"][0]["refused"]
