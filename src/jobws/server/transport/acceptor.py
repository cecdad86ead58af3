"""Accepts connections, has their requests served, pings WebSockets, and ends connections.

A connection begins with HTTP, which `http1` serves, until a request asks for a WebSocket, which `websocket_connection`
serves. Usually the first request does. WebSockets of silent and slow clients end early, and all connections end at
shutdown.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from jobws.server.response_headers import with_headers
from jobws.server.transport.asgi_websocket import AsgiWebSocket
from jobws.server.transport.handshake import Handshake
from jobws.server.transport.head import read_upgrade
from jobws.server.transport.http1 import HEAD_BYTES, Http1
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    import anyio

    from jobws.server.fair_turns import FairTurns
    from jobws.server.settings import Settings
    from jobws.server.transport.address_limit import AddressLimit
    from jobws.server.transport.websocket_connection import WebSocketConnection

# The time between two checks of a WebSocket: whether a ping is due, and whether the client is silent or slow.
TICK_SECONDS: Final = 1.0
# At most this many WebSockets are checked in one turn, which takes at most 2 ms. The turns are spread over the second.
# Pinging 10,000 clients in one turn delayed all clients by 400 ms.
TICK_WIRES: Final = 200
# How many files may be open besides clients: connections to Redis, listening sockets, logs.
SPARE_FILES: Final = 100
# How many unsent bytes the kernel holds for a client. More bytes wait in the client's outbox, where they are counted.
UNSENT_BYTES: Final = 128 * 1024
_FULL: Final = "the bridge has as many connections as it may have; try again later"
_CROWDED: Final = "this address has as many connections as it may have (max_connections_per_address)"
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log: Final = logging.getLogger(__name__)


class Transport:
    """Serves an ASGI app on a listening socket, under trio.

    Args:
        app: The ASGI app. The caller must run its lifespan.
        settings: The limits.
        addresses: Counts the connections of each address.
        turns: Limits how long the work for clients takes at a time.
    """

    def __init__(self, app: Any, settings: Settings, addresses: AddressLimit, turns: FairTurns) -> None:
        self._app = app
        self._addresses = addresses
        self._settings = settings
        self._websockets: set[WebSocketConnection] = set()
        self._connections = 0
        self._limit = settings.max_connections
        self._http = Http1(app, settings)
        self._turns = turns

    async def serve(self, listener: socket.socket, stop: anyio.Event) -> None:
        """Accept and serve connections until `stop` is set, and return when the last connection has ended.

        When `stop` is set, `listener` and idle HTTP connections are closed. The other connections may take
        `shutdown_seconds` to end, and are then cut. The app must close its WebSockets, before or after `stop` is set.
        """
        self._limit = raise_file_limit(self._settings.max_connections)
        reserve_files(listener, self._limit)
        listener.setblocking(False)
        # Accepted sockets inherit both options.
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
            await self._http.stop()
            connections.cancel_scope.deadline = trio.current_time() + self._settings.shutdown_seconds
            connections.start_soon(self._end, connections)

    async def _end(self, connections: trio.Nursery) -> None:
        """Call `tick` of all WebSockets every 50 ms, until the last connection has ended.

        `tick` cuts the connection of a client that does not answer the close frame in time.
        """
        while len(connections.child_tasks) > 1:  # one is this task
            await _tick(tuple(self._websockets))
            await trio.sleep(0.05)

    async def _accept(self, listener: socket.socket, connections: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            # At most 2 in a turn, since each handshake takes up to 0.5 ms, and connected clients are served, too.
            for _ in range(2):
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
                    _refuse(accepted, _FULL)
                    continue
                if not self._addresses.enter(address[0]):
                    _refuse(accepted, _CROWDED)
                    continue
                accepted.setblocking(False)
                self._connections += 1
                connections.start_soon(self._serve, accepted, address, connections.start_soon)

    async def _serve(self, sock: socket.socket, address: Any, spawn: Any) -> None:
        """Serve one connection. Its errors end no other connection.

        `spawn` starts a task, in which bytes are sent that a WebSocket's client does not take immediately.
        """
        try:
            found = await self._serve_http(sock, address, spawn)
            if found is not None:
                connection, rest = found
                try:
                    await connection.run(rest)
                    await connection.finish()
                finally:
                    connection.cut()
                    self._websockets.discard(connection)
        except OSError:
            pass  # the client is gone
        except Exception:  # noqa: BLE001 - an error must not end the other connections
            _log.exception("a connection failed")
        finally:
            self._connections -= 1
            self._addresses.leave(address[0])

    async def _serve_http(
        self, sock: socket.socket, address: Any, spawn: Any
    ) -> tuple[WebSocketConnection, bytes] | None:
        """Serve HTTP requests and the handshake of a WebSocket. Without a `direct.Handler`, serve the WebSocket, too.

        The objects that HTTP and the handshake need are freed when this returns. For `spawn`, see `_serve`.

        Returns:
            If the app has attached a handler: the WebSocket, which the caller must run, and the bytes that followed its
            handshake. None if the connection has ended.
        """
        try:
            head = await self._read_head(sock)
            client, server = address[:2], sock.getsockname()[:2]
        except BaseException:
            sock.close()
            raise
        if not head:
            sock.close()
            return None
        upgrade = read_upgrade(head)
        if upgrade is None:
            upgrade = await self._http.serve(sock, head, client, server)
            if upgrade is None:
                return None
            sock = socket.socket(fileno=sock.detach())  # so that Hypercorn's objects cannot close it
        request, rest = upgrade
        websocket = AsgiWebSocket(sock, Handshake(request, client, server), self._settings, spawn, self._turns)
        self._websockets.add(websocket.connection)
        try:
            unread = await websocket.shake_hands(self._app, rest, direct=self._settings.direct)
            if unread is not None:
                return websocket.connection, unread
            await websocket.connection.finish()
        except BaseException:
            websocket.connection.cut()
            raise
        finally:
            if not websocket.connection.attached:
                self._websockets.discard(websocket.connection)
        return None

    async def _read_head(self, sock: socket.socket) -> bytes:
        """Return the head of the first request, and what came with it.

        The head is incomplete if it is longer than `HEAD_BYTES`, if it takes longer than `request_seconds`, or if the
        client closes the connection.
        """
        head = b""
        with suppress(BlockingIOError):
            head = sock.recv(HEAD_BYTES)  # with many new clients, the request is there before `accept`
        if _is_whole(head):
            return head
        with trio.move_on_after(self._settings.request_seconds), suppress(BlockingIOError):
            while not _is_whole(head):
                await trio.lowlevel.wait_readable(sock)
                data = sock.recv(HEAD_BYTES)
                if not data:
                    break
                head += data
        return head

    async def _watch(self) -> None:
        """Call `tick` of every WebSocket once in `TICK_SECONDS`: it sends a ping, or ends a silent or slow client.

        Other tasks run after at most `TICK_WIRES` calls.
        """
        due: list[WebSocketConnection] = []
        turns = 1
        while True:
            await trio.sleep(TICK_SECONDS / turns)
            if not due:
                due = list(self._websockets)
                turns = max(1, math.ceil(len(due) / TICK_WIRES))
            await _tick(due[:TICK_WIRES])
            del due[:TICK_WIRES]


def _is_whole(head: bytes) -> bool:
    return b"\r\n\r\n" in head or len(head) > HEAD_BYTES


async def _tick(connections: Iterable[WebSocketConnection]) -> None:
    now, turn = trio.current_time(), Turn()
    for connection in connections:
        connection.tick(now)
        # `tick` may end a client with a thousand subscriptions, which takes long.
        await turn.pause()


def raise_file_limit(connections: int) -> int:
    """Raise the limit of open files so that `connections` are possible.

    Returns:
        How many connections are possible: `connections`, or fewer if the limit cannot be raised that far.
    """
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


def reserve_files(sock: socket.socket, connections: int) -> None:
    """Have the kernel make its table of this process's open files as large as so many connections need.

    Otherwise it doubles the table at 256, 512, 1,024, … files. In a process with threads each time takes 15 to 20 ms
    (expand_fdtable of Linux waits for all processors), in which no task runs.
    """
    with suppress(OSError, ModuleNotFoundError):  # Windows has no such module
        import fcntl

        os.close(fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, connections))


def _refuse(sock: socket.socket, sentence: str) -> None:
    """Answer 503 and close the socket, without reading. The answer fits into the buffer of any socket."""
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % (len(sentence) + 1)),
        (b"retry-after", b"5"),
        (b"connection", b"close"),
    ]
    lines = b"".join(b"%b: %b\r\n" % each for each in with_headers(headers))
    try:
        sock.setblocking(False)
        sock.send(b"HTTP/1.1 503 Service Unavailable\r\n%b\r\n%b\n" % (lines, sentence.encode()))
    except OSError:
        pass
    finally:
        sock.close()
