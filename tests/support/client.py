"""A WebSocket client that shows every frame as it came. It uses nothing of jobws's own client."""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio
import trio_websocket
from wsproto.utilities import LocalProtocolError

from jobws.protocol.identifiers import position
from tests.support import EVENTUALLY_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

# Not a type of jobws, since tests compare frames as JSON.
Frame = dict[str, Any]
ANSWERS = ("ack", "pong", "error")
ANSWERED = "answered"


class RawClient:
    """Sends requests to a bridge, and returns the frames that come, in order."""

    def __init__(self, socket: trio_websocket.WebSocketConnection, received: trio.MemoryReceiveChannel[str]) -> None:
        self.socket = socket
        self._received = received

    async def send(self, event: str, data: object = None, **rest: object) -> None:
        await self.send_raw(json.dumps({"event": event, "data": data, **rest}))

    async def send_raw(self, message: str | bytes) -> None:
        await self.socket.send_message(message)

    async def receive(self) -> Frame:
        """Return the next frame. Fail if none comes within 60 s, or if the connection ends."""
        frame: Frame = json.loads(await self.receive_text())
        return frame

    async def receive_text(self) -> str:
        """Return the text of the next frame, as `receive` does."""
        with trio.fail_after(EVENTUALLY_SECONDS):
            return await self._received.receive()

    async def ask(self, event: str, data: object = None, **rest: object) -> Frame:
        """Send a request, and return the next frame, which must be the answer."""
        await self.send(event, data, **rest)
        frame = await self.receive()
        assert frame["event"] in ANSWERS
        return frame

    async def until_answered(self, event: str, data: object = None) -> list[Frame]:
        """Send a request, and return the frames up to and including the answer."""
        await self.send(event, data, ref=ANSWERED)
        frames = [await self.receive()]
        while frames[-1].get("ref") != ANSWERED:
            frames.append(await self.receive())
        return frames

    async def until(self, event: str, **data: object) -> list[Frame]:
        """Return the frames up to and including the first one of this event whose data contains `data`."""
        frames = []
        while True:
            frames.append(await self.receive())
            if frames[-1]["event"] == event and data.items() <= frames[-1]["data"].items():
                return frames

    async def read_up_to(self, queue: str, stream_id: str) -> None:
        """Wait until the bridge has read the entry with this id. Subscribes the client to the whole queue."""
        await self.ask("subscribe-queue", {"queue": queue, "sub": "read", "events": ["none"]})
        after = "0-0"
        with trio.fail_after(EVENTUALLY_SECONDS):
            while position(after) < position(stream_id):
                after = (await self.ask("ping"))["data"]["after"].get(queue, "0-0")
                await trio.sleep(0.01)

    async def closed(self) -> tuple[int, str]:
        """Wait until the bridge ends the connection, and return the close code and the reason. Drop frames
        meanwhile.
        """
        with trio.fail_after(EVENTUALLY_SECONDS):
            async for _ in self._received:
                pass
        assert self.socket.closed is not None
        return self.socket.closed.code, self.socket.closed.reason or ""


@asynccontextmanager
async def raw_client(
    url: str,
    *,
    hello: bool = True,
    subprotocols: Sequence[str] = (),
    headers: Sequence[tuple[str, str]] = (),
    path: str = "/ws",
) -> AsyncIterator[RawClient]:
    """Yield a client of the bridge with this base URL. If `hello` is true, the first frame, `hello`, was already
    read.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    try:
        async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream, trio.open_nursery() as nursery:
            socket = await trio_websocket.wrap_client_stream(
                nursery,
                stream,
                parts.netloc,
                parts.path + path,
                subprotocols=list(subprotocols),
                extra_headers=[(name.encode(), value.encode()) for name, value in headers],
                max_message_size=64 * 1024 * 1024,
            )
            send, receive = trio.open_memory_channel[str](math.inf)
            nursery.start_soon(_drain, socket, send)
            client = RawClient(socket, receive)
            if hello:
                assert (await client.receive())["event"] == "hello"
            yield client
            with trio.move_on_after(2):
                await socket.aclose()
            nursery.cancel_scope.cancel()
    except* LocalProtocolError:
        pass  # the library tries to answer a ping that came after our close frame


async def _drain(socket: trio_websocket.WebSocketConnection, send: trio.MemorySendChannel[str]) -> None:
    with send:
        while True:
            try:
                message = await socket.get_message()
            except trio_websocket.ConnectionClosed:
                return
            assert isinstance(message, str)
            send.send_nowait(message)
