"""One WebSocket, as plain ASGI: frames in, frames out, and the end.

The reader decides life and death: only the receiving side learns that a client has left. The writer takes from the
outbox whatever waits. Everything in between is `hub.Connection`, which never waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from jobws.protocol.close import CloseCode
from jobws.protocol.messages import PROTOCOL
from jobws.protocol.session import Close
from jobws.server.limits import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Scope, Send

    from jobws.hub.connection import Connection, Join
    from jobws.protocol.codec import Frame
    from jobws.server.settings import Settings

SLOW: Final = Close(CloseCode.SLOW_CONSUMER, "the client reads too slowly")
_UNKNOWN_PROTOCOL: Final = Close(CloseCode.UNKNOWN_PROTOCOL, f"offer the subprotocol {PROTOCOL}, or none")


class Socket:
    """One client's WebSocket.

    Args:
        connect: Makes the hub's connection, given what wakes the writer.
        start: Starts the look-up of a subscription; returns at once.
        hello: The first frame.
        settings: The limits.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[], None]], Connection],
        start: Callable[[Connection, Join], None],
        hello: Frame,
        settings: Settings,
    ) -> None:
        self.connection = connect(self._wake_writer)
        self._start = start
        self._hello = hello
        self._settings = settings
        self._wake = anyio.Event()

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the client until either side ends it. Cancelling drops the client without a close frame."""
        await receive()  # websocket.connect
        offered = scope["subprotocols"]
        known = PROTOCOL in offered
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if known else None})
        self.connection.outbox.append(self._hello)
        if offered and not known:
            self.connection.close(_UNKNOWN_PROTOCOL)
        self.connection.outbox.flush()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, send, tasks.cancel_scope)
                await self._read(receive)
                tasks.cancel_scope.cancel()
        finally:
            self.connection.leave_all()

    async def _read(self, receive: Receive) -> None:
        """Take the client's messages until it is gone. After a close only its end is waited for."""
        bucket = TokenBucket(self._settings.burst_messages, self._settings.messages_per_second, anyio.current_time())
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            now = anyio.current_time()
            join = self.connection.receive(_payload(message), now)
            if join is not None:
                self._start(self.connection, join)
            wait = bucket.take(now)
            if wait:
                await anyio.sleep(wait)

    async def _write(self, send: Send, scope: anyio.CancelScope) -> None:
        """Send what waits, as long as the client is there; then the close frame."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            outbox = self.connection.outbox
            while frames := outbox.take():
                for frame in frames:
                    await send({"type": "websocket.send", "text": frame.payload.decode()})
            if outbox.overflowed:
                self.connection.close(SLOW)
            closing = self.connection.closing
            if closing is not None:
                await send({"type": "websocket.close", "code": closing.code, "reason": closing.reason})
                # The peer's answer is not worth waiting for: the server under us does that as far as it cares.
                scope.cancel()
                return

    def _wake_writer(self) -> None:
        self._wake.set()


def _payload(message: Message) -> str | bytes:
    """A text frame's text or a binary frame's bytes; servers differ in whether the other key is there."""
    text: str | None = message.get("text")
    if text is not None:
        return text
    data: bytes | None = message.get("bytes")
    return data or b""
