"""Keeps a client connected. An `Exchange` (`jobs.subscriptions`, `log.feed`) makes requests, and handles frames.

A connection has three tasks: to read, to write, and to renew the token. After a loss, a new connection is made.
"""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import msgspec
import trio

from jobws.client.connection.backoff import Backoff
from jobws.client.connection.transport import CONNECT_SECONDS, Transport, open_websocket
from jobws.client.connection.urls import url_below
from jobws.client.frames import decode_frame, not_ours
from jobws.errors import ClientError, ConnectionLostError, RefusedError, UnreachableError
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.messages import PROTOCOL, HelloData

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from jobws.client.connection.token import Credentials
    from jobws.client.frames import Frame


class Exchange(Protocol):
    """Makes the requests of a `Session`, and handles the frames that come. Times are seconds on trio's clock."""

    failure: ClientError | None
    """Why no further connection will be made. None while one may be made."""

    def connected(self, hello: HelloData, now: float) -> None:
        """Begin to use a new connection, whose `hello` has come, and forget what belonged to the one before.

        `due` and `requests` are about the new connection from now on.
        """

    def fail(self, error: ClientError) -> None:
        """Set `failure`: because of `error`, no further connection will be made. The user's waiting tasks get it."""

    def due(self) -> float:
        """Return when to call `requests` next. -inf or a past time: now. inf: not until another method was called."""

    def requests(self, now: float) -> list[str]:
        """Return the messages to send at the time `now`. They count as sent: the next call does not return them."""

    def receive(self, frame: Frame, size: int, now: float) -> None:
        """Handle a frame with `size` characters of text. Raises UnreachableError if it is not a frame of jobws.v1."""


# The longest time between two pings. The answers show that the bridge is alive, and refresh positions.
PING_SECONDS: Final = 20.0
RENEW_SECONDS: Final = 10.0

AnyExchange = TypeVar("AnyExchange", bound=Exchange)


