"""Sends HTTP requests to a bridge."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from functools import partial
from typing import Any

import anyio.to_thread

JSON = "application/json"


async def call(
    method: str, url: str, body: object = None, content_type: str = JSON, **headers: str
) -> tuple[int, dict[str, Any]]:
    """Send a request. Return the status and the JSON of the answer.

    `body` is sent as JSON, or as it is if it is bytes. `_` in the name of a header stands for `-`.
    """
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        named["Content-Type"] = content_type
    return await anyio.to_thread.run_sync(partial(_call, urllib.request.Request(url, data, named, method=method)))


def _call(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            answer = error.code, error.headers["Content-Type"], error.read()
    assert answer[1] == "application/problem+json", answer
    return answer[0], json.loads(answer[2])


def get(url: str, **headers: str) -> tuple[int, str]:
    """Send a GET. Return the status and the body. `_` in the name of a header stands for `-`."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def ask(url: str, **headers: str) -> tuple[int, str]:
    """Do what `get` does, without blocking the event loop."""
    return await anyio.to_thread.run_sync(partial(get, url, **headers))


def connections(url: str) -> int:
    """Return how many clients the bridge has, according to its metrics."""
    return int(float(get(url + "/metrics")[1].split("\njobws_connections ")[1].split("\n")[0]))


def problem(status: int, code: str, detail: str) -> str:
    """Return the body of an answer that reports an error."""
    content = {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail}
    return json.dumps(content, separators=(",", ":"))
