"""Builds the operations of `/openapi.json`: a method of a path with its parameters, its body and its answers."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

JsonObject: TypeAlias = dict[str, Any]

# A parameter in the path must not contain a slash.
_SEGMENT: Final[JsonObject] = {"minLength": 1, "pattern": "^[^/]+$"}
_MEANINGS: Final = {
    400: "The request is malformed; `detail` names what is.",
    401: "There is no token, or it is not accepted; only of a bridge with keys.",
    403: "The token does not allow it; or the `Origin` or `Host` is not allowed, and the body says what to allow.",
    404: "There is no such queue or job.",
    405: "The path does not take this method.",
    408: "The body came too slowly.",
    409: "A worker has the job, or it is in a state in which this cannot be done.",
    410: "Neither the event nor its job is there any more.",
    413: "The body is too large.",
    415: "The body has not the content type that is described.",
    429: "Too many connections, requests, bytes, lines or refused tokens. `Retry-After` says how many seconds to wait.",
    501: "The bridge was installed without `jobws[submit]`, or has no key for a token.",
    503: "Redis does not answer, an authorizer is asked too much, or the bridge is not running.",
}


def operation(
    summary: str,
    answers: dict[int, JsonObject | str],
    errors: tuple[int, ...] = (),
    parameters: list[JsonObject] | None = None,
    body: JsonObject | None = None,
) -> JsonObject:
    """Return the description of a method of a path.

    Args:
        summary: What the method does, as a sentence.
        answers: By HTTP status, the JSON schema of the body, or the content type of a body that is not JSON.
        errors: The statuses of errors, apart from those that every path has.
        parameters: The descriptions that `path` and `query` return.
        body: The description that `body` returns; None if requests have no body.
    """
    responses = {str(status): _answer(content) for status, content in answers.items()}
    for status in (*errors, 401, 403, 405, 429):
        responses[str(status)] = _answer(ref("Problem"), "application/problem+json", _MEANINGS[status])
    responses["403"]["content"]["text/plain"] = {}
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
        return {"description": description, "content": {content: {}}}
    return {"description": description, "content": {content_type: {"schema": content}}}


def path(name: str, schema: JsonObject) -> JsonObject:
    """Return the description of a parameter in the path."""
    return {"name": name, "in": "path", "required": True, "schema": {**schema, **_SEGMENT}}


def query(name: str, schema: JsonObject, *, required: bool = False) -> JsonObject:
    """Return the description of a parameter in the query string."""
    return {"name": name, "in": "query", "required": required, "schema": schema}


def body(schema: JsonObject, *text_types: str) -> JsonObject:
    """Return the description of a body that every request must have.

    Args:
        schema: The JSON schema of a body of the type `application/json`.
        text_types: Further content types that the endpoint accepts. Their bodies are described as text.
    """
    texts = {name: {"schema": {"type": "string"}} for name in text_types}
    return {"required": True, "content": {"application/json": {"schema": schema}, **texts}}


def ref(name: str) -> JsonObject:
    """Return a reference to the schema of a Struct, by the name of the Struct."""
    return {"$ref": f"#/components/schemas/{name}"}
