"""A bridge that sends what a test wants: a real WebSocket server, with nothing else of a bridge."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
import trio_websocket
from wsproto.frame_protocol import CloseReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HELLO: dict[str, Any] = {
    "protocol": "jobws.v1",
    "server": "fake",
    "heartbeat": 20.0,
    "limits": {"maxMessage": 262144, "maxFrame": 4096000, "maxSubscriptions": 1000},
}


class FakeConnection:
    """The connection of one client, from the side of the bridge.

    Attributes:
        path: The path of the handshake.
        subprotocols: The subprotocols that the client offered.
        headers: The headers of the handshake, with names in lower case.
        names: The name (`sub`) of the latest subscription, by queue and job id. The queue is None if the subscription
            has none.
    """

    def __init__(self, socket: trio_websocket.WebSocketConnection, request: trio_websocket.WebSocketRequest) -> None:
        self.socket = socket
        self.path: str = request.path
        self.subprotocols: tuple[str, ...] = request.proposed_subprotocols
        self.headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        self.names: dict[tuple[str | None, str], object] = {}

    async def send(self, event: str, data: object, **keys: object) -> None:
        await self.socket.send_message(json.dumps({"event": event, "data": data, **keys}))

    async def receive(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self.socket.get_message())
        if frame["event"] == "subscribe-job":
            data = frame["data"]
            items = data["jobs"] if isinstance(data, dict) and "jobs" in data else data
            for item in items if isinstance(items, list) else [items]:
                if isinstance(item, dict):
                    self.names[item.get("queue"), item["jobId"]] = item.get("sub")
        return frame

    async def subscribed(self, after: dict[str, str] | None = None, *results: dict[str, Any]) -> dict[str, Any]:
        """Receive a `subscribe-job`, acknowledge it, and return its data.

        Args:
            after: The positions in the ack; None for none.
            results: The results in the ack. Without any, each job is active.
        """
        request = await self.receive()
        assert request["event"] == "subscribe-job", request
        subscription: dict[str, Any] = (
            {"jobs": request["data"]} if isinstance(request["data"], list) else request["data"]
        )
        items = subscription["jobs"]
        data = {
            "request": "subscribe-job",
            "results": list(results) or [{"jobs": [{"queue": "q", "jobId": "1", "state": "active"}]}] * len(items),
            "after": after or {},
        }
        await self.send("ack", data, ref=request["ref"])
        return subscription

    async def answer(self, event: str, **data: Any) -> Any:
        """Receive a request with this name, acknowledge it, and return its data."""
        request = await self.receive()
        assert request["event"] == event, request
        await self.send("ack", {"request": event, **data}, ref=request["ref"])
        return request.get("data")

    async def job_event(self, event: str, job_id: str = "1", **keys: Any) -> None:
        """Send an event to the latest subscription to the job in its queue, or if there is none, in any queue.

        `sub` in `keys` names another subscription.
        """
        data = {"queue": "q", "jobId": job_id, **keys.pop("data", {})}
        named = (self.names.get((queue, job_id)) for queue in (data["queue"], None))
        await self.send(event, data, **{"sub": next((name for name in named if name is not None), None), **keys})

    async def closed(self) -> int:
        """Wait until the client has closed the connection, and return its close code."""
        try:
            while True:
                await self.socket.get_message()
        except trio_websocket.ConnectionClosed as closed:
            return 1006 if closed.reason is None else int(closed.reason.code)

    async def close(self, code: int, reason: str = "") -> None:
        # wsproto omits the code only if it gets its own constant.
        await self.socket.aclose(CloseReason.NO_STATUS_RCVD if code == CloseReason.NO_STATUS_RCVD else code, reason)

    async def send_pings(self, count: int) -> None:
        """Send so many pings in one write."""
        await self.socket._stream.send_all(b"\x89\x00" * count)

    async def cut(self) -> None:
        """End the connection without a close frame, as a broken network does."""
        await trio.aclose_forcefully(self.socket._stream)


class FakeBridge:
    """The server. Get it from `fake_bridge`.

    Attributes:
        url: Its base URL.
        hello: The data of the frame `hello`, which the server sends first. If it is empty, the server sends none.
        refusal: The status and the text with which it refuses handshakes; None if it accepts them.
        attempts: How many handshakes came so far.
    """

    def __init__(self, url: str, hello: dict[str, Any], accepted: trio.MemoryReceiveChannel[FakeConnection]) -> None:
        self.url = url
        self.hello = hello
        self.refusal: tuple[int, str] | None = None
        self.attempts = 0
        self._accepted = accepted

    async def accept(self) -> FakeConnection:
        """Wait for the next client that connects, and return its connection."""
        return await self._accepted.receive()


@asynccontextmanager
async def fake_bridge(**hello: Any) -> AsyncIterator[FakeBridge]:
    """Serve until the end of the context. `hello` replaces parts of the usual `HELLO`."""
    send, received = trio.open_memory_channel[FakeConnection](100)
    bridge = FakeBridge("", {**HELLO, **hello}, received)

    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        bridge.attempts += 1
        if bridge.refusal is not None:
            await request.reject(bridge.refusal[0], body=bridge.refusal[1].encode())
            return
        socket = await request.accept(subprotocol="jobws.v1")
        connection = FakeConnection(socket, request)
        if bridge.hello:
            await connection.send("hello", bridge.hello)
        send.send_nowait(connection)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, ssl_context=None, message_queue_size=10_000)
        )
        bridge.url = f"http://127.0.0.1:{server.port}"
        yield bridge
        nursery.cancel_scope.cancel()
