"""`/openapi.json` is true: schemathesis sends requests that it allows and forbids, and every answer is documented."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from tests.support.bridge import live_bridge
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis


@pytest.mark.long
@pytest.mark.thorough
@pytest.mark.parametrize("scope", ["admin", "write:jobs:none:retry"])
async def test_no_server_error_and_no_undocumented_answer(redis: Redis, tmp_path: Path, scope: str) -> None:
    """The client has every right, or none."""
    redis.add_job("http", "1", state="completed", returnvalue='{"x":[1]}', finishedOn=1795435730000)
    redis.add_job("http", "2", state="failed", failedReason="no such page")

    def examine(url: str) -> subprocess.CompletedProcess[str]:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--header", f"Authorization: Bearer {jwt(scope, seconds=1000)}"),
            *("--seed", "1", "--max-examples", "20", "--no-color"),
            # In JSON Schema, 5.0 is an integer, and some integers are no job ids (protocol.md, J2). The bridge refuses
            # both.
            *("--exclude-checks", "positive_data_acceptance"),
            # This response has no end; test_job_events.py tests it.
            *("--exclude-path", "/events"),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    async with keyed_bridge(redis.url, max_wait_seconds=0.05) as live:
        done = await anyio.to_thread.run_sync(examine, live.url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Tested: 20" in done.stdout


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
    inner: Any = live.bridge.app
    while not hasattr(inner, "routes"):
        inner = getattr(inner, "_app", None) or inner.app
    served = {
        (method, route.path.replace("{job_id}", "{jobId}"))
        for route in inner.routes
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD" and route.path != "/openapi.json"
    }
    # One path, two names for its parameter: a job's id to GET, a queue's label to POST.
    assert {(method, path.replace("/jobs/{jobId}", "/jobs/{queue}", 1)) for method, path in served} == described
