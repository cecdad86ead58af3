"""`GET /events`: jobs' events as a stream of server-sent events, for pages that have `EventSource`, and for curl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
from starlette.responses import Response

from jobws.errors import RequestError
from jobws.protocol.event_stream import EventStreamWriter, decode_position
from jobws.protocol.messages import ItemError, Subscribe
from jobws.protocol.requests import parse_request
from jobws.server.http_request import parameters, repeated
from jobws.server.listening import cancel_when_gone

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from jobws.server.listening import Listener
    from jobws.server.service import Service

# Proxies cut what is silent for a minute, some after 30 s.
KEEP_ALIVE_SECONDS: Final = 15.0
# After a gap the client has no position, and soon should.
DOUBT_SECONDS: Final = 1.0
# How long a browser waits before it comes back.
RETRY_MILLISECONDS: Final = 1000
# A client has `send_seconds`, 30 s, for each piece: that is the `slow_bytes_per_second` of a WebSocket.
PIECE_BYTES: Final = 128 * 1024
_HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would collect the events
}


class EventStreams:
    """The endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def events(self, request: Request) -> Response:
        """`GET /events?job=…&job=…&queue=…&events=…&until=end`."""
        asked = parameters(request, ("queue", "events", "until", "lastEventId"))
        data: dict[str, Any] = {"jobs": repeated(request, "job")}
        if not data["jobs"]:
            raise RequestError("bad-data", "`job`: expected ?job=, the id of a job, once or several times")
        data.update({key: asked[key] for key in ("queue", "until") if key in asked})
        if "events" in asked:
            data["events"] = asked["events"].split(",")
        # A browser that comes back asks for the same URL, so its header is the newer one.
        last = request.headers.get("last-event-id") or asked.get("lastEventId")
        if last:
            data["after"] = decode_position(last)
        service = self._service
        parsed = parse_request("subscribe-job", data, None, service.labels, service.settings.max_subscriptions)
        for item in parsed.items if isinstance(parsed, Subscribe) else ():
            if isinstance(item, ItemError):
                raise RequestError(item.code, item.message)
        return Response(headers=_HEADERS) if request.method == "HEAD" else _EventStream(service, data)


class _EventStream(Response):
    """The answer, which lasts until the client leaves, everything was told, or the bridge ends."""

    def __init__(self, service: Service, data: dict[str, Any]) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(_HEADERS)
        self._service = service
        self._data = data
        self._writer = EventStreamWriter(data.get("queue"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._service.listener() as listener:
            async with anyio.create_task_group() as tasks:
                # Also in the midst of a send, for the client takes nothing.
                listener.lost = tasks.cancel_scope.cancel
                tasks.start_soon(cancel_when_gone, receive, tasks.cancel_scope)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await _send(send, b"retry: %d\n" % RETRY_MILLISECONDS)
                listener.subscribe(self._data)
                await self._tell(listener, send)
                await send({"type": "http.response.body", "body": b""})
                tasks.cancel_scope.cancel()

    async def _tell(self, listener: Listener, send: Send) -> None:
        """Send what comes, until nothing can come any more."""
        connection = listener.connection
        live = False
        while True:
            with anyio.move_on_after(DOUBT_SECONDS if self._writer.doubtful else KEEP_ALIVE_SECONDS) as silence:
                await listener.wait()
            frames = listener.take()
            over = connection.closing is not None or not connection.rooms
            was_live, live = live, not connection.catching_up
            # What happened while it became live is behind all of these frames.
            if silence.cancelled_caught or (live and not was_live):
                listener.ping()
            blocks = [self._writer.block(frame, live=was_live) for frame in frames]
            if over:
                blocks += [self._writer.block(frame, live=True) for frame in listener.take()]
            await _send(send, b"".join(blocks))
            listener.written()
            if over:
                return


async def _send(send: Send, data: bytes) -> None:
    for start in range(0, len(data), PIECE_BYTES):
        piece = data[start : start + PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
