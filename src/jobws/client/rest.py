"""The client's HTTP requests: submits jobs, and looks up their states and results.

It runs the standard library's HTTP client in a worker thread, which is enough for few requests and supports TLS.
"""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import trio

from jobws.client.connection.transport import EMPTY
from jobws.client.connection.urls import url_below
from jobws.errors import RefusedError, ResponseError, UnreachableError
from jobws.protocol.codec import decode_as
from jobws.protocol.http_resources import Acted, Problem, Submitted
from jobws.protocol.nesting import TOO_DEEP, is_value_too_deep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    from jobws.client.frames import JsonObject
    from jobws.protocol.http_resources import ActionName

    Shape = TypeVar("Shape")

# How long the bridge may be silent during a request. This is longer than the bridge waits for Redis to add a job.
TIMEOUT_SECONDS: Final = 30.0
_JSON: Final = "application/json"


async def submit(
    base: str,
    queue: str,
    data: object,
    headers: Mapping[str, str] = EMPTY,
    *,
    name: str | None = None,
    job_id: str | None = None,
    opts: Mapping[str, object] | None = None,
    idempotency_key: str | None = None,
    with_token: bool = False,
) -> Submitted:
    """Add a job as `Client.submit` does. `headers` has our token. `with_token` asks for a token to read the job."""
    options = {"name": name, "jobId": job_id, "opts": opts}
    job = {"data": data, **{key: value for key, value in options.items() if value is not None}}
    if is_value_too_deep(job):
        raise ResponseError("too-deep", TOO_DEEP)
    text = json.dumps(job, allow_nan=False)
    key = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    query: dict[str, str | bool | None] = {"queue": queue, "withToken": with_token}
    return _decode(base, await _request(base, "/jobs", query, {**headers, **key}, text.encode()), Submitted)


async def look_up(
    base: str, job_id: str, queue: str | None, headers: Mapping[str, str], *, event: str | None, children: bool
) -> list[JsonObject]:
    """Look up as `Client.lookup`, but raise ResponseError `unknown-job` in place of []. `headers` has our token."""
    query = {"jobId": job_id, "queue": queue, "event": event, "children": children}
    answer = await _request(base, "/jobs", query, headers)
    return _decode(base, answer, _Found).jobs if queue is None else [_decode(base, answer, dict[str, object])]


async def act(
    base: str, action: ActionName, queue: str, job_id: str | None, headers: Mapping[str, str], *, children: bool = False
) -> Acted:
    """Act on a job or a queue as `Client.act` does. `headers` has our token."""
    query = {"action": action, "queue": queue, "jobId": job_id, "children": children}
    return _decode(base, await _request(base, "/actions", query, headers, b""), Acted)


class _Found(msgspec.Struct):
    jobs: list[dict[str, object]]


def _decode(base: str, answer: bytes, shape: type[Shape]) -> Shape:
    try:
        return decode_as(answer, shape)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"no bridge at {base}: what answers is none ({error})") from None


async def _request(
    base: str, path: str, query: Mapping[str, str | bool | None], headers: Mapping[str, str], body: bytes | None = None
) -> bytes:
    """Return the answer to a GET, or with `body` to a POST. In the query, True is sent as 1; None and False are not."""
    asked = {key: "1" if value is True else value for key, value in query.items() if value not in (None, False)}
    url = url_below(base, "http", f"{path}?{urlencode(asked, quote_via=quote)}")
    try:
        answer = await trio.to_thread.run_sync(_exchange, url, body, headers, abandon_on_cancel=True)
    # ValueError: a header or the host's name is not ASCII, or a header contains a line feed. Nothing was sent.
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(f"no bridge at {base}: {str(error) or type(error).__name__}") from None
    status, content_type, content = answer
    if status < 300 and content_type == _JSON:
        return content
    if content_type == "application/problem+json":
        problem = _decode(base, content, Problem)
        if problem.code == "not-found":
            raise UnreachableError(f"no bridge at {base}: there is one, but below another path")
        if status in (401, 403):
            raise RefusedError(f"the bridge at {base} refuses: {problem.detail}")
        raise ResponseError(problem.code, problem.detail)
    if status == 403 and (sentence := content.decode(errors="replace").strip()):
        raise RefusedError(f"the bridge at {base} refuses: {sentence}")
    raise UnreachableError(f"no bridge at {base}: what answers is none (status {status})")


def _exchange(url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        method, content_type = ("GET", {}) if body is None else ("POST", {"Content-Type": _JSON})
        connection.request(method, f"{parts.path}?{parts.query}", body, {**headers, **content_type})
        response = connection.getresponse()
        answered = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        return response.status, answered, response.read()
    finally:
        connection.close()