class Session(Generic[AnyExchange]):
    """Keeps a connection to the bridge open, and passes requests and frames between an exchange and the bridge.

    Args:
        url: The bridge's base URL.
        credentials: The token for the bridge.
        exchange: Makes the requests and handles the frames.
        path: The WebSocket's path below the URL: `/ws` for jobs, `/logs` for the log.
        renew_seconds: The shortest time between two new tokens, since the new one may expire soon, too.
    """

    def __init__(
        self, url: str, credentials: Credentials, exchange: AnyExchange, path: str, renew_seconds: float = RENEW_SECONDS
    ) -> None:
        self.exchange = exchange
        self.hello: HelloData | None = None  # of the latest connection; None before the first one
        self._ping_seconds = PING_SECONDS
        self._renew_seconds = renew_seconds
        self._path = path
        self._opened = trio.Event()
        self._url = url
        self._credentials = credentials
        self._backoff = Backoff(random.random)
        self._wake = trio.lowlevel.ParkingLot()
        self._sleeping_until = inf
        self._expiring = trio.Event()
        self._connection_scope: trio.CancelScope | None = None
        self._closed = False

    async def opened(self) -> None:
        """Wait for the first connection. If there will be none, raise the reason, as `jobws.client.connect` does."""
        await self._opened.wait()
        if self.exchange.failure is not None:
            raise self.exchange.failure

    def nudge(self) -> None:
        """Let the task that writes send what the exchange has to send. Call this after each change of the exchange."""
        if self.exchange.due() < self._sleeping_until:
            self._wake.unpark_all()

    def close(self, scope: trio.CancelScope) -> None:
        """End `run`, which runs in `scope`. The user's waiting tasks get ClientError. A close frame is sent."""
        self._closed = True
        if self.exchange.failure is None:
            self.exchange.fail(ClientError("this client is closed"))
        (self._connection_scope or scope).cancel()

    async def run(self) -> None:
        """Connect, and reconnect after each loss, until `close`. No error is raised.

        Also return if the first connection fails, the bridge refuses, or the token is faulty or stays expired: the
        error then goes to `Exchange.fail`.
        """
        while not self._closed:
            try:
                await self._connect()
            except (UnreachableError, ConnectionLostError) as error:
                if not self._opened.is_set():
                    return self._fail(error)
                if getattr(error, "code", None) == CloseCode.TOKEN_EXPIRED and not self._credentials.renewable:
                    return self._fail(RefusedError("the token has expired; a function as `token` may return a new one"))
            except ClientError as error:
                return self._fail(error)
            if not self._closed:
                await trio.sleep(self._backoff.next())
        return None

    def _fail(self, error: ClientError) -> None:
        self.exchange.fail(error)
        self._opened.set()

    async def _connect(self) -> None:
        """Make one connection, and use it until `close`. Raises the ClientError that prevents or ends it."""
        url, headers = url_below(self._url, "ws", self._path), await self._credentials.headers()
        async with open_websocket(url, (PROTOCOL,), headers) as transport:
            self.hello = await self._greeted(transport)
            self._ping_seconds = min(PING_SECONDS, max(1.0, self.hello.heartbeat))
            self.exchange.connected(self.hello, trio.current_time())
            self._opened.set()
            await self._run_tasks(transport)

    async def _greeted(self, transport: Transport) -> HelloData:
        with trio.move_on_after(CONNECT_SECONDS):
            frame = decode_frame(await transport.receive())
            if frame.event != "hello":
                raise UnreachableError(f"what answers at {self._url} does not speak jobws.v1")
            try:
                return msgspec.convert(frame.data, HelloData)
            except msgspec.ValidationError as error:
                raise not_ours(error) from None
        raise UnreachableError(f"no bridge at {self._url}: it accepts the connection, and says nothing")

    async def _run_tasks(self, transport: Transport) -> None:
        """Run the connection's three tasks until one fails. Raise its error alone, not in an exception group."""
        failure: ClientError | None = None

        async def until_error(task: Callable[[Transport], Awaitable[None]]) -> None:
            nonlocal failure
            try:
                await task(transport)
            except ClientError as error:
                failure = failure or error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            self._connection_scope = nursery.cancel_scope
            for task in (self._write, self._read, self._renew):
                nursery.start_soon(until_error, task)
        self._connection_scope = None
        if failure is not None:
            raise failure

    async def _read(self, transport: Transport) -> None:
        # The bridge answers each ping. If no frame comes for so many seconds, the bridge is gone.
        silence = 2 * self._ping_seconds + 5
        while True:
            with trio.move_on_after(silence) as patience:
                text = await transport.receive()
            if patience.cancelled_caught:
                raise ConnectionLostError(1006, f"nothing was heard of the bridge for {silence:g} s")
            frame = decode_frame(text)
            if frame.event == "expiring":
                self._expiring.set()
            if frame.event == "ack":
                self._backoff.reset()
            self.exchange.receive(frame, len(text), trio.current_time())
            self.nudge()

    async def _write(self, transport: Transport) -> None:
        ping_due = trio.current_time() + self._ping_seconds
        while True:
            self._sleeping_until = min(self.exchange.due(), ping_due)
            with trio.move_on_at(self._sleeping_until):
                await self._wake.park()
            self._sleeping_until = -inf
            for message in self.exchange.requests(trio.current_time()):
                await transport.send(message)
            if trio.current_time() >= ping_due:
                ping_due = trio.current_time() + self._ping_seconds
                await transport.send('{"event":"ping"}')

    async def _renew(self, transport: Transport) -> None:
        """Until cancelled: when the bridge says that the token expires soon, send a new one if it can be renewed."""
        while True:
            await self._expiring.wait()
            self._expiring = trio.Event()
            if self._credentials.renewable and (token := await self._credentials.token()) is not None:
                request = {"event": "authenticate", "data": {"token": token}}
                await transport.send(msgspec.json.encode(request).decode())
                await trio.sleep(self._renew_seconds)


@asynccontextmanager
async def running(session: Session[AnyExchange]) -> AsyncIterator[Session[AnyExchange]]:
    """Run a session until the end of the context. Entering calls `Session.opened`, and so raises what that raises.

    An exception in the context is raised as it is, never in an exception group.
    """
    # An exception raised inside the nursery would leave it in a group, so it is raised after the nursery.
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            nursery.start_soon(session.run)
            await session.opened()
            yield session
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - raised again below
            failure = error
        session.close(nursery.cancel_scope)
    if failure is not None:
        raise failure


def require_trio(instead: str) -> None:
    """Raise ClientError unless the program runs on trio. The message recommends `instead`."""
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        raise ClientError(
            f"this client runs on trio; in a notebook or an asyncio program use {instead}, which needs no loop"
        ) from None
