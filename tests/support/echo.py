"""An app that sends back what it receives, on the server's transport: through ASGI, or past it (`direct`)."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from wsproto.frame_protocol import FrameProtocol

from jobws.server.fair_turns import FairTurns
from jobws.server.serve import listening_socket
from jobws.server.settings import Settings
from jobws.server.transport.acceptor import Transport
from jobws.server.transport.address_limit import AddressLimit
from jobws.server.transport.direct import EXTENSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobws.server.transport.direct import Direct


class _Echo:
    """Sends back what comes, without ASGI."""

    def __init__(self, direct: Direct) -> None:
        self._direct = direct

    def received(self, message: str | bytes) -> float:
        self._direct.write([bytes(FrameProtocol(client=False, extensions=[]).send_data(message))])
        return 0.0

    def writable(self) -> None:
        pass

    def stalled(self) -> None:
        self._direct.close(4000, "slow", drop=True)

    def lost(self) -> None:
        pass


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app that sends back what comes over a WebSocket, and answers every HTTP request with `ok`."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    if EXTENSION in scope["extensions"]:
        scope["extensions"][EXTENSION].attach(_Echo(scope["extensions"][EXTENSION]))
        return
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


def unlimited() -> AddressLimit:
    """Return what limits no address."""
    return AddressLimit(0, lambda _client: None, Counter())


@asynccontextmanager
async def echo_server(app: Any = echo, *, addresses: AddressLimit | None = None, **settings: Any) -> AsyncIterator[int]:
    """Serve the echo app, or another app, until the end of the context. Yield the port.

    Without `addresses`, no address is limited.
    """
    listener = listening_socket("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        limits = Settings(**{"shutdown_seconds": 0.5, **settings})
        transport = Transport(app, limits, addresses or unlimited(), FairTurns(time.perf_counter))
        tasks.start_soon(partial(transport.serve, listener, stop))
        yield port
        stop.set()
