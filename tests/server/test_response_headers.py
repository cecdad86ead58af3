"""The headers that each answer has, whether it is a job, an error, a file or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from tests.support.http import HANDSHAKE, exchange
from tests.support.tokens import keyed_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

ALWAYS = {
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
}


@pytest.mark.parametrize(
    ("path", "headers", "status", "caching"),
    [
        ("/healthz", {}, 200, "no-store"),
        ("/jobws.js", {}, 200, "no-cache"),
        ("/queues", {}, 401, "no-store"),
        ("/healthz", {"Host": "b.example"}, 403, "no-store"),
        ("/ws", {"Host": "b.example", **HANDSHAKE}, 403, "no-store"),
        ("/jobs/http/1", HANDSHAKE, 403, "no-store"),
    ],
)
async def test_an_answer_has_them(redis: Redis, path: str, headers: dict[str, str], status: int, caching: str) -> None:
    async with keyed_bridge(redis.url, queues=("http",), allowed_hosts=("a.example",)) as live:
        answer = await anyio.to_thread.run_sync(exchange, "GET", live.url + path, None, headers)
    assert answer.status == status
    assert answer.headers >= ALWAYS
    assert [value for name, value in answer.headers if name == "cache-control"] == [caching]
