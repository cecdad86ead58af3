"""The server's sockets: accepts, speaks HTTP with Hypercorn's classes, and takes WebSockets over at their handshake.

Hypercorn 0.18 is not safe for many long connections: a send cannot be cancelled, permessage-deflate is always on, the
limit of a message's size does not bound memory, pongs are ignored, and clients see 1006 at shutdown. So only HTTP/1.1
requests go through it, with sends under a deadline; `wire` serves WebSockets. This file alone knows Hypercorn's
insides.
"""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from jobws.server.handshake import Handshake
from jobws.server.problems import problem
from jobws.server.upgraded import Upgraded

if TYPE_CHECKING:
    import anyio
    from hypercorn.events import Event

    from jobws.server.settings import Settings
    from jobws.server.wire import Wire

# Between two looks at what is due on the WebSockets: pings, silence, slowness.
TICK_SECONDS: Final = 1.0
# A longer head of a request is answered with 431.
HEAD_BYTES: Final = 16 * 1024
# Files that are not connections: Redis, listeners, logs.
SPARE_FILES: Final = 100
# What the kernel may hold unsent for a client; the rest waits in its outbox, where it is counted.
UNSENT_BYTES: Final = 128 * 1024
_FULL_SENTENCE: Final = b"the bridge has as many connections as it may have; try again later\n"
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    b"retry-after: 5\r\nconnection: close\r\n\r\n%b" % (len(_FULL_SENTENCE), _FULL_SENTENCE)
)
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log: Final = logging.getLogger(__name__)


