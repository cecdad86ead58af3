"""Serves clients: passes their messages to the hub, and the frames of their outboxes to their transport.

Under `jobws serve` the transport calls a client's object directly (`direct`). Under another ASGI server, two tasks per
client call ASGI's `receive` and `send`. In both cases the receiving side decides when a client ends, since only this
side learns that the client is gone. Frames leave the outbox as fast as the client takes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio

from jobws.access.caller import ADDRESS, CALLER
from jobws.access.sights import sight_of
from jobws.errors import RateLimitedError
from jobws.hub.client import Client, Pending
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.messages import PROTOCOL
from jobws.protocol.session import Close
from jobws.server.transport.direct import EXTENSION
from jobws.server.websocket.asked_client import asked_rights, judge_message
from jobws.server.websocket.rate_limit import TokenBucket
from jobws.server.websocket.rates import BYTES_PER_MESSAGE, ITEMS_PER_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.types import Message, Receive, Scope, Send

    from jobws.access.sights import AnySight
    from jobws.errors import RequestError
    from jobws.server.fair_turns import FairTurns
    from jobws.server.settings import Settings
    from jobws.server.transport.direct import Direct
    from jobws.server.websocket.admission import Admission
    from jobws.server.websocket.hello import Greeting
    from jobws.server.websocket.rates import Rates

SLOW: Final = Close(CloseCode.SLOW_CONSUMER, "the client reads too slowly")
# A message of more characters is served in short steps: taking one with a thousand jobs needs 3 ms.
SHORT_MESSAGE: Final = 1024
_UNKNOWN_PROTOCOL: Final = Close(CloseCode.UNKNOWN_PROTOCOL, f"offer the subprotocol {PROTOCOL}, or none")

AnyClient = TypeVar("AnyClient", bound=Client[Any, Any])
PendingT = TypeVar("PendingT", bound=Pending)


class Endpoint(ABC, Generic[AnyClient, PendingT]):
    """The part that differs between `/ws` and `/logs`: the hub's client, and the look-up."""

    @abstractmethod
    def connect(self, wake: Callable[[], None], sight: AnySight) -> AnyClient:
        """Make the hub's side of a client. The hub calls `wake` when there is something to write."""

    @abstractmethod
    def look_up(self, client: AnyClient, pending: PendingT) -> None:
        """Start the look-up that the answer to a subscription needs. Return immediately."""


