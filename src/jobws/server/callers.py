"""Finds out who sends each request, before any endpoint: verifies its token and puts the caller into the ASGI scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.routing import Match

from jobws.access.caller import ADDRESS, ANYONE, CALLER, Refused, Unauthenticated
from jobws.access.carrier import SUBPROTOCOL_PREFIX, find_token
from jobws.access.identity import Identity
from jobws.errors import TokenRefusedError
from jobws.server.guard import is_same_host
from jobws.server.http.problems import problem, rate_limited
from jobws.server.http.rights import unauthenticated
from jobws.server.settings import is_loopback
from jobws.server.websocket.admission import GUESSING
from jobws.server.websocket.rates import GUESS_COST, REQUEST_COST

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send

    from jobws.access.caller import Caller
    from jobws.server.authentication import Authentication
    from jobws.server.failed_auths import FailedAuths
    from jobws.server.websocket.rates import Pace

_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_PROTOCOLS: Final = b"sec-websocket-protocol"


class Callers:
    """ASGI middleware that sets `scope[CALLER]`, and answers 401 where a request needs a token and has no good one.

    A WebSocket is let through without a good token: it may send one later.

    Args:
        app: Serves the requests that are let through.
        authentication: Verifies the tokens.
        public: The routes that everyone may use. They ignore tokens, so a page with an old cookie can still load the
            adapter.
        optional: The routes that everyone may use, and that tell more to those with a token. A request with a refused
            token is served as one without.
        failed_auths: Counts the tokens that are refused. An address with too many gets 429 for further ones.
        pace: Has an address wait for refusals that it asks for too fast.
    """

    def __init__(
        self,
        app: ASGIApp,
        authentication: Authentication,
        public: Sequence[Route],
        optional: Sequence[Route],
        failed_auths: FailedAuths,
        pace: Pace,
    ) -> None:
        self._app = app
        self._authentication = authentication
        self._public = public
        self._optional = optional
        self._failed_auths = failed_auths
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] in ("http", "websocket") and not _is_for(self._public, scope):
            caller = await caller_of(scope, self._authentication)
            scope = {**without_token(scope), CALLER: caller}
            refusal = self._refusal(scope, caller)
            if refusal is not None:
                await self._pace.slow_down(refusal.payer, refusal.cost)
                await refusal.response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, caller: Caller) -> _Refusal | None:
        wait, address = 0.0, scope[ADDRESS]
        if isinstance(caller, Refused):
            wait = self._failed_auths.note(address, anyio.current_time(), caller.error)
        if isinstance(caller, Identity) or _is_for(self._optional, scope):
            return None
        if wait:
            # With a payer of their own, guesses do not slow down others with this address.
            return _Refusal(rate_limited(GUESSING.reason, wait), (GUESSING, address), GUESS_COST)
        # A WebSocket may send its token later, and a browser shows a page only the close code of a refusal.
        if scope["type"] == "websocket":
            return None
        error = unauthenticated(caller)
        return _Refusal(problem(error.code, error.message), address, REQUEST_COST)


class _Refusal(NamedTuple):
    """The answer to a refused request, who waits for it, and as how many messages it counts; see `Pace`."""

    response: Response
    payer: Hashable
    cost: int


def _is_for(routes: Sequence[Route], scope: Scope) -> bool:
    return scope["type"] == "http" and any(route.matches(scope)[0] is Match.FULL for route in routes)


async def caller_of(scope: Scope, authentication: Authentication) -> Caller:
    """Return who sent a request. `jobws.access.carrier.find_token` says where its token may be.

    If clients need no token, this is ANYONE. Otherwise it is what `authentication` returns: an identity, or
    Unauthenticated if nothing in the request says who sent it. If the token is refused, it is Refused.
    """
    if not authentication.required:
        return ANYONE
    headers = Headers(scope=scope)
    try:
        found = find_token(
            authorization=headers.getlist("authorization"),
            subprotocols=scope.get("subprotocols", ()),
            cookies=headers.getlist("cookie") if _takes_cookies(scope, headers) else (),
        )
        carried = None if found is None else found._replace(address=scope[ADDRESS])
        return await authentication.of_request(headers, carried) or Unauthenticated()
    except TokenRefusedError as error:
        # The traceback has the frame that will hold the result, so only the garbage collector would free the two.
        return Refused(error.with_traceback(None))


def _takes_cookies(scope: Scope, headers: Headers) -> bool:
    """Whether the cookie counts: a page of the bridge's own https host, or of loopback, sent the request.

    Browsers send cookies whatever page asks. They send no Origin with a GET of the same origin, but Sec-Fetch-Site,
    which pages cannot set.
    """
    if scope["type"] == "http" and scope["method"] in _SAFE_METHODS:
        return headers.get("sec-fetch-site") == "same-origin"
    origin = headers.get("origin", "")
    try:
        parts = urlsplit(origin)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    except ValueError:
        return False
    return is_safe and is_same_host(origin, headers.get("host", ""))


def without_token(scope: Scope) -> Scope:
    """Return a scope without the WebSocket subprotocol that holds a token, so that no response can name it."""
    offered: list[str] = scope.get("subprotocols", [])
    kept = [each for each in offered if not each.startswith(SUBPROTOCOL_PREFIX)]
    if len(kept) == len(offered):
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != _PROTOCOLS]
    if kept:
        headers.append((_PROTOCOLS, ", ".join(kept).encode("latin-1")))
    return {**scope, "subprotocols": kept, "headers": headers}
