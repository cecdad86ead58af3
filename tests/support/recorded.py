"""A way to a bridge that records every byte that the bridge sends."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def recorded(url: str) -> AsyncIterator[tuple[str, list[bytearray]]]:
    """Yield the URL of a port of loopback whose connections lead to the bridge with this URL, and what it sent.

    What it sent is a buffer for each connection.
    """
    sent: list[bytearray] = []
    port = urlsplit(url).port or 0

    async def pass_on(source: trio.SocketStream, target: trio.SocketStream, record: bytearray) -> None:
        try:
            async for data in source:
                record += data
                await target.send_all(data)
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(source)

    async def serve(client: trio.SocketStream) -> None:
        record = bytearray()
        sent.append(record)
        async with await trio.open_tcp_stream("127.0.0.1", port) as bridge, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on, client, bridge, bytearray())
            nursery.start_soon(pass_on, bridge, client, record)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, serve, 0)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", sent
        nursery.cancel_scope.cancel()
