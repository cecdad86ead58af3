"""`/openapi.json`: describes the HTTP interface for tools. It is made from the Structs of requests and answers."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import msgspec

from jobws.bullmq.listing import STATES
from jobws.protocol.http_resources import (
    Acted,
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
    Whoami,
    WholeEvent,
)
from jobws.protocol.messages import NAMED_QUEUES, JobSnapshot
from jobws.server.http.actions import ACTIONS
from jobws.server.http.append_log import LOG_RECORDS, NDJSON
from jobws.server.http.job_log import DEFAULT_LINES, MAX_LINES
from jobws.server.http.openapi_files import PATHS_OF_FILES
from jobws.server.http.openapi_operations import body, operation, path, query, ref
from jobws.server.http.openapi_requests import ANY_JSON, ID, LABEL, REQUESTS, ROOMS
from jobws.server.http.queues import DEFAULT_LIMIT, MAX_LIMIT
from jobws.server.http.request import json_answer
from jobws.server.http.websocket_over_http import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.server.http.openapi_operations import JsonObject

_SHAPES: Final = (
    Acted,
    JobLogs,
    JobSnapshot,
    Jobs,
    JobPage,
    LogsAccepted,
    NewJob,
    Problem,
    QueueList,
    Readiness,
    Results,
    Submitted,
    Whoami,
    WholeEvent,
)
# The statuses of errors, apart from 401, 403, 405 and 429, which every path has.
_ASKING: Final = (400, 404, 503)
_POSTING: Final = (400, 404, 408, 413, 415, 503)
_STREAMING: Final = (400, 408, 413, 415, 503)
_SUBMITTING: Final = (*_POSTING, 501)
_ACTING: Final = (400, 404, 501, 503)
_ACTING_ON_JOB: Final = (*_ACTING, 409)


async def answer(request: Request) -> Response:
    """`GET /openapi.json`. Its `servers` has the path at which the bridge is mounted."""
    return json_answer({**document(), "servers": [{"url": request.scope.get("root_path", "") or "/"}]})


@lru_cache(maxsize=1)
def document() -> JsonObject:
    """Return the whole description (OpenAPI 3.1), without `servers`."""
    _, components = msgspec.json.schema_components(_SHAPES, ref_template=ref("{name}")["$ref"])
    queue, job_id = path("queue", LABEL), path("jobId", ID)
    submitting: list[JsonObject] = [
        query("withToken", {"enum": ["1", "true"], "description": "Answer with a token that allows reading this job."}),
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string", "minLength": 1},
            "description": "Repeating a request with the same key adds no second job.",
        },
    ]
    page = [
        query("state", {"enum": list(STATES)}, required=True),
        query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
        query("cursor", {"type": "string", "description": "The one that came with the page before."}),
    ]
    listed = [
        query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": NAMED_QUEUES}),
        query("cursor", {"type": "string", "description": "The one that came with the page before."}),
    ]
    polled = query(
        "wait", {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "description": "End with news."}
    )
    wait = query("wait", {"type": "number", "minimum": 0, "description": "Answer once the job has ended, or then."})
    event = query("event", {"type": "string", "description": "The `id` of an event, with `queue`: the whole event."})
    stream = [
        query("job", {"type": "array", "items": ID, "description": "Without it, `queue` as a whole."}),
        query("queue", LABEL),
        query("events", {"type": "string", "description": "Names with commas between them; * for all."}),
        query("logs", {"enum": ["1", "true"], "description": "Log lines, too, as events `job-log`."}),
        query("until", {"enum": ["end"], "description": "End the stream after the last job's outcome."}),
        query("lastEventId", {"type": "string", "description": "As the header `Last-Event-ID`, which goes first."}),
        {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
    ]
    lines = [
        query("start", {"type": "integer", "default": 0, "description": "A negative one counts from the end."}),
        query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LINES, "default": DEFAULT_LINES}),
    ]
    new_job = body(ref("NewJob"))
    done: dict[int, JsonObject | str] = {200: ref("Acted")}
    children = query("children", {"enum": ["1", "true"], "description": "Remove the jobs below it in its flow, too."})
    tree = query("children", {"enum": ["1", "true"], "description": "Count the jobs below it in its flow, as `tree`."})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jobws",
            "version": version("jobws"),
            "description": "The HTTP side of jobws; `protocol.md` describes the WebSockets at `/ws` and `/logs`.",
        },
        "paths": {
            "/jobs": {
                "get": operation(
                    "One job (with `queue`), those of that id in every queue, or one event of a job (with `event`).",
                    {200: {"anyOf": [ref("JobSnapshot"), ref("Jobs"), ref("WholeEvent")]}},
                    (*_ASKING, 410),
                    [query("jobId", ID, required=True), query("queue", LABEL), wait, event, tree],
                ),
                "post": operation(
                    "Add a job.",
                    {202: ref("Submitted")},
                    _SUBMITTING,
                    [query("queue", LABEL, required=True), *submitting],
                    new_job,
                ),
            },
            "/jobs/{queue}": {
                "post": operation("Add a job.", {202: ref("Submitted")}, _SUBMITTING, [queue, *submitting], new_job),
                "get": operation(
                    "The jobs of the id in the path, in every queue.",
                    {200: ref("Jobs")},
                    _ASKING,
                    [path("queue", ID), wait],
                ),
            },
            "/jobs/{queue}/{jobId}": {
                "get": operation("One job.", {200: ref("JobSnapshot")}, _ASKING, [queue, job_id, wait, tree]),
                "delete": operation("Remove a job.", done, _ACTING_ON_JOB, [queue, job_id, children]),
            },
            "/jobs/{queue}/{jobId}/retry": {
                "post": operation("Let a failed job wait for another run.", done, _ACTING_ON_JOB, [queue, job_id])
            },
            "/jobs/{queue}/{jobId}/promote": {
                "post": operation("Let a delayed job wait no longer.", done, _ACTING_ON_JOB, [queue, job_id])
            },
            "/jobs/{queue}/{jobId}/logs": {
                "get": operation("Log lines of a job.", {200: ref("JobLogs")}, _ASKING, [queue, job_id, *lines])
            },
            "/job-logs": {
                "get": operation(
                    "The same, for ids with a slash, too.",
                    {200: ref("JobLogs")},
                    _ASKING,
                    [query("queue", LABEL, required=True), query("jobId", ID, required=True), *lines],
                )
            },
            "/events": {
                "get": operation("Events as they happen.", {200: "text/event-stream"}, _ASKING, stream),
                "post": operation(
                    "The WebSocket's frames, for its requests.",
                    {200: "text/event-stream"},
                    _STREAMING,
                    [polled],
                    body(REQUESTS),
                ),
            },
            "/analyze/{queue}": {
                "post": operation(
                    "Add a job whose data is the body.",
                    {202: ref("Submitted")},
                    _SUBMITTING,
                    [queue, *submitting],
                    body(ANY_JSON),
                )
            },
            "/lookup": {
                "post": operation(
                    "Many jobs together, without their results.", {200: ref("Results")}, _POSTING, [], body(ROOMS)
                )
            },
            "/logs": {
                "post": operation(
                    "Write lines to the log: one, a list, or one a line.",
                    {202: ref("LogsAccepted")},
                    _STREAMING,
                    [],
                    body(LOG_RECORDS, NDJSON),
                )
            },
            "/whoami": {"get": operation("The holder of the token, and its rights.", {200: ref("Whoami")}, (400, 503))},
            "/queues": {
                "get": operation(
                    "The queues, in the order of their labels.", {200: ref("QueueList")}, (400, 503), listed
                )
            },
            "/queues/{queue}/jobs": {
                "get": operation(
                    "The jobs of one state, the last one first.", {200: ref("JobPage")}, _ASKING, [queue, *page]
                )
            },
            "/queue-jobs": {
                "get": operation(
                    "The same, for labels with a slash, too.",
                    {200: ref("JobPage")},
                    _ASKING,
                    [query("queue", LABEL, required=True), *page],
                )
            },
            "/queues/{queue}/retry": {
                "post": operation("Retry all failed jobs, after the answer.", {202: ref("Acted")}, _ACTING, [queue])
            },
            "/queues/{queue}/pause": {
                "post": operation("Let no worker take a job of the queue.", done, _ACTING, [queue])
            },
            "/queues/{queue}/resume": {
                "post": operation("Let workers take jobs of the queue again.", done, _ACTING, [queue])
            },
            "/actions": {
                "post": operation(
                    "The same actions, for queues and ids with a slash, too.",
                    {**done, 202: ref("Acted")},
                    _ACTING_ON_JOB,
                    [
                        query("action", {"enum": list(ACTIONS)}, required=True),
                        query("queue", LABEL, required=True),
                        query("jobId", {**ID, "description": "Of retry, promote and remove alone."}),
                        children,
                    ],
                )
            },
            "/healthz": {"get": operation("Whether the process lives.", {200: "text/plain"})},
            "/readyz": {
                "get": operation("Whether every queue is being read.", {200: ref("Readiness"), 503: ref("Readiness")})
            },
            "/metrics": {"get": operation("For Prometheus.", {200: "text/plain"}, (503,))},
            **PATHS_OF_FILES,
        },
        "components": {"schemas": components},
    }
