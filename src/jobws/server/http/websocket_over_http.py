"""`POST /events`: takes requests of the WebSocket in the body, and answers with its frames as server-sent events.

The response is a stream without an end, or with `?wait=` a long poll.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from jobws.errors import RequestError
from jobws.protocol.codec import decode_list
from jobws.protocol.server_sent_events import close_block, frame_block
from jobws.server.http import event_stream as streaming
from jobws.server.http.request import SUBJECT, body_text, parameters
from jobws.server.http.rights import examined, identity_of
from jobws.server.http.wait import parse_wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.hub.jobs.client import JobClient
    from jobws.protocol.codec import Frame
    from jobws.server.http.service import Service
    from jobws.server.websocket.in_process_client import InProcessClient

# Proxies give up after a minute, and the transfer takes time, too.
MAX_WAIT_SECONDS: Final = 55.0
# How soon a `pong` with positions follows the last answer and the last past event. Without this `pong`, a client that
# returns would have to ask for all events again. Positions are up to 0.3 s old (protocol.md P4).
POSITION_SECONDS: Final = 0.5
# By how much an outcome that must still be sent can prolong a long poll, and how often the poll checks whether it was
# sent.
OWED_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.1
# How the frames that do not end a long poll begin. All other frames end it.
_ANSWERS: Final = tuple(b'{"event":"%b",' % name for name in (b"hello", b"ack", b"error", b"pong"))


class FrameStreams:
    """The endpoint `POST /events`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def frames(self, request: Request) -> Response:
        """`POST /events`, a stream without an end, or `POST /events?wait=25`, a long poll."""
        settings = self._service.settings
        wait = parameters(request, ("wait",)).get("wait")
        seconds = None if wait is None else parse_wait(wait, min(MAX_WAIT_SECONDS, settings.max_wait_seconds))
        text = await body_text(request, self._service.body_limits)
        requests = list(decode_list(text, SUBJECT, settings.max_subscriptions, "requests"))
        limit = settings.max_message_bytes
        if any(len(each.encode(errors="surrogatepass")) > limit for each in requests):
            raise RequestError("too-large", f"a request may have {limit} bytes")
        await examined(request, self._service, partial(self._service.rehearse, requests))
        return streaming.EventStream(
            self._service,
            identity_of(request),
            _Frames(requests, seconds, self._service.intervals.keep_alive_seconds),
        )


class _Frames:
    """The conversation of one `POST /events`: the messages and frames that a WebSocket would carry.

    Args:
        requests: The client's messages, in order.
        seconds: How long a long poll waits for an event. None means that the response is a stream without an end.
        keep_alive_seconds: The time between two `pong` frames with positions.
    """

    def __init__(self, requests: Sequence[str], seconds: float | None, keep_alive_seconds: float) -> None:
        now = anyio.current_time()
        self._requests = requests
        self._keep_alive_seconds = keep_alive_seconds
        self._until = None if seconds is None else now + seconds
        self._pong_at = now + keep_alive_seconds
        self._asked = False
        self._caught_up = False
        self._has_news = False
        self._wait_until: float | None = None

    async def ask(self, client: InProcessClient) -> None:
        """Pass the requests to the hub, one by one, at the rate that is allowed on a WebSocket."""
        client.greet()
        pause = 0.0
        for request in self._requests:
            await anyio.sleep(pause)
            pause = await client.serve_in_steps(request)
        # This is set in the same step as the last request, whose answer wakes the sender.
        self._asked = True

    def patience(self) -> float:
        """Return the seconds until `step` must be called even if no frame comes.

        It is called when a `pong` is due, and when the time of a long poll is over. While a long poll stays open only
        because an outcome must still be sent, it is called every LOOK_SECONDS.
        """
        now = anyio.current_time()
        if self._wait_until is not None:
            return LOOK_SECONDS
        if self._until is None or self._until <= now:
            return self._pong_at - now
        return min(self._pong_at, self._until) - now

    def step(self, client: InProcessClient) -> tuple[bytes, bool]:
        """Return the new frames, written as server-sent events, and whether the response ends after them.

        A long poll ends with a `pong`. If the connection was closed, the last event is `close` with the reason.
        """
        hub_client, now = client.hub_client, anyio.current_time()
        frames = client.take()
        if self._asked and not self._caught_up and not hub_client.catching_up:
            self._caught_up = True
            self._pong_at = min(self._pong_at, now + POSITION_SECONDS)
        self._has_news = self._has_news or any(map(_is_news, frames))
        over = self._is_over(hub_client, now)
        if over:
            client.written()  # otherwise the pong might not fit after the frames that were taken
            client.ping()
            frames += client.take()
            hub_client.end_all()  # events from now on belong to the next poll
        elif now >= self._pong_at:
            client.ping()
            self._pong_at = now + self._keep_alive_seconds
        closing = hub_client.closing
        blocks = [frame_block(frame) for frame in frames]
        if closing is not None:
            blocks.append(close_block(closing.code, closing.reason))
        return b"".join(blocks), over or closing is not None

    def _is_over(self, hub_client: JobClient, now: float) -> bool:
        """Whether a long poll ends now: it has an event, no subscription is left, or its time is over.

        `now` is the time on anyio's clock.

        It does not end while requests are being served or past events are being read. It lasts up to OWED_SECONDS
        longer while an outcome must still be sent.
        """
        if self._until is None or not self._asked or hub_client.catching_up:
            return False
        if not (self._has_news or not hub_client.keys or now >= self._until):
            return False
        if hub_client.awaits_missed_outcomes and self._wait_until is None:
            self._wait_until = now + OWED_SECONDS
        return not hub_client.awaits_missed_outcomes or self._wait_until is None or now >= self._wait_until


def _is_news(frame: Frame) -> bool:
    return not frame.payload.startswith(_ANSWERS)
