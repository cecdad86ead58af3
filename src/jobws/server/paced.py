"""Limits the requests, handshakes and bytes of bodies of a holder of tokens, or an address: how many, and how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from jobws.access.caller import ADDRESS, CALLER, payer_of
from jobws.access.identity import Identity
from jobws.errors import RateLimitedError
from jobws.server.http.problems import rate_limited
from jobws.server.websocket.rates import BYTES_PER_MESSAGE, REQUEST_COST

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from jobws.server.websocket.rates import Rates


class Paced:
    """ASGI middleware that has those wait who send too fast, and answers 429 to those who send too much.

    Public routes have no caller, and no limit.

    Args:
        app: Serves the requests that are let through.
        rates: What each holder or address may send.
    """

    def __init__(self, app: ASGIApp, rates: Rates) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        payer = payer_of(scope[CALLER], scope[ADDRESS]) if CALLER in scope else None
        if payer is None:
            await self._app(scope, receive, send)
            return

        async def counted() -> Message:
            message = await receive()
            if body := message.get("body"):
                self._rates.post_bytes.charge(payer, len(body), anyio.current_time())
                await self._rates.pace.slow_down(payer, len(body) / BYTES_PER_MESSAGE)
            return message

        # A request without an identity is for a route that is open to everyone, such as `/readyz`.
        if scope["type"] == "websocket" or isinstance(scope[CALLER], Identity):
            await self._rates.pace.slow_down(payer, REQUEST_COST)
        try:
            self._rates.requests.charge(payer, 1, anyio.current_time())
        except RateLimitedError as error:
            await rate_limited(error.message, error.seconds)(scope, receive, send)
            return
        # A body that goes beyond the limit raises an error in the endpoint that reads it, which is answered as others.
        await self._app(scope, counted if scope["type"] == "http" else receive, send)
