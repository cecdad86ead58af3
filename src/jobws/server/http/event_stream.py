"""A listener's frames as a response of server-sent events, for as long as the client takes them.

What is asked, and what becomes of a frame, is the `Conversation`'s; how bytes leave, and how that ends, is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import anyio
from starlette.responses import Response

from jobws.server.websocket.in_process_client import cancel_when_gone

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from jobws.server.http.service import Service
    from jobws.server.websocket.in_process_client import InProcessClient

# A client has `send_seconds`, 30 s, for each piece: that is the `slow_bytes_per_second` of a WebSocket.
PIECE_BYTES: Final = 128 * 1024
HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would collect the events
}


class Conversation(Protocol):
    """What one client asked for, and what it is told."""

    async def ask(self, listener: InProcessClient) -> None:
        """Put the client's requests. The rest goes on meanwhile."""
        ...

    def patience(self) -> float:
        """Seconds after which there is something to do though no frame came."""
        ...

    def step(self, listener: InProcessClient) -> tuple[bytes, bool]:
        """Take what came. What to send of it, and whether that is all."""
        ...


class EventStream(Response):
    """The answer, which lasts until the client leaves, everything was told, or the bridge ends.

    Args:
        service: The bridge.
        conversation: What is told.
        begin: The first bytes.
    """

    def __init__(self, service: Service, conversation: Conversation, begin: bytes = b"") -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)
        self._service = service
        self._conversation = conversation
        self._begin = begin
        self._sending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Cancelling cuts the response."""
        response = anyio.CancelScope()

        def overflowed() -> None:
            # Else the end of the stream is told.
            if self._sending:
                response.cancel()

        with response, self._service.listener(overflowed) as listener:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_when_gone, receive, tasks.cancel_scope)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._send(send, self._begin)
                tasks.start_soon(self._conversation.ask, listener)
                await self._tell(listener, send)
                await send({"type": "http.response.body", "body": b""})
                tasks.cancel_scope.cancel()

    async def _tell(self, listener: InProcessClient, send: Send) -> None:
        """Send what comes, until nothing can come any more."""
        over = False
        while not over:
            with anyio.move_on_after(self._conversation.patience()):
                await listener.wait()
            data, over = self._conversation.step(listener)
            await self._send(send, data)
            listener.written()

    async def _send(self, send: Send, data: bytes) -> None:
        self._sending = True
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        self._sending = False
