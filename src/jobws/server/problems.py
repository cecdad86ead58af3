"""What goes wrong with an HTTP request, as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from jobws.errors import JobwsError, MissingExtraError, RedisUnavailableError, RequestError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_STATUS: Final = {
    "unknown-queue": 404,
    "unknown-job": 404,
    "not-found": 404,
    "bad-method": 405,
    "too-large": 413,
    "bad-content-type": 415,
    "internal": 500,
    "missing-extra": 501,
    "unavailable": 503,
}
_OTHER_STATUS: Final = 400


def problem(code: str, detail: str) -> Response:
    """The response for an error code of protocol.md, or one of HTTP's own; `detail` is the sentence."""
    status = _STATUS.get(code, _OTHER_STATUS)
    content = {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail}
    return JSONResponse(content, status, media_type="application/problem+json")


def refuse_encoded_slash(request: Request) -> None:
    """The router decodes `%2F` and would read another job than the one that was named."""
    if b"%2f" in request.scope.get("raw_path", b"").lower():
        raise RequestError("bad-job-id", "a slash in an id or a queue needs the form /jobs?queue=…&jobId=…")


async def answer_routing(request: Request, error: Exception) -> Response:
    """Starlette's handler for paths and methods that do not exist."""
    try:
        refuse_encoded_slash(request)
    except RequestError as refusal:
        return problem(refusal.code, refusal.message)
    if isinstance(error, HTTPException) and error.status_code == 405:
        response = problem("bad-method", f"{request.method} is not served here")
        response.headers.update(error.headers or {})
        return response
    return problem("not-found", "nothing is served at this path")


async def answer_error(_request: Request, error: Exception) -> Response:
    """Starlette's handler for whatever jobws raises on purpose."""
    match error:
        case RequestError():
            return problem(error.code, error.message)
        case RedisUnavailableError():
            return problem("unavailable", str(error))
        case MissingExtraError():
            return problem("missing-extra", str(error))
        case JobwsError() | _:
            return problem("internal", "the bridge failed to serve this request; its log says why")
