"""The head of a request for a WebSocket, compared with what h11 reads, which serves all other requests."""

from __future__ import annotations

import h11
import pytest

from jobws.server.transport.head import Head, read_upgrade

UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
REQUESTS = [
    b"GET /ws HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n",
    b"GET /ws?a=%C3%A9&b HTTP/1.1\r\nHOST:a:80 \r\n"
    + UPGRADE
    + b"X-Two: 1\r\nx-two: \t2\r\nX-Latin: \xe9\r\nEmpty:\r\n\r\nmore",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n\r\n\x81\x80",
    b"POST /ws HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"Content-Length: 3\r\n\r\nabc",
]
NONE = {
    "another request": b"GET /websocket HTTP/1.1\r\nHost: a\r\n\r\n",
    "another upgrade": b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\nX: websocket\r\n\r\n",
    "half a request": b"GET /ws HTTP/1.1\r\nHost: a\r\n" + UPGRADE,
    "no host": b"GET /ws HTTP/1.1\r\n" + UPGRADE + b"\r\n",
    "two hosts": b"GET /ws HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + UPGRADE + b"\r\n",
    "a character that no header has": b"GET /ws HTTP/1.1\r\nHost: a\x00\r\n" + UPGRADE + b"\r\n",
    "a name with a space": b"GET /ws HTTP/1.1\r\nHost : a\r\n" + UPGRADE + b"\r\n",
    "a folded header": b"GET /ws HTTP/1.1\r\nHost: a\r\n b\r\n" + UPGRADE + b"\r\n",
    "lines without a carriage return": b"GET /ws HTTP/1.1\nHost: a\n" + UPGRADE.replace(b"\r", b"") + b"\n\r\n\r\n",
    "no HTTP": b"\x16\x03\x01 websocket\r\n\r\n",
}


@pytest.mark.parametrize("data", REQUESTS)
def test_it_is_what_h11_reads(data: bytes) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    head = Head(request.method, request.target, request.http_version, list(request.headers))
    assert read_upgrade(data) == (head, data.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("data", NONE.values(), ids=NONE)
def test_everything_else_is_for_the_other_server(data: bytes) -> None:
    assert read_upgrade(data) is None
