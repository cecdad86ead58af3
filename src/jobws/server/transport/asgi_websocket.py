"""Performs the handshake of a WebSocket, and passes its messages to and from the ASGI app.

An app that uses the ASGI extension `jobws.direct` exchanges its messages without this module after the handshake.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import trio
from wsproto.frame_protocol import FrameProtocol

from jobws.server.response_headers import with_headers
from jobws.server.transport.websocket_connection import WebSocketConnection

if TYPE_CHECKING:
    import socket

    from jobws.server.fair_turns import FairTurns
    from jobws.server.settings import Settings
    from jobws.server.transport.handshake import Handshake

_log: Final = logging.getLogger(__name__)


class AsgiWebSocket:
    """One WebSocket, from its upgrade request to the return of the app.

    The app runs in the connection's own task, and `receive` reads the socket itself. So there is no queue, and an app
    that does not call `receive` slows its client down.

    Args:
        sock: The connected, non-blocking socket.
        handshake: The upgrade request, and the answers to it.
        settings: The limits.
        spawn: Starts a task, in which bytes are sent that the client does not take immediately.
        turns: The turns in which the messages of all clients are taken.

    Attributes:
        connection: Reads and writes the frames.
    """

    def __init__(
        self, sock: socket.socket, handshake: Handshake, settings: Settings, spawn: Any, turns: FairTurns
    ) -> None:
        self._handshake = handshake
        self._settings = settings
        self._connected = False
        self._accepted = False
        self._refusal: Any = None
        self._body = b""
        self._rest = b""
        self._messages: deque[str | bytes] = deque()
        self.connection = WebSocketConnection(sock, settings, spawn, turns)

    async def shake_hands(self, app: Any, rest: bytes, *, direct: bool) -> bytes | None:
        """Run the app until it returns. The app answers the handshake, and without `direct` serves the WebSocket, too.

        Args:
            app: The ASGI app.
            rest: The bytes that the client sent after its request.
            direct: Whether the app is offered the extension `jobws.direct`.

        Returns:
            If the app has attached a handler: the bytes after the handshake that nobody has read yet. None if the
            connection is closed or closing.
        """
        self._rest = rest
        if self._handshake.problem is not None:
            status, sentence = self._handshake.problem
            await self._refuse(status, [(b"sec-websocket-version", b"13")], f"{sentence}\n".encode())
            return None
        code = 1011
        try:
            await app(self._handshake.scope(self.connection if direct else None), self.receive, self.send)
        except Exception:  # noqa: BLE001 - an error of the app ends only this connection
            _log.exception("the app failed to serve a WebSocket")
        else:
            code = 1000
        if self.connection.attached:
            return self._rest
        if self._accepted:
            self.connection.close(code, "")
        elif not self.connection.closing:
            await self._refuse(500, [], b"the app did not answer the handshake\n")
        return None

    async def receive(self) -> dict[str, Any]:
        """Return the next event for the app, as ASGI's `receive`."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        connection = self.connection
        while not self._messages:
            if not self._rest:
                try:
                    self._rest = await connection.receive()
                except (OSError, trio.ClosedResourceError):
                    self._rest = b""
                if not self._rest:
                    return {"type": "websocket.disconnect", "code": connection.peer_code}
            data, self._rest = self._rest, b""
            self._messages.extend(await connection.messages(data))
        message = self._messages.popleft()
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    async def send(self, event: Any) -> None:
        """Send one event of the app, as ASGI's `send`. Return when its bytes have left or the connection has ended.

        If the client does not take the bytes within `send_seconds`, the connection is cut.

        Raises:
            RuntimeError: The event is not allowed in this state.
        """
        match event["type"]:
            case "websocket.accept" if not self._accepted:
                self._accepted = True
                deflate = self._settings.permessage_deflate
                headers = list(event.get("headers", []))
                answer = self._handshake.accept(event.get("subprotocol"), headers, deflate=deflate)
                self.connection.write([answer])
                self.connection.open(self._handshake.extensions)
            case "websocket.send" if self._accepted:
                text = event.get("text")
                frame = FrameProtocol(client=False, extensions=[]).send_data(event["bytes"] if text is None else text)
                self.connection.write([bytes(frame)])
            case "websocket.close" if self._accepted:
                self.connection.close(event.get("code", 1000), event.get("reason") or "")
            case "websocket.close":
                await self._refuse(403, [], b"")
                return
            case "websocket.http.response.start" if not self._accepted:
                self._refusal = event
                return
            case "websocket.http.response.body" if self._refusal is not None:
                self._body += event.get("body", b"")
                if not event.get("more_body", False):
                    await self._refuse(self._refusal["status"], self._refusal.get("headers", []), self._body)
                return
            case kind:
                raise RuntimeError(f"{kind} is not possible now")
        if not await self.connection.flush(self._settings.send_seconds):
            self.connection.cut()

    async def _refuse(self, status: int, headers: Any, body: bytes) -> None:
        """Send an HTTP response in place of the 101. Nothing may be written after it."""
        self.connection.write([self._handshake.refuse(status, with_headers(headers), body)])
        self.connection.shut()
        await self.connection.flush(self._settings.send_seconds)
