"""`POST /events`: the WebSocket's requests in a body, and its frames as server-sent events, lasting or polled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from jobws.errors import RequestError
from jobws.protocol.codec import decode_list
from jobws.protocol.server_sent_events import close_block, frame_block
from jobws.server.http import event_stream as streaming
from jobws.server.http.request import SUBJECT, body_text, parameters
from jobws.server.http.wait import parse_wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.hub.jobs.client import JobClient
    from jobws.protocol.codec import Frame
    from jobws.server.http.service import Service
    from jobws.server.websocket.in_process_client import InProcessClient

# Proxies give up after a minute, and the way takes time, too.
MAX_WAIT_SECONDS: Final = 55.0
# So long after everything that was asked for a position follows, without which the client would have to ask for all of
# it again. Positions lag behind by up to 0.3 s (rule M5).
POSITION_SECONDS: Final = 0.5
# How long an answer goes on for an outcome that is owed, and how soon to look again whether it is.
OWED_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.1
# What answers the client, or itself asks for nothing. Everything else is news.
_ANSWERS: Final = tuple(b'{"event":"%b",' % name for name in (b"hello", b"ack", b"error", b"pong"))


class FrameStreams:
    """The endpoint `POST /events`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def frames(self, request: Request) -> Response:
        """`POST /events`, a stream, and `POST /events?wait=25`, an answer that ends."""
        settings = self._service.settings
        wait = parameters(request, ("wait",)).get("wait")
        seconds = None if wait is None else parse_wait(wait, min(MAX_WAIT_SECONDS, settings.max_wait_seconds))
        text = await body_text(request, self._service.body_limits)
        requests = decode_list(text, SUBJECT, settings.max_subscriptions, "requests")
        limit = settings.max_message_bytes
        if any(len(each.encode(errors="surrogatepass")) > limit for each in requests):
            raise RequestError("too-large", f"a request may have {limit} bytes")
        return streaming.EventStream(
            self._service, _Frames(requests, seconds, self._service.intervals.keep_alive_seconds)
        )


class _Frames:
    """What a WebSocket would carry (see `streaming.Conversation`).

    Args:
        requests: The client's messages, in order.
        seconds: How long to wait for news; None: go on for ever.
        keep_alive_seconds: Between two positions.
    """

    def __init__(self, requests: Sequence[str], seconds: float | None, keep_alive_seconds: float) -> None:
        now = anyio.current_time()
        self._requests = requests
        self._keep_alive_seconds = keep_alive_seconds
        self._until = None if seconds is None else now + seconds
        self._pong_at = now + keep_alive_seconds
        self._asked = False
        self._caught_up = False
        self._told = False
        self._owed_until: float | None = None

    async def ask(self, listener: InProcessClient) -> None:
        """Put the requests, no faster than a WebSocket's are read."""
        listener.greet()
        pause = 0.0
        for request in self._requests:
            await anyio.sleep(pause)
            pause = listener.received(request)
        # In the same step as the last one, whose answer wakes who waits.
        self._asked = True

    def patience(self) -> float:
        """Seconds to the next `pong`, or to the end of the wait."""
        now = anyio.current_time()
        if self._owed_until is not None:
            return LOOK_SECONDS
        if self._until is None or self._until <= now:
            return self._pong_at - now
        return min(self._pong_at, self._until) - now

    def step(self, listener: InProcessClient) -> tuple[bytes, bool]:
        """The frames that came; after the last of them a `pong`, or why the connection ends."""
        connection, now = listener.connection, anyio.current_time()
        frames = listener.take()
        if self._asked and not self._caught_up and not connection.catching_up:
            self._caught_up = True
            self._pong_at = min(self._pong_at, now + POSITION_SECONDS)
        self._told = self._told or any(map(_is_news, frames))
        over = self._is_over(connection, now)
        if over:
            listener.written()  # else the pong might not fit after what was taken
            listener.ping()
            frames += listener.take()
            connection.leave_all()  # what happens while this is being sent is the next answer's
        elif now >= self._pong_at:
            listener.ping()
            self._pong_at = now + self._keep_alive_seconds
        closing = connection.closing
        blocks = [frame_block(frame) for frame in frames]
        if closing is not None:
            blocks.append(close_block(closing.code, closing.reason))
        return b"".join(blocks), over or closing is not None

    def _is_over(self, connection: JobClient, now: float) -> bool:
        """Whether the wait has come to its end."""
        if self._until is None or not self._asked or connection.catching_up:
            return False
        if not (self._told or not connection.rooms or now >= self._until):
            return False
        if connection.is_owed and self._owed_until is None:
            self._owed_until = now + OWED_SECONDS
        return not connection.is_owed or self._owed_until is None or now >= self._owed_until


def _is_news(frame: Frame) -> bool:
    return not frame.payload.startswith(_ANSWERS)
