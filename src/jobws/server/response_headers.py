"""Adds headers to each HTTP answer, so that browsers do not run, frame or keep it, nor tell other sites its path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# An answer that needs another value has the header itself.
_HEADERS: Final = (
    # An answer is not a script or a page, whatever a worker wrote into a result.
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    # The path has a job's id.
    (b"referrer-policy", b"no-referrer"),
    # An answer is for one client and one moment.
    (b"cache-control", b"no-store"),
)


def with_headers(headers: Iterable[tuple[bytes, bytes]] = ()) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer, and those that each answer has, unless the answer has them itself."""
    own = list(headers)
    names = {name.lower() for name, _ in own}
    return [*own, *(header for header in _HEADERS if header[0] not in names)]


class ResponseHeaders:
    """ASGI middleware that adds headers to answers, also to those that refuse a WebSocket."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request, and add to its answer."""

        async def added(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message = {**message, "headers": with_headers(message.get("headers", ()))}
            await send(message)

        await self._app(scope, receive, added if scope["type"] in ("http", "websocket") else send)
