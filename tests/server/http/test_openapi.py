"""`/openapi.json` is true: schemathesis sends requests that it allows and forbids, and every answer is documented."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from tests.support import eventually
from tests.support.authorizer import scope_authorizer
from tests.support.bridge import live_bridge, routes_of
from tests.support.left import nothing_left
from tests.support.requests_of_schema import examine
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis

LIMITS: dict[str, Any] = {"requests_per_second": 1_000_000, "requests_per_minute": 1_000_000}


@pytest.mark.long
@pytest.mark.thorough
@pytest.mark.parametrize("scope", ["admin", "read:jobs:http/1", "write:jobs:none", None])
async def test_no_server_error_and_no_undocumented_answer(redis: Redis, tmp_path: Path, scope: str | None) -> None:
    """The client has every right, the right to one job, a right that no route needs, or no token. Nothing is left."""
    redis.add_job("http", "1", state="completed", returnvalue='{"x":[1]}', finishedOn=1795435730000)
    redis.add_job("http", "2", state="failed", failedReason="no such page")
    token = None if scope is None else jwt(scope, seconds=1000)
    async with keyed_bridge(redis.url, max_wait_seconds=0.05, **LIMITS) as live:
        done = await anyio.to_thread.run_sync(examine, live.url, token, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Tested: 36" in done.stdout
        await eventually(lambda: nothing_left(live))


@pytest.mark.long
@pytest.mark.thorough
@pytest.mark.parametrize("scope", ["admin", "read:jobs:http/1"])
async def test_nor_is_there_one_with_an_authorizer(redis: Redis, tmp_path: Path, scope: str) -> None:
    redis.add_job("http", "1", state="completed", returnvalue='{"x":[1]}', finishedOn=1795435730000)
    limits: dict[str, Any] = {"max_wait_seconds": 0.05, **LIMITS, "authorize_seconds": 60}
    with scope_authorizer() as authorizer:
        async with keyed_bridge(redis.url, authorize_url=authorizer.url, **limits) as live:
            done = await anyio.to_thread.run_sync(examine, live.url, jwt(scope, seconds=1000), tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Tested: 36" in done.stdout
            await eventually(lambda: nothing_left(live))


async def test_every_route_is_described(redis: Redis) -> None:
    """Nothing else is described."""
    async with live_bridge(redis.url) as live:

        def document() -> Any:
            with urllib.request.urlopen(live.url + "/openapi.json", timeout=60) as response:
                return json.loads(response.read())

        described = {
            (method.upper(), path)
            for path, item in (await anyio.to_thread.run_sync(document))["paths"].items()
            for method in item
        }
    served = {
        (method, route.path.replace("{job_id}", "{jobId}"))
        for route in routes_of(live)
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD" and route.path != "/openapi.json"
    }
    # One path, two names for its parameter: a job's id to GET, a queue's label to POST.
    assert {(method, path.replace("/jobs/{jobId}", "/jobs/{queue}", 1)) for method, path in served} == described
