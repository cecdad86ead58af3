"""The queue `sparql`: sends updates or queries to a SPARQL 1.1 endpoint (https://www.w3.org/TR/sparql11-protocol/)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from jobws.demo.job import JobError
from jobws.demo.loopback import Limits, Request, send
from jobws.errors import RequestError
from jobws.protocol.codec import decode_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.demo.job import JsonObject, Progress

_COUNT: Final = "SELECT (COUNT(*) AS ?triples) WHERE { ?s ?p ?o }"

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class SparqlSettings:
    """The endpoint, and the limits for a job.

    Attributes:
        endpoint: The URL. None means that every job has to name an endpoint.
        limits: The limits for a request; by default loopback addresses only.
    """

    endpoint: str | None = None
    limits: Limits = field(default_factory=Limits)


def process(data: Mapping[str, object], settings: SparqlSettings, progress: Progress) -> JsonObject:
    """Send `data["update"]` or `data["query"]`.

    Args:
        data: `{"update": text}` or `{"query": text}`. An `"endpoint"` in it is used instead of that of the settings.
        settings: The endpoint, and the limits for a request.
        progress: Called with percentages.

    Returns:
        For an update `{"endpoint", "status", "triplesBefore", "triplesAfter"}`, with counts of the default graph. The
        counts include the changes of other jobs that run at the same time. For a query `{"endpoint", "status",
        "results"}`, with the endpoint's JSON: SPARQL results for SELECT and ASK, JSON-LD for CONSTRUCT and DESCRIBE.

    Raises:
        JobError: The job has neither an update nor a query, or both; or there is no endpoint, or it does not answer
            with success. The message contains the endpoint's answer.
    """
    update, query = data.get("update"), data.get("query")
    endpoint = data.get("endpoint", settings.endpoint)
    if not isinstance(endpoint, str):
        raise JobError("no SPARQL endpoint: start the worker with --sparql URL, or give the job an `endpoint`")
    if isinstance(query, str) and update is None:
        status, results = _send(endpoint, "query", query, settings.limits)
        progress(100)
        return {"endpoint": endpoint, "status": status, "results": _json(endpoint, results)}
    if not isinstance(update, str) or query is not None:
        raise JobError('a job needs either an `update` or a `query`: {"update": "INSERT DATA { <a:s> <a:p> 1 }"}')
    before = _triples(endpoint, settings.limits)
    _log.info("%s holds %d triples", endpoint, before)
    progress(25)
    status, _ = _send(endpoint, "update", update, settings.limits)
    _log.info("the update was taken, with %d", status)
    progress(75)
    after = _triples(endpoint, settings.limits)
    progress(100)
    return {"endpoint": endpoint, "status": status, "triplesBefore": before, "triplesAfter": after}


def _send(endpoint: str, operation: str, text: str, limits: Limits) -> tuple[int, bytes]:
    """POST `text`, a `query` or an `update` (SPARQL 1.1 Protocol, 2.1.3 and 2.2.2). Return the status and the body."""
    headers = {"Content-Type": f"application/sparql-{operation}; charset=utf-8"}
    if operation == "query":
        headers["Accept"] = "application/sparql-results+json, application/ld+json;q=0.9"
    try:
        body = text.encode()
    except UnicodeEncodeError as error:
        raise JobError(f"the {operation} holds a lone surrogate, which no text may") from error
    with send(Request(endpoint, "POST", headers, body), limits) as response:
        answer, whole = response.read()
    if not 200 <= response.status < 300:
        said = answer[:500].decode(errors="replace").strip() or response.reason
        raise JobError(f"{endpoint} refused the {operation} with {response.status}: {said}")
    if not whole:
        raise JobError(f"{endpoint} answered with more than {limits.max_bytes} bytes; add a LIMIT to the query")
    return response.status, answer


def _triples(endpoint: str, limits: Limits) -> int:
    _, answer = _send(endpoint, "query", _COUNT, limits)
    try:
        return int(_json(endpoint, answer)["results"]["bindings"][0]["triples"]["value"])
    except (ValueError, LookupError, TypeError) as error:
        raise JobError(f"{endpoint} did not answer a query with SPARQL results in JSON") from error


def _json(endpoint: str, answer: bytes) -> Any:
    try:
        return decode_json(answer.decode())
    except (UnicodeDecodeError, RequestError) as error:
        raise JobError(f"{endpoint} did not answer with JSON") from error
