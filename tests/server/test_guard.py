"""What the bridge answers to a browser that asks whether a page of another origin may send a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

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
