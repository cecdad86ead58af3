"""Serves HTTP/1.1 with Hypercorn's classes, and with time limits. Only this file depends on Hypercorn's internals.

Hypercorn's own WebSockets are not used, since many long ones are not safe with Hypercorn 0.18: a send cannot be
cancelled, permessage-deflate is always on, the limit on the size of a message does not limit memory, pongs are ignored,
and clients see 1006 at shutdown.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from jobws.server.http.problems import problem
from jobws.server.response_headers import with_headers
from jobws.server.transport.head import Head

if TYPE_CHECKING:
    from hypercorn.events import Event

    from jobws.server.settings import Settings

# A request with a longer head is answered with 431.
HEAD_BYTES: Final = 16 * 1024
UNREADABLE: Final = (
    "this is no request of HTTP/1.1, its head is too long, or it has both Content-Length and Transfer-Encoding"
)


class UpgradeRequestError(Exception):
    """Raised out of Hypercorn's parser when a request asks to open a WebSocket.

    Hypercorn raises its own H2CProtocolRequiredError in the same place.
    """

    def __init__(self, head: Head, rest: bytes) -> None:
        super().__init__()
        self.head = head
        self.rest = rest


class Http1:
    """Serves an ASGI app to HTTP connections.

    Args:
        app: The ASGI app.
        settings: The time limits.
    """

    def __init__(self, app: Any, settings: Settings) -> None:
        self._app = ASGIWrapper(app)
        self._send_seconds = settings.send_seconds
        self._context = WorkerContext(None)
        self._config = Config()
        self._config.keep_alive_timeout = settings.request_seconds
        self._silence_milliseconds = round(settings.silence_seconds * 1000)
        self._config.h11_max_incomplete_size = HEAD_BYTES
        self._config.include_server_header = False
        self._config.loglevel = "WARNING"

    async def serve(self, sock: socket.socket, head: bytes, client: Any, server: Any) -> tuple[Head, bytes] | None:
        """Serve requests until the connection ends or becomes a WebSocket.

        Args:
            sock: The connection. It is closed at the end, unless it becomes a WebSocket.
            head: The bytes that were already read, at least one: empty bytes would count as the end of the connection.
            client: The client's address, for the ASGI scope.
            server: The server's address, for the ASGI scope.

        Returns:
            The request to open a WebSocket, and the bytes that follow it. None if the connection has ended.
        """
        # A client that waits for an answer sends nothing, so its silence does not show that it is gone. But the kernel
        # of a client that is there acknowledges bytes. If no acknowledgement comes, our kernel ends the connection.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._silence_milliseconds)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        return await _Connection(
            self._app, self._config, self._context, stream, (client, server), self._send_seconds
        ).serve(head)

    async def stop(self) -> None:
        """End idle connections now, and have the others end after their present request. Does not wait for them."""
        await self._context.terminated.set()


class _Connection(TCPServer):
    """A connection that Hypercorn serves, with time limits, until it becomes a WebSocket.

    Args:
        app: The ASGI app, in Hypercorn's wrapper.
        config: Hypercorn's settings.
        context: Says when the server stops.
        stream: The connection.
        addresses: The addresses of the client and of the server, in this order, for the ASGI scope.
        send_seconds: How long the client may take to receive the bytes of one send.
    """

    def __init__(
        self,
        app: Any,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
        addresses: tuple[Any, Any],
        send_seconds: float,
    ) -> None:
        super().__init__(app, config, context, {}, stream)  # type: ignore[arg-type]
        self._addresses = addresses
        self._send_seconds = send_seconds
        self._upgrade: UpgradeRequestError | None = None
        self._scope = trio.CancelScope()

    async def serve(self, head: bytes) -> tuple[Head, bytes] | None:
        """Serve requests, as `Http1.serve` does."""
        try:
            with self._scope:
                async with TaskGroup() as self._task_group:
                    self.protocol = _H11(  # type: ignore[assignment]
                        self.app,
                        self.config,
                        self.context,
                        self._task_group,
                        {},  # type: ignore[arg-type]
                        False,
                        *self._addresses,
                        self.protocol_send,
                    )
                    await self.idle_task.restart(self._task_group, self._idle_timeout)
                    try:
                        await self.protocol.handle(RawData(head))
                        await self._read_data()
                        await self.idle_task.stop()  # the client is gone, so there is no further request to wait for
                    except UpgradeRequestError as upgrade:
                        self._upgrade = upgrade
                        await self.idle_task.stop()
        except OSError:
            pass
        finally:
            if self._upgrade is None:
                await self._close()
            # The two refer to each other, so otherwise only the garbage collector would free them.
            del self.protocol
        return None if self._upgrade is None else (self._upgrade.head, self._upgrade.rest)

    async def _close(self) -> None:
        try:
            await super()._close()
        finally:
            self.stream.socket.close()  # also when cancelled

    async def protocol_send(self, event: Event) -> None:
        """Send as Hypercorn does, but close the connection of a client that does not take the bytes in time.

        Hypercorn would wait forever.
        """
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            sent = False
            try:
                with trio.move_on_after(self._send_seconds):
                    await self.stream.send_all(event.data)
                    sent = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                if not sent:  # also when cancelled, since nothing may follow half a response
                    self.stream.socket.close()
                    self._scope.cancel()  # ends the app and the reader, which may both wait


class _H11(H11Protocol):
    """Hypercorn's HTTP/1.1, without Hypercorn's WebSockets, and without HTTP/2, which would use them."""

    async def _check_protocol(self, _event: h11.Request) -> None:
        """Accept no upgrade to HTTP/2 (h2c)."""

    async def _send_error_response(self, status_code: int) -> None:
        """Refuse a request that h11 cannot read, or whose end is ambiguous. Hypercorn's own answer has no body."""
        answer = problem("bad-request", UNREADABLE, status_code)
        headers = [*with_headers(answer.raw_headers), (b"connection", b"close")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=bytes(answer.body)))
        await self._send_h11_event(h11.EndOfMessage())

    async def _create_stream(self, request: h11.Request) -> None:
        head = Head(request.method, request.target, request.http_version, list(request.headers))
        # A proxy in front may believe the other header, and then sees another request in what follows (RFC 9112 §6.3).
        if {name for name, _ in head.headers} >= {b"content-length", b"transfer-encoding"}:
            await self._send_error_response(400)
            await self.send(Closed())
            return
        if head.asks_for_websocket:
            connection: Any = self.connection
            raise UpgradeRequestError(head, bytes(connection.trailing_data[0]))
        await super()._create_stream(request)
