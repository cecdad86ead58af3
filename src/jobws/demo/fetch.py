"""The queue `http`: fetches a URL and reports the answer."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from jobws.demo.job import JobError
from jobws.demo.loopback import Limits, Request, send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.demo.job import JsonObject, Progress

_METHODS: Final = ("GET", "HEAD")

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchSettings:
    """The limits for a job: by default loopback addresses, 15 s and 8 MiB."""

    limits: Limits = field(default_factory=Limits)


def process(data: Mapping[str, object], settings: FetchSettings, progress: Progress) -> JsonObject:
    """Fetch `data["url"]`.

    Args:
        data: `{"url": text, "method"?: "GET" | "HEAD"}`.
        settings: The limits for the request.
        progress: Called with percentages: 50 after the headers, 100 at the end.

    Returns:
        `{"url", "redirects", "status", "reason", "headers": {name: value}, "bytes", "truncated", "headersMilliseconds",
        "totalMilliseconds"}`. `url` is the URL after all redirects. Names of headers are in lower case, and repeated
        headers are joined by a comma. `bytes` is how many bytes of the body were read: all of them, unless `truncated`.
        Any status is a result.

    Raises:
        JobError: The URL is malformed, leads to a forbidden address, or gets no answer in time.
    """
    url, method = data.get("url"), data.get("method", "GET")
    if not isinstance(url, str):
        raise JobError('`url` must be a string: {"url": "http://127.0.0.1:8787/healthz"}')
    if method not in _METHODS:
        raise JobError(f"`method` must be {' or '.join(_METHODS)}")
    began = time.monotonic()
    with send(Request(url, str(method)), settings.limits) as response:
        answered = time.monotonic()
        _log.info("%s answered %d", response.url, response.status)
        progress(50)
        body, whole = response.read()
        ended = time.monotonic()
    progress(100)
    headers: dict[str, object] = {}
    for name, value in response.headers:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return {
        "url": response.url,
        "redirects": response.redirects,
        "status": response.status,
        "reason": response.reason,
        "headers": headers,
        "bytes": len(body),
        "truncated": not whole,
        "headersMilliseconds": round((answered - began) * 1000, 1),
        "totalMilliseconds": round((ended - began) * 1000, 1),
    }
