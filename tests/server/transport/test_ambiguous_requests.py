"""Requests whose end a proxy in front may see elsewhere are refused, and nothing that follows them is served."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from tests.support.tokens import keyed_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

HIDDEN: Final = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"400"),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", b"400"),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"400"),
        (b"Content-Length : 5\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"501"),
        (b"Transfer-Encoding: xchunked\r\n", b"501"),
    ],
)
async def test_nothing_is_hidden_in_a_body(redis: Redis, headers: bytes, status: bytes) -> None:
    async with keyed_bridge(redis.url, queues=("http",)) as live:

        def answered() -> bytes:
            with socket.create_connection(("127.0.0.1", urlsplit(live.url).port or 0), timeout=60) as sock:
                sock.sendall(b"POST /healthz HTTP/1.1\r\nHost: a\r\n%b\r\n0\r\n\r\n%b" % (headers, HIDDEN))
                received = b""
                while piece := sock.recv(4096):
                    received += piece
                return received

        received = await anyio.to_thread.run_sync(answered)
    assert received.startswith(b"HTTP/1.1 %b" % status)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b'"code":"bad-request"' in received
    assert b"\r\n\r\nok\n" not in received
