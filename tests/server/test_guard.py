"""What the bridge answers to a browser that asks whether a page of another origin may send a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from jobws.server.guard import LOGGED_PER_MINUTE
from tests.support.bridge import live_bridge
from tests.support.http import exchange
from tests.support.tokens import keyed_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

ALLOWED = "https://app.example"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_pages_of_an_allowed_origin_may_use_each_method_with_a_token(redis: Redis, method: str) -> None:
    """Browsers ask without a token, and send no cookie of the bridge afterwards."""
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    async with keyed_bridge(redis.url, queues=("http",), allowed_origins=(ALLOWED,)) as live:

        def ask(origin: str) -> tuple[int, dict[str, str]]:
            answer = exchange("OPTIONS", live.url + "/jobs/http/1", None, {"Origin": origin, **asked})
            return answer.status, dict(answer.headers)

        status, headers = await anyio.to_thread.run_sync(ask, ALLOWED)
        assert (status, headers["access-control-allow-origin"]) == (200, ALLOWED)
        assert method in headers["access-control-allow-methods"].split(", ")
        assert "Authorization" in headers["access-control-allow-headers"].split(", ")
        assert "access-control-allow-credentials" not in headers
        status, headers = await anyio.to_thread.run_sync(ask, "https://other.example")
        assert status >= 400
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("name", ["Host", "Origin"])
async def test_refusals_neither_fill_the_log_nor_command_a_terminal(
    redis: Redis, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    value = "http://\x1b[2J\x85" + "e" * 1000
    shown = "http://\\x1b[2J\\x85" + "e" * 188
    async with live_bridge(redis.url, queues=("http",)) as live:

        def refuse() -> bytes:
            for _ in range(3 * LOGGED_PER_MINUTE):
                answer = exchange("POST", live.url + "/logs", None, {name: value})
                assert answer.status == 403
            return answer.body

        body = await anyio.to_thread.run_sync(refuse)
    assert body.decode() == f"{name.lower()} {shown} refused; allow it with --allow-{name.lower()} {shown}\n"
    logged = [message for message in caplog.messages if " refused; " in message]
    assert set(logged) == {body.decode().strip()}
    assert LOGGED_PER_MINUTE <= len(logged) < 2 * LOGGED_PER_MINUTE
