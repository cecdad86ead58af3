"""The adapter over HTTP, in Node, with a fake bridge that answers when a test wants."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.adapter import AdapterClient, Rejected, adapter
from tests.support.bridge import live_bridge
from tests.support.fake_bridge import HELLO
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.redis import Redis

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


async def test_a_token_that_is_refused_ends_it_with_the_sentence(redis: Redis) -> None:
    async with keyed_bridge(redis.url, queues=("http",)) as live, adapter() as node:
        client = await node.io(live.url, WebSocket=False, token="nonsense")
        await until_refused(client, 4501, "the token is not accepted; the bridge's log says why")


async def test_an_expired_token_is_followed_by_a_new_one(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    expired = jwt("read:jobs:http", seconds=-3600)
    tokens = {"gives": [expired, jwt("read:jobs:http")]}
    async with keyed_bridge(redis.url, queues=("http",)) as live, adapter() as node:
        client = await node.io(live.url, WebSocket=False, token=tokens)
        await client.until("transport")
        assert (await client.call("lookup", "1", {"queue": "http"}))[0]["state"] == "active"
        client = await node.io(live.url, WebSocket=False, token=expired)
        await until_refused(client, 4001, "the token has expired; get a new one")


async def test_a_host_that_is_refused_says_nothing_against_the_token(redis: Redis) -> None:
    """The answer is plain text."""
    async with live_bridge(redis.url, queues=("http",)) as live, adapter() as node:
        url = live.url.replace("127.0.0.1", "0.0.0.0")  # the same machine, by another name
        host = url.removeprefix("http://")
        client = await node.io(url, WebSocket=False)
        await until_refused(client, 1008, f"host {host} refused; allow it with --allow-host {host}")


async def until_refused(client: AdapterClient, code: int, sentence: str) -> None:
    """Wait until the bridge has refused the client for good. A look-up is refused with the same sentence."""
    error = (await client.until("connect_error"))[-1]["data"]
    assert (error["message"], error["code"]) == (f"the bridge refuses this client: {code} {sentence}", code)
    with pytest.raises(Rejected) as refused:
        await client.call("lookup", "1", {"queue": "http"})
    assert refused.value.error["message"] == sentence
