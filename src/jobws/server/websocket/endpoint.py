"""One client: between what carries its messages and the hub, which never waits.

Under `jobws serve` the transport calls it directly (`direct`); under another ASGI server two tasks do. Both do the
same: the receiving side decides life and death, since only it learns that a client has left, and what waits in the
outbox goes out as fast as the client takes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio

from jobws.hub.client import Client, Counted
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.messages import PROTOCOL
from jobws.protocol.session import Close
from jobws.server.transport.direct import EXTENSION
from jobws.server.websocket.rate_limit import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Message, Receive, Scope, Send

    from jobws.protocol.codec import Frame
    from jobws.server.settings import Settings
    from jobws.server.transport.direct import Direct

SLOW: Final = Close(CloseCode.SLOW_CONSUMER, "the client reads too slowly")
# A message costs 0.17 ms of CPU with its first job, a further job a fifth of that, and 8 KiB of JSON up to 0.5 ms.
ITEMS_PER_MESSAGE: Final = 5
BYTES_PER_MESSAGE: Final = 8 * 1024
# A list that is longer than this takes so long that others come in between.
LONG_LIST: Final = 20
TURN_SECONDS: Final = 0.001
_UNKNOWN_PROTOCOL: Final = Close(CloseCode.UNKNOWN_PROTOCOL, f"offer the subprotocol {PROTOCOL}, or none")


AnyClient = TypeVar("AnyClient", bound=Client[Any, Any])
Sought = TypeVar("Sought", bound=Counted)


class Endpoint(ABC, Generic[AnyClient, Sought]):
    """What the clients of one path are served: `/ws` or `/logs`."""

    @abstractmethod
    def connect(self, wake: Callable[[], None]) -> AnyClient:
        """Make the hub's side of a client; `wake` is told when there is something to write."""

    @abstractmethod
    def look_up(self, client: AnyClient, sought: Sought) -> None:
        """Start what a subscription has to look up before it is answered; returns immediately."""

    @abstractmethod
    def hello(self) -> Frame:
        """The first frame."""


class Clients(Generic[AnyClient, Sought]):
    """Makes clients, and knows those that are connected.

    Args:
        endpoint: What they are served.
        settings: The limits.

    Attributes:
        connected: The hub's connections.
        endpoint: What they are served.
        settings: The limits.
    """

    def __init__(self, endpoint: Endpoint[AnyClient, Sought], settings: Settings) -> None:
        self.endpoint = endpoint
        self.settings = settings
        self.connected: set[AnyClient] = set()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket: accept it, and under `jobws.direct` return; elsewhere until it ends.

        Cancelling drops the client without a close frame.
        """
        await receive()  # websocket.connect
        offered = scope["subprotocols"]
        known = PROTOCOL in offered
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if known else None})
        direct: Direct | None = scope.get("extensions", {}).get(EXTENSION)
        connected = _DirectClient(self, direct) if direct is not None else _AsgiClient(self)
        client = connected.connection
        client.outbox.append(self.endpoint.hello())
        if offered and not known:
            client.close(_UNKNOWN_PROTOCOL)
        client.outbox.flush()
        if isinstance(connected, _AsgiClient):
            try:
                await connected.run(receive, send)
            finally:
                connected.lost()


class ConnectedClient(Generic[AnyClient, Sought]):
    """One client, however its messages come: it is counted from its making on, until `lost`.

    Attributes:
        connection: The hub's side.
    """

    __slots__ = ("_bucket", "_clients", "connection")

    def __init__(self, clients: Clients[AnyClient, Sought], wake: Callable[[], None]) -> None:
        settings = clients.settings
        self._clients = clients
        self._bucket = TokenBucket(settings.burst_messages, settings.messages_per_second, anyio.current_time())
        self.connection = clients.endpoint.connect(wake)
        clients.connected.add(self.connection)

    def received(self, message: str | bytes) -> float:
        """Take a message; the seconds to wait before the next one is read."""
        now = anyio.current_time()
        sought: Sought | None = self.connection.receive(message, now)
        cost = 1 + len(message) // BYTES_PER_MESSAGE
        if sought is None:
            return self._bucket.take(now, cost)
        self._clients.endpoint.look_up(self.connection, sought)
        wait = self._bucket.take(now, cost + sought.size // ITEMS_PER_MESSAGE)
        return wait or (TURN_SECONDS if sought.size > LONG_LIST else 0.0)

    def lost(self) -> None:
        """Take note that the client is gone, and end its subscriptions."""
        self.connection.leave_all()
        self._clients.connected.discard(self.connection)


class _DirectClient(ConnectedClient[AnyClient, Sought]):
    """Frames go to the socket in the very step in which an event is published, so no task waits for them."""

    __slots__ = ("_busy", "_direct")

    def __init__(self, clients: Clients[AnyClient, Sought], direct: Direct) -> None:
        self._direct = direct
        self._busy = False
        super().__init__(clients, self._wake)
        direct.attach(self)

    def writable(self) -> None:
        """See `Handler.writable`."""
        self._busy = False
        self._wake()

    def stalled(self) -> None:
        """See `Handler.stalled`."""
        self.connection.close(SLOW)

    def _wake(self) -> None:
        client, direct = self.connection, self._direct
        outbox, closing = client.outbox, client.closing
        if outbox.overflowed or closing is SLOW:
            client.close(SLOW)
            direct.close(SLOW.code, SLOW.reason, drop=True)
            return
        # Behind a close frame nothing comes, so all that waits may go before it; else the outbox counts it.
        if (closing is not None or not self._busy) and (frames := outbox.take()):
            shared: Sequence[bytes | memoryview]
            if direct.deflate:
                shared = [piece for frame in frames for piece in frame.deflated]
            elif len(frames) == 1:  # nearly always, and a comprehension costs a tenth of the rest
                shared = frames[0].wire
            else:
                shared = [piece for frame in frames for piece in frame.wire]
            if direct.write(shared):
                outbox.written()
            else:
                self._busy = True
        if closing is not None:
            direct.close(closing.code, closing.reason)


class _AsgiClient(ConnectedClient[AnyClient, Sought]):
    """Through any ASGI server: one task reads, one writes."""

    __slots__ = ("_woken",)

    def __init__(self, clients: Clients[AnyClient, Sought]) -> None:
        self._woken = anyio.Event()
        super().__init__(clients, self._wake)

    def _wake(self) -> None:
        self._woken.set()

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the client until either side ends it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write, send, tasks.cancel_scope)
            await self._read(receive)
            tasks.cancel_scope.cancel()

    async def _read(self, receive: Receive) -> None:
        """Take the client's messages until it is gone. After a close only its end is waited for."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            wait = self.received(_payload(message))
            if wait:
                await anyio.sleep(wait)

    async def _write(self, send: Send, scope: anyio.CancelScope) -> None:
        """Send what waits, as long as the client is there; then the close frame."""
        while True:
            await self._woken.wait()
            self._woken = anyio.Event()
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


def _payload(message: Message) -> str | bytes:
    """A text frame's text or a binary frame's bytes; servers differ in whether the other key is there."""
    text: str | None = message.get("text")
    if text is not None:
        return text
    data: bytes | None = message.get("bytes")
    return data or b""
