"""The head of a request for a WebSocket, read without Hypercorn: a bridge that was away gets thousands a second.

httptools reads one in 19 µs, h11 in 150 µs (2026-11-28).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

Headers = list[tuple[bytes, bytes]]

_WEBSOCKET: Final = b"websocket"


class Head(NamedTuple):
    """What a request says before its body.

    Attributes:
        method: In the client's letters, such as `GET`.
        target: The path, and what follows it.
        version: Such as `1.1`.
        headers: Names in lower case, in the client's order.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: Headers

    @property
    def asks_for_websocket(self) -> bool:
        """Whether the client wants the connection to become one."""
        return any(name == b"upgrade" and value.lower() == _WEBSOCKET for name, value in self.headers)


class _Reader:
    """What httptools calls while it reads."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: Headers = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # httptools leaves the spaces after a value.
        self.headers.append((name.lower(), value.rstrip(b" \t")))


def read_upgrade(data: bytes) -> tuple[Head, bytes] | None:
    """The request for a WebSocket that `data` begins with, and what follows it.

    None: it is no such request, or not a whole one, or a wrong one. HTTP's own server answers those.
    """
    if _WEBSOCKET not in data.lower():
        return None
    reader = _Reader()
    parser = HttpRequestParser(reader)
    try:
        parser.feed_data(data)
    except HttpParserUpgrade as upgrade:
        (length,) = upgrade.args
    except HttpParserError:
        return None
    else:
        return None
    head = Head(parser.get_method(), reader.target, parser.get_http_version().encode(), reader.headers)
    # RFC 9112 §3.2: exactly one.
    has_host = sum(name == b"host" for name, _ in head.headers) == 1
    return (head, data[length:]) if has_host and head.asks_for_websocket else None
