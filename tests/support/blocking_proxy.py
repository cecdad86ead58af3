"""A proxy like those of some networks: it blocks WebSockets, or holds responses back until they are complete."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final, Literal

import trio

from tests.chaos.proxy import Proxy

_REFUSAL: Final = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_HEAD_BYTES: Final = 16384


class BlockingProxy(Proxy):
    """A proxy between pages and a bridge.

    Attributes:
        websockets: What happens to new WebSockets: they pass, are refused, or are never answered.
        buffers: Whether a response reaches the page only when it is complete.
        refused: How many WebSockets were blocked.
    """

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.websockets: Literal["pass", "refuse", "swallow"] = "pass"
        self.buffers = False
        self.refused = 0

    async def _serve(self, client: trio.SocketStream) -> None:
        # The first request decides, since a browser opens a connection of its own for each WebSocket.
        with suppress(OSError):
            head = await client.socket.recv(_HEAD_BYTES, socket.MSG_PEEK)
            if self.websockets == "pass" or b"upgrade: websocket" not in head.lower():
                return await super()._serve(client)
        self.refused += 1
        with suppress(OSError, trio.BrokenResourceError):
            await client.receive_some()
            if self.websockets == "refuse":
                await client.send_all(_REFUSAL)
            async for _ in client:
                pass
        await client.aclose()
        return None

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope, *, to_client: bool = False
    ) -> None:
        carried = _Whole(self, sink) if to_client else sink
        await super()._pump(source, carried, scope, to_client=to_client)  # type: ignore[arg-type]


class _Whole:
    """A sink that passes a response on in one piece while the proxy buffers, and immediately otherwise."""

    def __init__(self, proxy: BlockingProxy, sink: trio.SocketStream) -> None:
        self._proxy = proxy
        self._sink = sink
        self._held = b""

    async def send_all(self, data: bytes) -> None:
        self._held += data
        # The bridge's streams are chunked, and end with an empty chunk.
        stream = b"\r\ntransfer-encoding: chunked\r\n" in self._held.lower()
        if self._proxy.buffers and stream and not self._held.endswith(b"\r\n0\r\n\r\n"):
            return
        held, self._held = self._held, b""
        await self._sink.send_all(held)

    async def send_eof(self) -> None:
        await self._sink.send_eof()
