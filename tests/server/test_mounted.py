"""A bridge that is mounted in an app: what it answers if the app does not run it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
import trio_websocket

from jobws.server.bridge import Bridge
from tests.support import eventually
from tests.support.client import raw_client
from tests.support.mounted import APPS, PREFIX, mounted_bridge, new_app, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import Redis

SENTENCE = "the bridge is mounted but not running: enter `bridge.running()` in the outer app's lifespan"


@contextmanager
def _not_running(kind: str) -> Iterator[str]:
    """Return an app that mounts a bridge without its lifespan. Starlette runs only the lifespan of the outer app."""
    app = new_app(kind)
    app.mount(PREFIX, Bridge().app)
    with served(app) as url:
        yield url + PREFIX


def _call(url: str, body: bytes | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.parametrize("kind", APPS)
async def test_a_bridge_that_does_not_run_says_what_to_do(kind: str) -> None:
    with _not_running(kind) as url:
        for path, body in [("/jobs/http/1", None), ("/queues", None), ("/analyze/http", b"{}"), ("/lookup", b'"1"')]:
            status, answer = await anyio.to_thread.run_sync(_call, url + path, body)
            assert (status, answer["detail"]) == (503, SENTENCE)
        assert await anyio.to_thread.run_sync(_call, url + "/readyz") == (
            *(503, {"ready": False, "problems": {"*": SENTENCE}}),
        )
        with pytest.RaisesGroup(trio_websocket.ConnectionRejected) as caught:
            async with raw_client(url):
                pass
        rejected = caught.value.exceptions[0]
        assert isinstance(rejected, trio_websocket.ConnectionRejected)
        assert (rejected.status_code, rejected.body) == (503, SENTENCE.encode() + b"\n")


@pytest.mark.parametrize("kind", APPS)
async def test_http_under_a_prefix(redis: Redis, kind: str) -> None:
    """Links have the prefix, and the check of paths gets the path as the client wrote it."""
    redis.add_job("http", "é b")
    with mounted_bridge(redis.url, kind) as url:
        status, body = await anyio.to_thread.run_sync(_call, url + "/analyze/http", b'{"n":1}')
        assert status == 202
        root = url.removesuffix(PREFIX)
        status, job = await anyio.to_thread.run_sync(_call, root + body["links"]["job"])
        assert (status, job["jobId"]) == (200, body["jobId"])
        assert (await anyio.to_thread.run_sync(_call, url + "/jobs/http/%C3%A9%20b"))[1]["jobId"] == "é b"
        for path in ("/jobs/http/a%2fb", "/jobs/http/%FF"):
            assert (await anyio.to_thread.run_sync(_call, url + path))[0] == 400
        document = (await anyio.to_thread.run_sync(_call, url + "/openapi.json"))[1]
        assert document["servers"] == [{"url": PREFIX}]
        await eventually(lambda: _call(url + "/readyz")[0] == 200)
