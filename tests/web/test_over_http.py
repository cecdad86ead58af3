"""The adapter over HTTP, in Node, with a fake bridge that answers when a test wants."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.adapter import AdapterClient, Rejected, adapter
from tests.support.fake_bridge import HELLO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Message = dict[str, Any]


class Answer:
    """One `POST /events`, whose answer lasts until the client ends it.

    Attributes:
        requests: The requests in its body.
    """

    def __init__(self, requests: list[Message], stream: trio.SocketStream) -> None:
        self.requests = requests
        self._stream = stream

    async def send(self, *frames: Message) -> None:
        """Send frames in one piece, so that the client takes them together."""
        blocks = [f"data: {json.dumps(frame)}\n\n" for frame in frames]
        await self._stream.send_all("".join(blocks).encode())

    async def acknowledge(self, *results: Message, outcome: Message) -> None:
        """Acknowledge its only subscription, and send an outcome for the first job of this, in one piece."""
        (request,) = self.requests
        name = request["data"][0]["sub"]
        data = {"request": "subscribe-job", "results": results, "after": {"q": "0-0"}}
        completed = {"event": "completed", "data": outcome, "id": "1-0", "replayed": True, "sub": name}
        await self.send({"event": "ack", "data": data, "ref": request["ref"]}, completed)


@asynccontextmanager
async def answering() -> AsyncIterator[tuple[str, trio.MemoryReceiveChannel[Answer]]]:
    """Yield the bridge's URL, and a stream of the answers that the client requests. Each has sent `hello`."""
    send, asked = trio.open_memory_channel[Answer](100)

    async def serve(stream: trio.SocketStream) -> None:
        text = b""
        while b"\r\n\r\n" not in text:
            text += await stream.receive_some()
        head, _, body = text.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < size:
            body += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        answer = Answer(json.loads(body), stream)
        await answer.send({"event": "hello", "data": HELLO})
        send.send_nowait(answer)
        with suppress(trio.BrokenResourceError):  # the client has ended it
            while await stream.receive_some():
                pass

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}", asked
        nursery.cancel_scope.cancel()


async def time_passes(client: AdapterClient) -> None:
    """Give Node 0.3 s, so that it has done whatever it does within this time."""
    with pytest.raises(Rejected, match="has not ended within 300 ms"):
        await client.wait("late", queue="q", timeout=300)


async def test_an_answer_is_not_given_up_before_it_has_told_what_was_asked_for() -> None:
    """Otherwise a client that subscribes to one job after the other would get no answer, since each request begins a
    new one.
    """
    async with adapter() as node, answering() as (url, asked):
        client = await node.io(url, WebSocket=False)
        assert (await asked.receive()).requests == []
        await client.on("completed")
        await client.send("subscribe-job", {"jobId": "1", "queue": "q"})
        first = await asked.receive()
        await client.send("subscribe-job", {"jobId": "2", "queue": "q"})
        await time_passes(client)
        with pytest.raises(trio.WouldBlock):
            asked.receive_nowait()
        await first.acknowledge({"jobs": []}, outcome={"queue": "q", "jobId": "1", "returnvalue": 1})
        second = await asked.receive()
        # Subscriptions from which nothing is expected come last.
        assert [[item["jobId"] for item in each["data"]] for each in second.requests] == [["2", "1"]]
        assert second.requests[0]["data"][1]["after"] == {"q": "1-0"}
        assert (await client.until("completed"))[-1]["data"]["returnvalue"] == 1


async def test_where_there_is_no_websocket_none_is_tried() -> None:
    async with adapter() as node, answering() as (url, asked):
        client = await node.io(url, WebSocket=False, upgradeDelay=1)
        await asked.receive()
        await client.until("transport")
        await time_passes(client)
        assert node.uncaught == []