class Clients(Generic[AnyClient, PendingT]):
    """Serves the clients of one path, `/ws` or `/logs`. The arguments are also attributes.

    Args:
        endpoint: The part that differs between `/ws` and `/logs`.
        settings: The limits.
        admission: Closes clients without a valid token.
        greeting: Makes the first frame.
        rates: What the holders of tokens may send over all of their connections.
        turns: Limits how long the messages of clients take at a time.

    Attributes:
        connected: The hub's side of each connected client.
    """

    def __init__(
        self,
        endpoint: Endpoint[AnyClient, PendingT],
        settings: Settings,
        admission: Admission,
        greeting: Greeting,
        rates: Rates,
        turns: FairTurns,
    ) -> None:
        self.rates = rates
        self.turns = turns
        self.endpoint = endpoint
        self.admission = admission
        self.greeting = greeting
        self.settings = settings
        self.connected: set[AnyClient] = set()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept a WebSocket and serve it.

        With the ASGI extension `jobws.direct` this returns after the handshake, and the transport serves the client.
        Without it, this returns when the WebSocket has ended. Cancelling drops the client without a close frame.
        """
        await receive()  # websocket.connect
        offered = scope["subprotocols"]
        known = PROTOCOL in offered
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if known else None})
        direct: Direct | None = scope.get("extensions", {}).get(EXTENSION)
        caller = await self.admission.strangers.judged(scope[CALLER], scope[ADDRESS], self.greeting.judged)
        sight = sight_of(caller)
        connected = _DirectClient(self, sight, direct) if direct is not None else _AsgiClient(self, sight)
        client = connected.hub_client
        self.admission.enter(client, caller, sight, scope[ADDRESS])
        if offered and not known:
            client.close(_UNKNOWN_PROTOCOL)
        client.outbox.flush()
        if isinstance(connected, _AsgiClient):
            try:
                await connected.run(receive, send)
            finally:
                connected.lost()


class ConnectedClient(Generic[AnyClient, PendingT]):
    """One client, over any transport.

    Attributes:
        hub_client: The hub's side of the client. It is in `Clients.connected` from the construction of this object
            until `lost` is called.
    """

    __slots__ = ("_bucket", "_clients", "hub_client")

    def __init__(self, clients: Clients[AnyClient, PendingT], sight: AnySight, wake: Callable[[], None]) -> None:
        settings = clients.settings
        self._clients = clients
        self._bucket = TokenBucket(settings.burst_messages, settings.messages_per_second, anyio.current_time())
        self.hub_client = clients.endpoint.connect(wake, sight)
        clients.connected.add(self.hub_client)

    def received(self, message: str | bytes) -> float | Awaitable[float]:
        """Take a message. Return how many seconds to wait before the next message is read; see `Handler.received`."""
        if asked_rights(self.hub_client) is not None:
            return self._judge_and_serve(message)
        return self.serve(message) if len(message) <= SHORT_MESSAGE else self.serve_in_steps(message)

    async def _judge_and_serve(self, message: str | bytes) -> float:
        problem = await judge_message(self.hub_client, message)
        # In one step, since the answers of the authorizer are there until the next await.
        return self.serve(message, problem) if self.hub_client in self._clients.connected else 0.0

    def serve(self, message: str | bytes, problem: RequestError | None = None) -> float:
        """Serve a message for which the rights are at hand. Return how many seconds to wait before the next one.

        `problem` says why a request to subscribe cannot be judged now; None means that it can.
        """
        now = anyio.current_time()
        return self._look_up(message, self.hub_client.receive(message, now, problem), now)

    async def serve_in_steps(self, message: str | bytes) -> float:
        """Do what `serve` does in short steps. Other tasks run between them."""
        now = anyio.current_time()
        pending = await self._clients.turns.run(self.hub_client.receive_in_steps(message, now))
        if self.hub_client not in self._clients.connected:
            self.hub_client.end_all()  # it left, and may have got subscriptions since
            return 0.0
        return self._look_up(message, pending, now)

    def _look_up(self, message: str | bytes, pending: PendingT | None, now: float) -> float:
        """Start the look-up of a request, if there is one, and charge the client for its message; see `serve`."""
        client = self.hub_client
        cost = 1 + len(message) // BYTES_PER_MESSAGE
        if pending is not None:
            self._clients.endpoint.look_up(client, pending)
            cost += pending.size // ITEMS_PER_MESSAGE
        try:
            self._clients.rates.requests.charge(client.payer, cost, now)
        except RateLimitedError as error:
            client.close(Close(CloseCode.TOO_MANY, error.message))
        return max(self._bucket.take(now, cost), self._clients.rates.pace.charge(client.payer, cost, now))

    def lost(self) -> None:
        """Record that the client is gone, and end its subscriptions."""
        self.hub_client.leave()
        self._clients.admission.leave(self.hub_client)
        self._clients.connected.discard(self.hub_client)


class _DirectClient(ConnectedClient[AnyClient, PendingT]):
    """A client over the ASGI extension `jobws.direct`. It has no task of its own that writes.

    When the hub has put frames into the outbox, it calls `_wake`, which writes them to the socket before it returns. If
    earlier frames still wait for the socket, the new ones stay in the outbox.
    """

    __slots__ = ("_busy", "_direct")

    def __init__(self, clients: Clients[AnyClient, PendingT], sight: AnySight, direct: Direct) -> None:
        self._direct = direct
        self._busy = False
        super().__init__(clients, sight, self._wake)
        direct.attach(self)

    def writable(self) -> None:
        """Send more frames, since all earlier frames have left. See `Handler.writable`."""
        self._busy = False
        self._wake()

    def stalled(self) -> None:
        """Close the client, since it reads too slowly. See `Handler.stalled`."""
        self.hub_client.close(SLOW)

    def _wake(self) -> None:
        client, direct = self.hub_client, self._direct
        outbox, closing = client.outbox, client.closing
        if outbox.overflowed or closing is SLOW:
            client.close(SLOW)
            direct.close(SLOW.code, SLOW.reason, drop=True)
            return
        # Nothing may follow a close frame, so before one all waiting frames are written. Otherwise frames wait in the
        # outbox, which counts them, until the socket is writable.
        if (closing is not None or not self._busy) and (frames := outbox.take()):
            shared: Sequence[bytes | memoryview]
            if direct.deflate:
                shared = [piece for frame in frames for piece in frame.deflated]
            elif len(frames) == 1:  # nearly always the case, and a comprehension would take a tenth more time
                shared = frames[0].wire
            else:
                shared = [piece for frame in frames for piece in frame.wire]
            if direct.write(shared):
                outbox.written()
            else:
                self._busy = True
        if closing is not None:
            direct.close(closing.code, closing.reason)


class _AsgiClient(ConnectedClient[AnyClient, PendingT]):
    """A client on any ASGI server: one task reads, and one task writes."""

    __slots__ = ("_woken",)

    def __init__(self, clients: Clients[AnyClient, PendingT], sight: AnySight) -> None:
        self._woken = anyio.Event()
        super().__init__(clients, sight, self._wake)

    def _wake(self) -> None:
        self._woken.set()

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the client until either side ends the connection."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write, send, tasks.cancel_scope)
            await self._read(receive)
            tasks.cancel_scope.cancel()

    async def _read(self, receive: Receive) -> None:
        """Take the client's messages until the client is gone."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            wait = self.received(_payload(message))
            if not isinstance(wait, float):
                wait = await wait
            if wait:
                await anyio.sleep(wait)

    async def _write(self, send: Send, scope: anyio.CancelScope) -> None:
        """Send the frames of the outbox as they come. When the hub closes the client, send the close frame.

        Then cancel `scope`.
        """
        while True:
            await self._woken.wait()
            self._woken = anyio.Event()
            outbox = self.hub_client.outbox
            while frames := outbox.take():
                for frame in frames:
                    await send({"type": "websocket.send", "text": frame.payload.decode()})
            if outbox.overflowed:
                self.hub_client.close(SLOW)
            closing = self.hub_client.closing
            if closing is not None:
                await send({"type": "websocket.close", "code": closing.code, "reason": closing.reason})
                # The ASGI server waits for the client's close frame, if it wants to.
                scope.cancel()
                return


def _payload(message: Message) -> str | bytes:
    """Return the content of an ASGI `websocket.receive` message: the text or the bytes of a client's frame.

    A message has one of the keys `text` and `bytes`. The other key may be missing or None.
    """
    text: str | None = message.get("text")
    if text is not None:
        return text
    data: bytes | None = message.get("bytes")
    return data or b""
