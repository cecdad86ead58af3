"""A TCP proxy that fails on command: it resets connections, lets them hang, and leads to another port."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHUNK_BYTES: Final = 65536
# The size of the kernel's buffers. They are small, so that the server notices a connection that hangs.
_BUFFER_BYTES: Final = 32768
_RESET: Final = struct.pack("ii", 1, 0)
_BROKEN: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Proxy:
    """A proxy between clients and one port of this machine.

    Args:
        target: The port to which it leads.

    Attributes:
        target: The port to which it leads. It may be changed; existing connections stay.
        port: The port on which it listens.
        open: Whether it accepts new connections. Otherwise it resets them.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.open = True
        self._flowing = trio.Event()
        self._flowing.set()
        self._streams: set[trio.SocketStream] = set()
        listener = trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", 0)))
        self.port: int = listener.getsockname()[1]
        self._listener = trio.SocketListener(listener)

    async def run(self) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self._serve, [self._listener])

    def cut(self) -> None:
        """Reset every connection."""
        _reset(self._streams)

    def pause(self) -> None:
        """Pass nothing on to the clients until `resume` is called."""
        if self._flowing.is_set():
            self._flowing = trio.Event()

    def resume(self) -> None:
        """Pass on what waits, and everything that comes later."""
        self._flowing.set()

    async def _serve(self, client: trio.SocketStream) -> None:
        both = {client}
        self._streams.add(client)
        try:
            if not self.open:
                return
            server = await trio.open_tcp_stream("127.0.0.1", self.target)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            both.add(server)
            self._streams.add(server)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, client, server, nursery.cancel_scope)
                await self._pump(server, client, nursery.cancel_scope, to_client=True)
        except _BROKEN:
            pass
        finally:
            self._streams -= both
            _reset(both)

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope, *, to_client: bool = False
    ) -> None:
        """Pass on the bytes of one direction. The end of one direction ends both."""
        with suppress(*_BROKEN):
            async for data in source:
                if to_client:
                    await self._flowing.wait()
                await sink.send_all(data)
            # The close frames have already passed, since the server closes the TCP connection after them.
            with suppress(*_BROKEN):
                await sink.send_eof()
            await trio.sleep(0.05)
        scope.cancel()


def _reset(streams: Iterable[trio.SocketStream]) -> None:
    for stream in list(streams):
        with suppress(OSError):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        stream.socket.close()
