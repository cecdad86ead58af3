"""Reads the path, the query and the body of HTTP requests strictly, and makes JSON responses.

Servers and frameworks decode leniently: `%2F` becomes a separator and `%FF` the replacement character. The result could
be the id of another job.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

import anyio
import anyio.lowlevel
import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from jobws.errors import RequestError
from jobws.protocol.codec import LENIENT_CHARACTERS, bad_json, decode_json
from jobws.protocol.nesting import MAX_BODY_MARKS, check_levels, check_marks
from jobws.server.http.problems import problem
from jobws.turn import Turn

# The subject of error messages about the body.
SUBJECT = "the body"
JSON = "application/json"

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import TypeVar

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    Shape = TypeVar("Shape")


class BodyLimits(NamedTuple):
    """How many bytes a body may have, and how many seconds its transfer may take."""

    bytes: int
    seconds: float


class ExactPaths:
    """ASGI middleware that answers 400 to a path with a `%2F`, or with bytes that are not valid UTF-8."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 400."""
        if scope["type"] == "http":
            try:
                _check_path(scope.get("raw_path", b""))
            except RequestError as error:
                await problem(error.code, error.message)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _check_path(raw: bytes) -> None:
    if b"%2f" in raw.lower():
        raise RequestError(
            "bad-path", "a slash in a job id or a queue needs a form with ?queue=…, such as /jobs?queue=…&jobId=…"
        )
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise RequestError("bad-path", "the path must be UTF-8, percent-encoded") from None


def parameters(request: Request, known: Collection[str]) -> dict[str, str]:
    """Return the parameters of the query whose names are in `known`. Others are ignored.

    Raises:
        RequestError: `bad-data`: a known parameter was given twice, or the query is not valid UTF-8.
    """
    found: dict[str, str] = {}
    for name, value in _query(request):
        if name in found and name in known:
            raise RequestError("bad-data", f"`{name}` was given twice")
        found[name] = value
    return {name: value for name, value in found.items() if name in known}


def repeated(request: Request, name: str) -> list[str]:
    """Return all values of a parameter that may be given several times.

    Raises:
        RequestError: `bad-data`: the query is not valid UTF-8.
    """
    return [value for each, value in _query(request) if each == name]


def _query(request: Request) -> list[tuple[str, str]]:
    try:
        return parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise RequestError("bad-data", "the query must be UTF-8, percent-encoded") from None


async def json_body(request: Request, limits: BodyLimits, shape: type[Shape], large: type[Shape]) -> Shape:
    """Return the JSON value of the body as a `shape`.

    A body of more than LENIENT_CHARACTERS is read as `large`, a type like `shape` with `msgspec.Raw` where values are
    checked, but not built. With MAX_BODY_MARKS, lists `[],[],…` take 0.5 ms to check and 12 ms to build, and deep ones
    1.2 and 60 ms, while no other task runs (2026-11-29).

    Raises:
        RequestError: `bad-json` or `too-deep`; `bad-data`, whose message names the field that is wrong; or an error of
            `body_text`.
    """
    text = await body_text(request, limits)
    if len(text) <= LENIENT_CHARACTERS:
        return _shaped(msgspec.convert, decode_json(text, SUBJECT), shape)
    check_levels(text)
    await anyio.lowlevel.checkpoint()
    try:
        return _shaped(msgspec.json.decode, text, large)
    except msgspec.DecodeError as error:
        raise bad_json(text, SUBJECT, error) from None


def content_type(request: Request) -> str:
    """Return the content type of the body, in lower case and without parameters; "" if the request names none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body_text(request: Request, limits: BodyLimits, types: Sequence[str] = (JSON,)) -> str:
    """Return the body as text. The text is not parsed.

    Args:
        request: The request.
        limits: The limits of the body.
        types: The content types that are accepted. They must not be types that a form of a foreign page can send.

    Raises:
        RequestError: `bad-content-type`, `too-large`, `too-slow`, `too-many`, or `bad-json`: the body is cut or not
            valid UTF-8.
    """
    if content_type(request) not in types:
        raise RequestError("bad-content-type", f"the body must have the content type {' or '.join(types)}")
    body = bytearray()
    try:
        with anyio.fail_after(limits.seconds):
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > limits.bytes:
                        raise RequestError("too-large", f"the body may have {limits.bytes} bytes")
    except TimeoutError:
        raise RequestError("too-slow", f"the body must come within {limits.seconds:g} s") from None
    except ClientDisconnect:
        raise RequestError("bad-json", "the body ended before its length") from None
    await anyio.lowlevel.checkpoint()  # to take the body may have taken a millisecond
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise RequestError("bad-json", "the body must be JSON in UTF-8") from None
    if content_type(request) == JSON and len(text) > MAX_BODY_MARKS:
        turn = Turn()
        for _ in check_marks(text, MAX_BODY_MARKS, SUBJECT):
            await turn.pause()
        await anyio.lowlevel.checkpoint()
    return text


def _shaped(read: Callable[..., Any], source: object, shape: type[Shape]) -> Shape:
    """Return what msgspec's function `read` makes of `source`, or raise RequestError if it has another shape."""
    try:
        value: Shape = read(source, type=shape)
    except UnicodeEncodeError:
        raise RequestError("bad-data", "the body: a key holds a lone surrogate, which is no Unicode text") from None
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        field = place.rstrip("`").lstrip(".")
        raise RequestError("bad-data", f"`{field}`: {reason}" if field else f"the body: {reason}") from None
    return value


def json_answer(content: object, status: int = 200) -> Response:
    """Return a response with `content` as JSON. Structs are encoded, too."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")
