"""The bridge's HTTP side: submit a job, ask for its state and result.

The standard library's HTTP client in a worker thread: one request now and then needs no more, and it brings TLS.
"""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import trio

from jobws.client.connection.token import authorization
from jobws.client.connection.urls import http_url
from jobws.errors import RefusedError, ResponseError, UnreachableError
from jobws.protocol.codec import decode_as
from jobws.protocol.http_resources import Problem, Submitted
from jobws.protocol.nesting import TOO_DEEP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    from jobws.client.frames import JsonObject

    Shape = TypeVar("Shape")

# Longer than the bridge waits for Redis to take a job.
TIMEOUT_SECONDS: Final = 30.0
_JSON: Final = "application/json"


async def submit(
    base: str,
    queue: str,
    data: object,
    *,
    name: str | None = None,
    job_id: str | None = None,
    opts: Mapping[str, object] | None = None,
    idempotency_key: str | None = None,
    token: str | None = None,
) -> Submitted:
    """Add a job to the queue with that label.

    Cancelling returns immediately; the job may be added all the same. With `job_id` or `idempotency_key` it is harmless
    to submit again.

    Args:
        base: The bridge's base URL.
        queue: The label.
        data: The job's data, anything that JSON can hold.
        name: The job's name; None: `job`.
        job_id: Its id; None: derived from `idempotency_key`, or else random.
        opts: BullMQ's options, as far as the bridge allows them (protocol.md, §9).
        idempotency_key: Requests with the same key make one job.
        token: What opens the bridge; None: nothing.

    Raises:
        UnreachableError: No bridge answers at that URL.
        RefusedError: The bridge refuses this client.
        ResponseError: It refuses this job; `code` and message say why.
    """
    fields = {"name": name, "jobId": job_id, "opts": opts}
    body = {"data": data, **{key: value for key, value in fields.items() if value is not None}}
    headers = authorization(token)
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    path = f"/jobs?{urlencode({'queue': queue})}"
    try:
        text = json.dumps(body, allow_nan=False)
    except RecursionError:  # far beyond what the bridge would refuse
        raise ResponseError("too-deep", TOO_DEEP) from None
    answer = await _request(base, "POST", path, text.encode(), headers)
    return _decode(base, answer, Submitted)


async def look_up(base: str, job_id: str, queue: str | None = None, *, token: str | None = None) -> list[JsonObject]:
    """Snapshots, with results, of the jobs of that id: one per queue that has it, or that of `queue`. Never empty.

    Raises:
        UnreachableError: No bridge answers at that URL.
        RefusedError: The bridge refuses this client.
        ResponseError: `unknown-job`, `unknown-queue`, `bad-job-id` or `unavailable`.
    """
    query = {"jobId": job_id} if queue is None else {"jobId": job_id, "queue": queue}
    path = f"/jobs?{urlencode(query, quote_via=quote)}"
    answer = await _request(base, "GET", path, headers=authorization(token))
    if queue is not None:
        return [_decode(base, answer, dict[str, object])]
    return _decode(base, answer, _Found).jobs


class _Found(msgspec.Struct):
    jobs: list[dict[str, object]]


def _decode(base: str, answer: bytes, shape: type[Shape]) -> Shape:
    try:
        return decode_as(answer, shape)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"no bridge at {base}: what answers is none ({error})") from None


async def _request(
    base: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    url = http_url(base, path)
    named = {**(headers or {}), **({} if body is None else {"Content-Type": _JSON})}
    try:
        answer = await trio.to_thread.run_sync(_exchange, url, method, body, named, abandon_on_cancel=True)
    # Not ASCII where HTTP or a host's name has to be, or a line feed in a header: nothing was sent.
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
    sentence = content.decode(errors="replace").strip()
    if status == 403 and sentence:
        raise RefusedError(f"the bridge at {base} refuses: {sentence}")
    raise UnreachableError(f"no bridge at {base}: what answers is none (status {status})")


def _exchange(url: str, method: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, body, dict(headers))
        response = connection.getresponse()
        content_type = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        return response.status, content_type, response.read()
    finally:
        connection.close()
