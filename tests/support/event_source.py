"""A client of server-sent events that parses them as a browser does (WHATWG HTML, §9.2.6), one event at a time."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import anyio
import h11

from tests.support import EVENTUALLY_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from anyio.abc import SocketStream


class Event(NamedTuple):
    """An event. `id` is the last id that was seen, and `moves` says whether this event has it."""

    event: str
    data: Any
    id: str
    moves: bool


class Parser:
    """Turns the bytes of a stream into events.

    Attributes:
        last_id: What a browser would send as `Last-Event-ID`.
        retry: The last value of `retry` in milliseconds; None if there was none.
        blocks: How many blocks of lines have ended, with or without an event.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self.blocks = 0
        self._text = b""
        self._id = ""
        self._fields: dict[str, list[str]] = {}

    def feed(self, data: bytes) -> list[Event]:
        # A CR at the end of `data` may be the first half of CR LF.
        self._text += data
        found = []
        while (line := self._line()) is not None:
            event = self._take(line.decode())
            if event is not None:
                found.append(event)
        return found

    def _line(self) -> bytes | None:
        ends = [index for index in map(self._text.find, (b"\r", b"\n")) if index >= 0]
        if not ends or (end := min(ends)) == len(self._text) - 1 == self._text.find(b"\r"):
            return None
        after = end + 2 if self._text[end : end + 2] == b"\r\n" else end + 1
        line, self._text = self._text[:end], self._text[after:]
        return line

    def _take(self, line: str) -> Event | None:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id" and "\0" not in value:
                self._id = value
            elif name == "retry" and value.isdigit():
                self.retry = int(value)
            self._fields.setdefault(name, []).append(value)
            return None
        self.blocks += 1
        fields, self._fields = self._fields, {}
        self.last_id = self._id
        data = "\n".join(fields.get("data", ()))
        if not data:
            return None
        return Event(fields.get("event", ["message"])[-1], json.loads(data), self.last_id, "id" in fields)


def cursor_of(position: str) -> dict[str, str]:
    """Return what an `id` means: for each queue, the position up to which events were sent."""
    cursor: dict[str, str] = json.loads(urlsafe_b64decode(position + "=" * (-len(position) % 4)))
    return cursor


class EventSource:
    """A request, and the events of its response."""

    def __init__(self, stream: SocketStream) -> None:
        self.parser = Parser()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._events: list[Event] = []

    async def ask(self, target: str, headers: Mapping[str, str], method: str = "GET", body: bytes = b"") -> None:
        named = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
        events = [h11.Request(method=method, target=target, headers=list(named.items())), h11.Data(data=body)]
        await self._stream.send(b"".join(self._http.send(event) or b"" for event in [*events, h11.EndOfMessage()]))
        answer = await self._next()
        assert isinstance(answer, h11.Response), answer
        self.status = answer.status_code
        self.headers = {name.decode(): value.decode() for name, value in answer.headers}

    async def receive(self) -> Event:
        """Return the next event. Fail if none comes within 60 s.

        Raises:
            anyio.EndOfStream: The response is complete.
        """
        while not self._events:
            self._events = self.parser.feed(await self.bytes())
        return self._events.pop(0)

    async def frame(self) -> dict[str, Any]:
        """Return the next frame. In the response to `POST /events`, each event is a frame."""
        event = await self.receive()
        assert event.event == "message", event
        frame: dict[str, Any] = event.data
        return frame

    async def until(self, event: str, **data: object) -> list[Event]:
        """Return the events up to and including the first one of this name whose data contains `data`."""
        events = [await self.receive()]
        while not (events[-1].event == event and data.items() <= events[-1].data.items()):
            events.append(await self.receive())
        return events

    async def rest(self) -> list[Event]:
        """Return all events up to the end of the response."""
        events = []
        while True:
            try:
                events.append(await self.receive())
            except anyio.EndOfStream:
                return events

    async def position(self) -> dict[str, str]:
        """Read one more block, whatever is in it, and return the position after it. Events are kept for `receive`."""
        blocks = self.parser.blocks
        while self.parser.blocks == blocks:
            self._events += self.parser.feed(await self.bytes())
        return cursor_of(self.parser.last_id)

    async def bytes(self) -> bytes:
        """Return the next bytes of the body.

        Raises:
            anyio.EndOfStream: The response is complete.
        """
        event = await self._next()
        if isinstance(event, h11.EndOfMessage):
            raise anyio.EndOfStream
        assert isinstance(event, h11.Data), event
        return bytes(event.data)

    async def _next(self) -> object:
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while (event := self._http.next_event()) is h11.NEED_DATA:
                try:
                    data = await self._stream.receive(65536)
                except anyio.EndOfStream:
                    data = b""
                self._http.receive_data(data)
            return event


@asynccontextmanager
async def event_source(
    url: str,
    jobs: str | Sequence[str] = (),
    *,
    path: str = "/events",
    headers: Mapping[str, str] | None = None,
    **query: str,
) -> AsyncIterator[EventSource]:
    """Send `GET /events` to the bridge with this base URL. The end of the context cuts the connection."""
    parts = urlsplit(url)
    named = [("job", job_id) for job_id in ((jobs,) if isinstance(jobs, str) else jobs)]
    async with await anyio.connect_tcp(parts.hostname or "", parts.port or 0) as stream:
        source = EventSource(stream)
        await source.ask(f"{parts.path}{path}?{urlencode([*named, *query.items()])}", headers or {})
        yield source


@asynccontextmanager
async def frame_source(
    url: str, requests: object, *, headers: Mapping[str, str] | None = None, **query: str
) -> AsyncIterator[EventSource]:
    """Send `POST /events` with `requests` as JSON in the body. If they are bytes, send them as they are."""
    parts = urlsplit(url)
    body = requests if isinstance(requests, bytes) else json.dumps(requests).encode()
    async with await anyio.connect_tcp(parts.hostname or "", parts.port or 0) as stream:
        source = EventSource(stream)
        named = {"Content-Type": "application/json", **(headers or {})}
        await source.ask(f"{parts.path}/events?{urlencode(query)}", named, "POST", body)
        yield source


async def poll(url: str, requests: object, wait: str = "0", **headers: str) -> list[dict[str, Any]]:
    """Return the frames of `POST /events?wait=`, whose answer must be complete."""
    async with frame_source(url, requests, headers=headers, wait=wait) as source:
        assert source.status == 200
        events = await source.rest()
    assert {event.event for event in events} == {"message"}, events
    return [event.data for event in events]
