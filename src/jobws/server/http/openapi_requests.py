"""`/openapi.json`: the ids, the labels and the bodies of requests, which no Struct describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.protocol.identifiers import KEY_SUFFIXES, MAX_JOB_ID_BYTES, MAX_SAFE_INTEGER

if TYPE_CHECKING:
    from jobws.server.http.openapi_operations import JsonObject

ID: Final[JsonObject] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_JOB_ID_BYTES,
    "not": {"enum": sorted(KEY_SUFFIXES)},
    "description": f"At most {MAX_JOB_ID_BYTES} bytes of UTF-8, and none of BullMQ's own keys.",
}
LABEL: Final[JsonObject] = {"type": "string", "description": "A queue's label; `/queues` lists them."}
ANY_JSON: Final[JsonObject] = {}
_ID_JSON: Final[JsonObject] = {
    "anyOf": [ID, {"type": "integer", "minimum": -MAX_SAFE_INTEGER, "maximum": MAX_SAFE_INTEGER}]
}
_ROOM: Final[JsonObject] = {
    "anyOf": [
        _ID_JSON,
        {
            "type": "object",
            "properties": {"jobId": _ID_JSON, "queue": {"anyOf": [LABEL, {"type": "null"}]}},
            "required": ["jobId"],
            # An object with `jobs` is a list of rooms.
            "not": {"required": ["jobs"]},
        },
    ]
}
# Items are not described, since an invalid item, or an unknown queue, does not fail the request (status 200).
_LIST: Final[JsonObject] = {"type": "array", "description": "Job ids, or objects with `jobId` and `queue`."}
ROOMS: Final[JsonObject] = {
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
# Nor are requests described: what is wrong with one is told by an `error` frame (status 200).
REQUESTS: Final[JsonObject] = {
    "type": "array",
    "description": "Requests as on the WebSocket. An `error` frame says what is wrong with one.",
    "examples": [[{"event": "subscribe-job", "data": {"jobId": "1", "queue": "http"}, "ref": 1}]],
}