class Transport:
    """Serves an ASGI app on a listening socket.

    Args:
        app: Its lifespan is not run: that is the caller's.
        settings: The limits.
    """

    def __init__(self, app: Any, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._wires: set[Wire] = set()
        self._connections = 0
        self._limit = settings.max_connections
        self._context = WorkerContext(None)
        self._config = Config()
        self._config.keep_alive_timeout = settings.request_seconds
        self._config.read_timeout = settings.silence_seconds  # type: ignore[assignment]
        self._config.h11_max_incomplete_size = HEAD_BYTES
        self._config.include_server_header = False
        self._config.loglevel = "WARNING"

    async def serve(self, listener: socket.socket, stop: anyio.Event) -> None:
        """Accept until `stop`, then let what is under way end within `shutdown_seconds`. Closes `listener`.

        At the stop WebSockets are the app's to close, before or after.
        """
        self._limit = raise_file_limit(self._settings.max_connections)
        listener.setblocking(False)
        # Accepted sockets inherit both.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        async with trio.open_nursery() as connections:
            with listener:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(self._accept, listener, connections)
                    accepting.start_soon(self._watch)
                    await stop.wait()
                    accepting.cancel_scope.cancel()
            await self._context.terminated.set()
            connections.cancel_scope.deadline = trio.current_time() + self._settings.shutdown_seconds
            connections.start_soon(self._end, connections)

    async def _end(self, connections: trio.Nursery) -> None:
        """Keep the WebSockets' time until the last connection has ended."""
        while len(connections.child_tasks) > 1:  # this one
            self._tick()
            await trio.sleep(0.05)

    async def _accept(self, listener: socket.socket, connections: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            # As many as there are, but not for ever: those that are connected have a turn, too.
            for _ in range(64):
                try:
                    accepted, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _EXHAUSTED:
                        _log.warning("cannot accept connections now: %s", error.strerror)
                        await trio.sleep(0.1)
                    break
                if self._connections >= self._limit:
                    _refuse(accepted)
                    continue
                accepted.setblocking(False)
                self._connections += 1
                connections.start_soon(self._serve, accepted, address, connections.start_soon)

    async def _serve(self, sock: socket.socket, address: Any, spawn: Any) -> None:
        """One connection, whose end concerns nobody else."""
        try:
            upgraded = await self._serve_http(sock, address, spawn)
            if upgraded is not None:
                wire, rest = upgraded
                try:
                    await wire.run(rest)
                    await wire.finish()
                finally:
                    wire.cut()
                    self._wires.discard(wire)
        except Exception:  # noqa: BLE001 - it must not end the others
            _log.exception("a connection failed")
        finally:
            self._connections -= 1

    async def _serve_http(self, sock: socket.socket, address: Any, spawn: Any) -> tuple[Wire, bytes] | None:
        """Requests and the handshake. What they needed is gone when this returns."""
        client, server = address[:2], sock.getsockname()[:2]
        head = await self._read_head(sock)
        upgrade = _upgrade(head, client, server)
        if upgrade is None:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            http = _Http(self._app, self._config, self._context, stream, (client, server), self._settings.send_seconds)
            upgrade = await http.serve(head)
            if upgrade is None:
                return None
            sock = socket.socket(fileno=sock.detach())  # Hypercorn's objects may not close it any more
        upgraded = Upgraded(sock, upgrade.handshake, self._settings, spawn)
        self._wires.add(upgraded.wire)
        try:
            rest = await upgraded.shake_hands(self._app, upgrade.rest, direct=self._settings.direct)
            if rest is not None:
                return upgraded.wire, rest
            await upgraded.wire.finish()
        except BaseException:
            upgraded.wire.cut()
            raise
        finally:
            if not upgraded.wire.attached:
                self._wires.discard(upgraded.wire)
        return None

    async def _read_head(self, sock: socket.socket) -> bytes:
        """The head of the first request, and what came with it; less, if it is too long or its time is over.

        Most connections become WebSockets, and need nothing else of HTTP.
        """
        head = b""
        try:
            with trio.move_on_after(self._settings.request_seconds):
                while b"\r\n\r\n" not in head and len(head) <= HEAD_BYTES:
                    await trio.lowlevel.wait_readable(sock)
                    data = sock.recv(HEAD_BYTES)
                    if not data:
                        break
                    head += data
        except BlockingIOError:
            pass
        except BaseException:
            sock.close()
            raise
        return head

    async def _watch(self) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            self._tick()

    def _tick(self) -> None:
        now = trio.current_time()
        for wire in tuple(self._wires):
            wire.tick(now)


class _UpgradeError(Exception):
    """A request for a WebSocket. It leaves Hypercorn's parser as its own H2CProtocolRequiredError does."""

    def __init__(self, handshake: Handshake, rest: bytes) -> None:
        super().__init__()
        self.handshake = handshake
        self.rest = rest


def _upgrade(head: bytes, client: Any, server: Any) -> _UpgradeError | None:
    """The request for a WebSocket that `head` is; None: it is something else, which Hypercorn will answer."""
    if b"websocket" not in head.lower():
        return None
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    connection.receive_data(head)
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(request, h11.Request) or not _asks_for_websocket(request):
        return None
    return _UpgradeError(Handshake(request, connection, client, server), bytes(connection.trailing_data[0]))


def _asks_for_websocket(request: h11.Request) -> bool:
    return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in request.headers)


class _Http(TCPServer):
    """Hypercorn's side of a connection, with deadlines, until it becomes a WebSocket."""

    def __init__(
        self,
        app: Any,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
        addresses: tuple[Any, Any],
        send_seconds: float,
    ) -> None:
        super().__init__(ASGIWrapper(app), config, context, {}, stream)  # type: ignore[arg-type]
        self._addresses = addresses
        self._send_seconds = send_seconds
        self._upgrade: _UpgradeError | None = None

    async def serve(self, head: bytes) -> _UpgradeError | None:
        """Serve requests, of which `head` is the beginning, until the connection ends or becomes a WebSocket."""
        try:
            async with TaskGroup() as self._task_group:
                self.protocol = _H11(  # type: ignore[assignment]
                    *(self.app, self.config, self.context, self._task_group, {}, False),  # type: ignore[arg-type]
                    *self._addresses,
                    self.protocol_send,
                )
                await self.idle_task.restart(self._task_group, self._idle_timeout)
                try:
                    await self.protocol.handle(RawData(head))
                    await self._read_data()
                except _UpgradeError as upgrade:
                    self._upgrade = upgrade
                    await self.idle_task.stop()
        except OSError:
            pass
        finally:
            if self._upgrade is None:
                await self._close()
        return self._upgrade

    async def _close(self) -> None:
        try:
            await super()._close()
        finally:
            self.stream.socket.close()  # also when cancelled

    async def protocol_send(self, event: Event) -> None:
        """As Hypercorn's, but a client that takes nothing ends its own connection: theirs would wait for ever."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            with trio.move_on_after(self._send_seconds, shield=True) as scope:
                try:
                    await self.stream.send_all(event.data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    scope.cancel()
            if scope.cancel_called:
                await trio.aclose_forcefully(self.stream)


class _H11(H11Protocol):
    """Hypercorn's HTTP/1.1, without its WebSockets and without HTTP/2, whose WebSockets would be its own."""

    async def _check_protocol(self, _event: h11.Request) -> None:
        """An offer of h2c is not taken."""

    async def _send_error_response(self, status_code: int) -> None:
        """What h11 cannot read: theirs has no body."""
        answer = problem("bad-request", "this is no request of HTTP/1.1, or its head is too long", status_code)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=bytes(answer.body)))
        await self._send_h11_event(h11.EndOfMessage())

    async def _create_stream(self, request: h11.Request) -> None:
        if _asks_for_websocket(request):
            connection: Any = self.connection
            handshake = Handshake(request, connection, self.client, self.server)
            raise _UpgradeError(handshake, bytes(connection.trailing_data[0]))
        await super()._create_stream(request)


def raise_file_limit(connections: int) -> int:
    """Let this process open as many files as `connections` need; how many connections it may have after that."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
            soft = possible
        except (ValueError, OSError):
            _log.debug("the limit of open files stays at %d", soft)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = max(soft - SPARE_FILES, 1)
    _log.warning("%d open files are allowed (ulimit -n), so %d connections, not %d", soft, allowed, connections)
    return allowed


def _refuse(sock: socket.socket) -> None:
    """503, before a byte was read. It fits into any socket's buffer."""
    try:
        sock.setblocking(False)
        sock.send(_FULL)
    except OSError:
        pass
    finally:
        sock.close()
