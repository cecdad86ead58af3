"""Sends HTTP requests to a bridge."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from typing import Any, NamedTuple

import anyio.to_thread

JSON = "application/json"
HANDSHAKE = {
    **{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""The headers of a WebSocket's handshake."""


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


class Answer(NamedTuple):
    """All of an answer that does not change with the time."""

    status: int
    headers: frozenset[tuple[str, str]]
    body: bytes

    def content(self) -> Any:
        """The JSON value of the body, or its text."""
        is_json = any("json" in value for name, value in self.headers if name == "content-type")
        return json.loads(self.body) if is_json else self.body.decode()


def exchange(method: str, url: str, body: object, headers: dict[str, str], until: str = "") -> Answer:
    """Send a request, with `body` as JSON unless it is None.

    With `until`, the answer is a stream without an end, which is read until it has this text. An answer that ends
    before is returned, too.
    """
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        typed = {} if body is None else {"Content-Type": JSON}
        data = None if body is None else json.dumps(body)
        connection.request(method, f"{parts.path}?{parts.query}", data, {**headers, **typed})
        response = connection.getresponse()
        kept = {(name.lower(), value) for name, value in response.getheaders() if name.lower() != "date"}
        received = b""
        while until.encode() not in received or not until:
            piece = response.read1()
            received += piece
            if not piece:
                break
        return Answer(response.status, frozenset(kept), received)
    finally:
        connection.close()
