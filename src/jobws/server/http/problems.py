"""The responses to HTTP requests that fail, as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from jobws.errors import JobwsError, MissingExtraError, RateLimitedError, RedisUnavailableError, RequestError
from jobws.protocol.http_resources import Problem

if TYPE_CHECKING:
    from starlette.requests import Request

_STATUS: Final = {
    "unauthenticated": 401,
    "bad-token": 401,
    "expired": 401,
    "forbidden": 403,
    "unknown-queue": 404,
    "unknown-job": 404,
    "not-found": 404,
    "bad-method": 405,
    "too-slow": 408,
    "locked": 409,
    "bad-state-for-action": 409,
    "gone": 410,
    "too-large": 413,
    "bad-content-type": 415,
    "rate-limited": 429,
    "internal": 500,
    "missing-extra": 501,
    "cannot-mint": 501,
    "unavailable": 503,
}
_HEADERS: Final = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": "10"}}
_OTHER_STATUS: Final = 400


def problem(code: str, detail: str, status: int | None = None) -> Response:
    """Return the response for an error.

    Args:
        code: An error code of protocol.md, or one that only HTTP has.
        detail: A sentence for people.
        status: The HTTP status. None means that it follows from the code.
    """
    status = status or _STATUS.get(code, _OTHER_STATUS)
    content = msgspec.json.encode(Problem("about:blank", code, status, code, detail))
    headers = _HEADERS.get(status)
    return Response(content, status, headers, media_type="application/problem+json")


def rate_limited(detail: str, seconds: float) -> Response:
    """Return the response for a client that sends too much. `seconds` is how long it must wait."""
    response = problem("rate-limited", detail)
    response.headers["retry-after"] = str(ceil(seconds))
    return response


async def answer_routing(request: Request, error: Exception) -> Response:
    """Answer a request to a path that does not exist, or with a method that the path does not serve.

    This is a handler of exceptions for Starlette.
    """
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = _methods(request)
        response = problem("bad-method", f"{request.method} is not served here; {' and '.join(allowed)} are")
        response.headers["allow"] = ", ".join(allowed)
        return response
    return problem("not-found", "nothing is served at this path")


def _methods(request: Request) -> list[str]:
    """Return the methods that the path serves (RFC 9110 §15.5.6). Starlette's `Allow` has those of one route only."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in route.methods or ()})


async def answer_error(_request: Request, error: Exception) -> Response:
    """Answer a request for which jobws raised one of its own errors. This is a handler of exceptions for Starlette."""
    match error:
        case RateLimitedError():
            return rate_limited(error.message, error.seconds)
        case RequestError():
            return problem(error.code, error.message)
        case RedisUnavailableError():
            return problem("unavailable", str(error))
        case MissingExtraError():
            return problem("missing-extra", str(error))
        case JobwsError() | _:
            return problem("internal", "the bridge failed to serve this request; its log says why")
