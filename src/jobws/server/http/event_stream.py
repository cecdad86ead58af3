"""A streaming response of server-sent events, made from the frames of an in-process client.

A `Conversation` decides what is requested from the hub and how its frames become events. `EventStream` sends the bytes,
and ends the response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import anyio
from starlette.responses import Response

from jobws.access.caller import ADDRESS
from jobws.server.websocket.in_process_client import cancel_when_gone

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from jobws.access.identity import Identity
    from jobws.server.http.service import Service
    from jobws.server.websocket.in_process_client import InProcessClient

# A client must take each piece of this size within `send_seconds`, 30 s. This is about the rate that a WebSocket must
# take (`slow_bytes_per_second`).
PIECE_BYTES: Final = 128 * 1024
HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # otherwise nginx would collect events before it sends them
}


class Conversation(Protocol):
    """What one HTTP client requests from the hub, and how the hub's frames become server-sent events."""

    async def ask(self, client: InProcessClient) -> None:
        """Pass the client's requests to the hub. This runs in a task of its own, while frames are sent."""
        ...

    def patience(self) -> float:
        """Return the seconds after which `step` is to be called even if no frame came."""
        ...

    def step(self, client: InProcessClient) -> tuple[bytes, bool]:
        """Take the frames that came, if any. Returns the bytes to send, and whether the response ends after them.

        Without frames, the bytes are b"", for which nothing is sent; but a response that ends may get a last event.
        """
        ...


class EventStream(Response):
    """A response of server-sent events, which a conversation makes from the hub's frames.

    It lasts until the conversation is over, the HTTP client leaves or reads too slowly, the token of `identity` is no
    longer accepted, or the bridge stops.

    Args:
        service: Makes the in-process client.
        identity: Who sent the request.
        conversation: Decides what is requested from the hub and what is sent.
        begin: The first bytes of the body.
    """

    def __init__(self, service: Service, identity: Identity, conversation: Conversation, begin: bytes = b"") -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)
        self._service = service
        self._identity = identity
        self._conversation = conversation
        self._begin = begin
        self._sending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. If this is cancelled, the response ends without its last chunk."""
        response = anyio.CancelScope()

        def overflowed() -> None:
            # If nothing is being sent, the conversation can still send the reason, and then the response ends.
            if self._sending:
                response.cancel()

        with response, self._service.client(overflowed, self._identity, scope[ADDRESS]) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_when_gone, receive, tasks.cancel_scope)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._send(send, self._begin)
                tasks.start_soon(self._ask, client)
                tasks.start_soon(self._service.close_with_token, client)
                await self._send_events(client, send)
                await send({"type": "http.response.body", "body": b""})
                tasks.cancel_scope.cancel()

    async def _ask(self, client: InProcessClient) -> None:
        await self._conversation.ask(client)
        client.asked()

    async def _send_events(self, client: InProcessClient, send: Send) -> None:
        """Send what `step` returns until the conversation is over."""
        over = False
        while not over:
            with anyio.move_on_after(self._conversation.patience()):
                await client.wait()
            data, over = self._conversation.step(client)
            await self._send(send, data)
            client.written()

    async def _send(self, send: Send, data: bytes) -> None:
        self._sending = True
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        self._sending = False
