"""`/openapi.json`: describes the HTTP interface for tools. It is made from the Structs of requests and answers."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import msgspec

from jobws.bullmq.listing import STATES
from jobws.protocol.http_resources import (
    JobLogs,
    JobPage,
    Jobs,
    LogsAccepted,
    NewJob,
    Problem,
    QueueList,
    Readiness,
    Results,
    Submitted,
)
from jobws.protocol.identifiers import KEY_SUFFIXES, MAX_JOB_ID_BYTES, MAX_SAFE_INTEGER
from jobws.protocol.messages import NAMED_QUEUES, JobSnapshot
from jobws.server.http.append_log import LOG_RECORDS, NDJSON
from jobws.server.http.job_log import DEFAULT_LINES, MAX_LINES
from jobws.server.http.queues import DEFAULT_LIMIT, MAX_LIMIT
from jobws.server.http.request import json_answer
from jobws.server.http.websocket_over_http import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

JsonObject = dict[str, Any]

_ID: Final[JsonObject] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_JOB_ID_BYTES,
    "not": {"enum": sorted(KEY_SUFFIXES)},
    "description": f"At most {MAX_JOB_ID_BYTES} bytes of UTF-8, and none of BullMQ's own keys.",
}
_LABEL: Final[JsonObject] = {"type": "string", "description": "A queue's label; `/queues` lists them."}
# A parameter in the path must not contain a slash.
_SEGMENT: Final[JsonObject] = {"minLength": 1, "pattern": "^[^/]+$"}
_ANY_JSON: Final[JsonObject] = {}
_ID_JSON: Final[JsonObject] = {
    "anyOf": [_ID, {"type": "integer", "minimum": -MAX_SAFE_INTEGER, "maximum": MAX_SAFE_INTEGER}]
}
_ROOM: Final[JsonObject] = {
    "anyOf": [
        _ID_JSON,
        {
            "type": "object",
            "properties": {"jobId": _ID_JSON, "queue": {"anyOf": [_LABEL, {"type": "null"}]}},
            "required": ["jobId"],
            # An object with `jobs` is a list of rooms.
            "not": {"required": ["jobs"]},
        },
    ]
}
# Items are not described: an invalid item, or its unknown queue, is an error in its place, with status 200.
_LIST: Final[JsonObject] = {"type": "array", "description": "Job ids, or objects with `jobId` and `queue`."}
_ROOMS: Final[JsonObject] = {
    "anyOf": [
        _ROOM,
        _LIST,
        {
            "type": "object",
            "properties": {"jobs": _LIST, "queue": {"description": "The label of those that name none."}},
            "required": ["jobs"],
        },
    ]
}
_REQUESTS: Final[JsonObject] = {
    "type": "array",
    "description": "Requests as on the WebSocket. What is wrong with one is told by an `error` frame.",
    "items": {
        "type": "object",
        "properties": {"event": {"type": "string"}, "data": _ANY_JSON, "ref": {"type": ["string", "integer", "null"]}},
        "required": ["event"],
    },
}
_MEANINGS: Final = {
    400: "The request is malformed; `detail` names what is.",
    403: "The `Origin` or `Host` is not allowed. The body says what to allow.",
    404: "There is no such queue or job.",
    405: "The path does not take this method.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body has not the content type that is described.",
    501: "The bridge was installed without `jobws[submit]`.",
    503: "Redis does not answer, or the bridge is not running.",
}
_ASKING: Final = (400, 404, 503)
_POSTING: Final = (400, 404, 408, 413, 415, 503)
_STREAMING: Final = (400, 408, 413, 415, 503)
_SUBMITTING: Final = (*_POSTING, 501)


async def answer(request: Request) -> Response:
    """`GET /openapi.json`. Its `servers` has the path at which the bridge is mounted."""
    return json_answer({**document(), "servers": [{"url": request.scope.get("root_path", "") or "/"}]})


@lru_cache(maxsize=1)
def document() -> JsonObject:
    """Return the whole description (OpenAPI 3.1), without `servers`."""
    shapes = (
        *(JobLogs, JobSnapshot, Jobs, JobPage, LogsAccepted, NewJob),
        *(Problem, QueueList, Readiness, Results, Submitted),
    )
    template = "#/components/schemas/{name}"
    _, components = msgspec.json.schema_components(shapes, ref_template=template)
    queue, job_id = _path("queue", _LABEL), _path("jobId", _ID)
    key = {
        **{"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1}},
        "description": "Repeating a request with the same key adds no second job.",
    }
    page = [
        _query("state", {"enum": list(STATES)}, required=True),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
        _query("cursor", {"type": "string", "description": "The one that came with the page before."}),
    ]
    listed = [
        _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": NAMED_QUEUES}),
        _query("cursor", {"type": "string", "description": "The one that came with the page before."}),
    ]
    polled = _query(
        "wait", {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "description": "End with news."}
    )
    wait = _query("wait", {"type": "number", "minimum": 0, "description": "Answer once the job has ended, or then."})
    stream = [
        _query("job", {"type": "array", "items": _ID, "minItems": 1}, required=True),
        _query("queue", _LABEL),
        _query("events", {"type": "string", "description": "Names with commas between them; * for all."}),
        _query("logs", {"enum": ["1", "true"], "description": "Log lines, too, as events `job-log`."}),
        _query("until", {"enum": ["end"], "description": "End the stream after the last job's outcome."}),
        _query("lastEventId", {"type": "string", "description": "As the header `Last-Event-ID`, which goes first."}),
        {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
    ]
    lines = [
        _query("start", {"type": "integer", "default": 0, "description": "A negative one counts from the end."}),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LINES, "default": DEFAULT_LINES}),
    ]
    javascript: dict[int, JsonObject | str] = {200: "text/javascript"}
    new_job = _body(_ref("NewJob"))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jobws",
            "version": version("jobws"),
            "description": "The HTTP side of jobws; `protocol.md` describes the WebSockets at `/ws` and `/logs`.",
        },
        "paths": {
            "/jobs": {
                "get": _operation(
                    "One job (with `queue`), or those of that id in every queue.",
                    {200: {"anyOf": [_ref("JobSnapshot"), _ref("Jobs")]}},
                    _ASKING,
                    [_query("jobId", _ID, required=True), _query("queue", _LABEL), wait],
                ),
                "post": _operation(
                    "Add a job.",
                    {202: _ref("Submitted")},
                    _SUBMITTING,
                    [_query("queue", _LABEL, required=True), key],
                    new_job,
                ),
            },
            "/jobs/{queue}": {
                "post": _operation("Add a job.", {202: _ref("Submitted")}, _SUBMITTING, [queue, key], new_job),
                "get": _operation(
                    "The jobs of the id in the path, in every queue.",
                    {200: _ref("Jobs")},
                    _ASKING,
                    [_path("queue", _ID), wait],
                ),
            },
            "/jobs/{queue}/{jobId}": {
                "get": _operation("One job.", {200: _ref("JobSnapshot")}, _ASKING, [queue, job_id, wait])
            },
            "/jobs/{queue}/{jobId}/logs": {
                "get": _operation("Log lines of a job.", {200: _ref("JobLogs")}, _ASKING, [queue, job_id, *lines])
            },
            "/job-logs": {
                "get": _operation(
                    "The same, for ids with a slash, too.",
                    {200: _ref("JobLogs")},
                    _ASKING,
                    [_query("queue", _LABEL, required=True), _query("jobId", _ID, required=True), *lines],
                )
            },
            "/events": {
                "get": _operation("Jobs' events as they happen.", {200: "text/event-stream"}, _ASKING, stream),
                "post": _operation(
                    "The WebSocket's frames, for its requests.",
                    {200: "text/event-stream"},
                    _STREAMING,
                    [polled],
                    _body(_REQUESTS),
                ),
            },
            "/analyze/{queue}": {
                "post": _operation(
                    "Add a job whose data is the body.",
                    {202: _ref("Submitted")},
                    _SUBMITTING,
                    [queue, key],
                    _body(_ANY_JSON),
                )
            },
            "/lookup": {
                "post": _operation(
                    "Many jobs together, without their results.", {200: _ref("Results")}, _POSTING, [], _body(_ROOMS)
                )
            },
            "/logs": {
                "post": _operation(
                    "Write lines to the log: one, a list, or one a line.",
                    {202: _ref("LogsAccepted")},
                    _STREAMING,
                    [],
                    _body(LOG_RECORDS, NDJSON),
                )
            },
            "/queues": {
                "get": _operation(
                    "The queues, in the order of their labels.", {200: _ref("QueueList")}, (400, 503), listed
                )
            },
            "/queues/{queue}/jobs": {
                "get": _operation(
                    "The jobs of one state, the last one first.", {200: _ref("JobPage")}, _ASKING, [queue, *page]
                )
            },
            "/healthz": {"get": _operation("Whether the process lives.", {200: "text/plain"})},
            "/readyz": {
                "get": _operation(
                    "Whether every queue is being read.", {200: _ref("Readiness"), 503: _ref("Readiness")}
                )
            },
            "/metrics": {"get": _operation("For Prometheus.", {200: "text/plain"})},
            "/jobws.js": {"get": _operation("The JavaScript adapter, for any origin.", javascript)},
            "/jobws-http.js": {"get": _operation("What it loads when no WebSocket gets through.", javascript)},
            "/jobws-all.js": {"get": _operation("Both in one, for service workers.", javascript)},
            "/src/{module}": {
                "get": _operation("A source of the adapter.", javascript, (404,), [_path("module", {"type": "string"})])
            },
        },
        "components": {"schemas": components},
    }


def _operation(
    summary: str,
    answers: dict[int, JsonObject | str],
    errors: tuple[int, ...] = (),
    parameters: list[JsonObject] | None = None,
    body: JsonObject | None = None,
) -> JsonObject:
    """Return the description of a method of a path. `answers` has JSON schemas, or a content type if it is not JSON."""
    responses = {str(status): _answer(content) for status, content in answers.items()}
    for status in (*errors, 405):
        responses[str(status)] = _answer(_ref("Problem"), "application/problem+json", _MEANINGS[status])
    responses["403"] = {"description": _MEANINGS[403], "content": {"text/plain": {}}}
    operation: JsonObject = {"summary": summary, "responses": dict(sorted(responses.items()))}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = body
    return operation


def _answer(
    content: JsonObject | str, content_type: str = "application/json", description: str = "As asked for."
) -> JsonObject:
    if isinstance(content, str):
        return {"description": description, "content": {content: {"schema": {"type": "string"}}}}
    return {"description": description, "content": {content_type: {"schema": content}}}


def _path(name: str, schema: JsonObject) -> JsonObject:
    return {"name": name, "in": "path", "required": True, "schema": {**schema, **_SEGMENT}}


def _query(name: str, schema: JsonObject, *, required: bool = False) -> JsonObject:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _body(schema: JsonObject, *text_types: str) -> JsonObject:
    texts = {name: {"schema": {"type": "string"}} for name in text_types}
    return {"required": True, "content": {"application/json": {"schema": schema}, **texts}}


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}
