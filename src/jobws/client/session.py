"""A conversation with the bridge: requests with their answers, and job events as they come."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Self

import msgspec
from msgspec import Struct

from jobws.client.transport import Transport, open_transport
from jobws.errors import ResponseError, UnreachableError
from jobws.protocol.codec import decode_as

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

JsonObject = dict[str, object]


class Event(Struct, frozen=True):
    """A frame of the bridge: a job event, or what answers a request.

    `id` is the Redis stream id of a job event. `data` is BullMQ's payload plus `queue`.
    """

    event: str
    data: JsonObject = {}
    id: str | None = None
    ref: str | int | None = None


def _decode(text: str) -> Event:
    try:
        return decode_as(text, Event)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"what answers does not speak jobws.v1: {error}") from None


class Client:
    """One connection to a bridge. Use it from one task at a time; make one with `connect`.

    Attributes:
        hello: The bridge's first frame: its version, limits and queues.
    """

    def __init__(self, transport: Transport, hello: JsonObject) -> None:
        self.hello = hello
        self._transport = transport
        self._refs = count(1)
        self._waiting: list[Event] = []

    async def subscribe(
        self,
        job_ids: Sequence[str],
        queue: str | None = None,
        events: Collection[str] | None = None,
    ) -> list[JsonObject]:
        """Subscribe to jobs; their events then come out of the iteration.

        Args:
            job_ids: The jobs.
            queue: The label of their queue; None: any queue that has such a job.
            events: Names of events, `*` for all; None: `completed`, `failed` and `removed`.

        Returns:
            Per job `{"jobs": [snapshot, …]}` (empty: no such job yet) or `{"error": {"code", "message"}}`.

        Raises:
            ResponseError: The bridge refused the request as a whole.
            ConnectionLostError: The connection ended.
        """
        data: JsonObject = {"jobs": list(job_ids)}
        if queue is not None:
            data["queue"] = queue
        if events is not None:
            data["events"] = list(events)
        answer = await self.request("subscribe-job", data)
        return msgspec.convert(answer.get("results"), list[JsonObject])

    async def request(self, event: str, data: object = None) -> JsonObject:
        """Send one request and return the `data` of its ack. Cancelling leaves the connection usable.

        Raises:
            ResponseError: The bridge answered with `error`.
            ConnectionLostError: The connection ended.
        """
        ref = next(self._refs)
        await self._transport.send(msgspec.json.encode({"event": event, "data": data, "ref": ref}).decode())
        while True:
            frame = _decode(await self._transport.receive())
            if frame.ref != ref:
                self._waiting.append(frame)
            elif frame.event == "error":
                raise ResponseError(str(frame.data.get("code")), str(frame.data.get("message")))
            else:
                return frame.data

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next job event, in the bridge's order. Raises ConnectionLostError when the connection has ended."""
        while True:
            frame = self._waiting.pop(0) if self._waiting else _decode(await self._transport.receive())
            if frame.ref is None and frame.event != "error":
                return frame


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Client]:
    """A client of the bridge whose base URL is `url`. Runs on trio.

    Raises:
        UnreachableError: Nothing there speaks jobws.v1.
        RefusedError: The bridge refuses this client.
    """
    async with open_transport(url) as transport:
        hello = _decode(await transport.receive())
        if hello.event != "hello":
            raise UnreachableError(f"what answers at {url} does not speak jobws.v1")
        yield Client(transport, hello.data)
