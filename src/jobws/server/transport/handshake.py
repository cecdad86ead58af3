"""The handshake of a WebSocket: the ASGI scope of the request, and the response (RFC 6455 §4.2)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from wsproto.extensions import PerMessageDeflate
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import generate_accept_token, split_comma_header

from jobws.server.transport.direct import EXTENSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsproto.extensions import Extension

    from jobws.server.transport.direct import Direct
    from jobws.server.transport.head import Head, Headers

_VERSION: Final = b"13"


class Handshake:
    """One request to open a WebSocket.

    Args:
        head: The head of the request.
        client: The client's address, for the ASGI scope.
        server: The server's address, for the ASGI scope.

    Attributes:
        problem: Why the request cannot be accepted, as an HTTP status and a sentence. None if it can be.
        extensions: The extensions that `accept` negotiated.
    """

    def __init__(self, head: Head, client: Any, server: Any) -> None:
        self._head = head
        self._client = client
        self._server = server
        self._headers: dict[bytes, bytes] = {}
        for name, value in head.headers:  # several headers may form one list (RFC 6455 §11.3.4)
            self._headers[name] = value if name not in self._headers else b"%b, %b" % (self._headers[name], value)
        self.extensions: list[Extension] = []
        self.problem = self._problem()

    def _problem(self) -> tuple[int, str] | None:
        if self._head.method != b"GET" or self._head.version < b"1.1":
            return 400, "a WebSocket begins with GET and HTTP/1.1"
        if self._headers.get(b"sec-websocket-version") != _VERSION:
            return 426, "this server speaks version 13 of the WebSocket protocol"
        if len(self._headers.get(b"sec-websocket-key", b"")) != 24:
            return 400, "Sec-WebSocket-Key must be 16 bytes in base64"
        return None

    def scope(self, direct: Direct | None) -> dict[str, Any]:
        """Return the ASGI scope of the request. It has the extension `jobws.direct` unless `direct` is None."""
        offered = self._headers.get(b"sec-websocket-protocol", b"")
        path, _, query = self._head.target.partition(b"?")
        extensions: dict[str, object] = {"websocket.http.response": {}}
        if direct is not None:
            extensions[EXTENSION] = direct
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self._head.headers,
            "client": self._client,
            "server": self._server,
            "subprotocols": [each for each in split_comma_header(offered) if each],
            "extensions": extensions,
        }

    def accept(self, subprotocol: str | None, headers: Headers, *, deflate: bool) -> bytes:
        """Return the bytes of the response 101.

        With `deflate`, compression is negotiated if the client offers it; `extensions` then contains it.
        """
        answer: Headers = [
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", generate_accept_token(self._headers.get(b"sec-websocket-key", b""))),
            *headers,
        ]
        if subprotocol is not None:
            answer.append((b"sec-websocket-protocol", subprotocol.encode()))
        offered = self._headers.get(b"sec-websocket-extensions")
        if deflate and offered is not None:
            # Without context takeover a compressed frame is the same for all clients, and connections keep no context.
            deflating = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
            # Some clients ask for a smaller window than the shared frames have. Their offers are not accepted.
            fitting = [offer for offer in split_comma_header(offered) if "server_max_window_bits" not in offer]
            agreed = server_extensions_handshake(fitting, [deflating])
            if agreed:
                answer.append((b"sec-websocket-extensions", agreed))
                self.extensions = [deflating]
        return _response(101, answer)

    def refuse(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes:
        """Return the bytes of an HTTP response in place of the 101. It says that the connection ends."""
        framing = (b"content-length", b"connection", b"transfer-encoding")
        kept = [(name, value) for name, value in headers if name.lower() not in framing]
        length = (b"content-length", str(len(body)).encode())
        return _response(status, [*kept, length, (b"connection", b"close")]) + body


def _response(status: int, headers: Headers) -> bytes:
    """Return the head of a response.

    Raises:
        ValueError: A header contains a line break.
    """
    lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
    lines += [b"%b: %b" % header for header in headers]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise ValueError("a header has several lines")
    return b"\r\n".join([*lines, b"", b""])
