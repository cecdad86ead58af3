"""Implements `?wait=` of `GET /jobs…`: the request is answered when its job has ended."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, structs

from jobws.access.caller import ADDRESS
from jobws.errors import RequestError
from jobws.hub.jobs.missed import FINISHED
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.identifiers import START
from jobws.protocol.messages import OUTCOMES, ErrorData, JobSnapshot
from jobws.protocol.server_sent_events import Parts, parts_of
from jobws.server.http.rights import refusal
from jobws.server.websocket.admission import EXPIRED, REVOKED
from jobws.server.websocket.in_process_client import cancel_when_gone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request

    from jobws.access.identity import Identity
    from jobws.protocol.request_types import Room
    from jobws.server.http.service import Service
    from jobws.server.websocket.in_process_client import InProcessClient

_SECONDS: Final = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


def parse_wait(text: str | None, limit: float) -> float:
    """Return the seconds of `?wait=`, or 0 if `text` is None.

    Raises:
        RequestError: `bad-data`: `text` is not a number from 0 to `limit`.
    """
    if text is None:
        return 0
    if not _SECONDS.fullmatch(text) or float(text) > limit:
        raise RequestError("bad-data", f"`wait` must be a number of seconds from 0 to {limit:g}")
    return float(text)


def has_ended(snapshots: Iterable[JobSnapshot]) -> bool:
    """Return whether one of the jobs is completed or failed."""
    return any(each.state in FINISHED for each in snapshots)


async def first_outcome(
    service: Service, request: Request, identity: Identity, room: Room, seconds: float
) -> Parts | None:
    """Wait for the first outcome of the jobs of `room`. An outcome that happened before counts, too.

    Returns None if no outcome came within `seconds`, or if the HTTP client has left.

    Raises:
        RequestError: The subscription was refused, the bridge stopped during the wait (`unavailable`), or the token of
            `identity` is no longer accepted (`expired`, `bad-token`).
        RedisUnavailableError: The bridge is not running, so nothing reads Redis.
    """
    found: Parts | RequestError | None = None
    # With `after`, outcomes of more than a minute ago count even if several queues have the id.
    item: dict[str, Any] = {"jobId": room.job_id, "queue": room.queue, "until": "end", "after": {}}
    with service.client(None, identity, request.scope[ADDRESS]) as client, anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_when_gone, request.receive, tasks.cancel_scope)
            tasks.start_soon(service.close_with_token, client)
            await client.subscribe(item)
            client.asked()
            found = await _first(client)
            tasks.cancel_scope.cancel()
    if isinstance(found, RequestError):
        raise found
    return found


async def _first(client: InProcessClient) -> Parts | RequestError:
    while True:
        await client.wait()
        for parts in map(parts_of, client.take()):
            if parts.event in OUTCOMES:
                return parts
            if parts.event == "ended":
                return refusal("forbidden")
            if parts.event == "error":
                data = msgspec.json.decode(parts.data, type=ErrorData)
                return RequestError(data.code, data.message)
        client.written()
        closing = client.hub_client.closing
        if closing in (EXPIRED, REVOKED):
            return refusal("expired" if closing is EXPIRED else "bad-token")
        if closing is not None and closing.code == CloseCode.TOO_MANY:
            return RequestError("rate-limited", closing.reason)
        if closing is not None:
            return RequestError("unavailable", "the bridge restarts; ask again")


def with_outcome(
    snapshots: Sequence[JobSnapshot], outcome: Parts, job_id: str, before: Sequence[JobSnapshot]
) -> list[JobSnapshot]:
    """Return the snapshots, with one that shows `outcome` even if the job's hash is gone or the job is alive again.

    Args:
        snapshots: The present snapshots of the jobs.
        outcome: The frame of the outcome.
        job_id: The id of the jobs.
        before: The snapshots of an earlier look-up. They give the other fields of the job that has ended.
    """
    queue = outcome.queue
    if any(each.queue == queue and each.state in FINISHED for each in snapshots):
        return list(snapshots)
    values = _values(outcome.data)
    known = next((each for each in before if each.queue == queue), None)
    ended = structs.replace(
        known or JobSnapshot(queue, job_id, "", outcome.event, None),
        state=outcome.event,
        at=(outcome.position or START).partition("~")[0],
        returnvalue=values.returnvalue,
        failed_reason=values.failed_reason,
        truncated=values.truncated,
        href=values.href,
    )
    return [ended, *(each for each in snapshots if each.queue != queue)]


class _Values(Struct, rename="camel"):
    returnvalue: Raw | UnsetType = UNSET
    failed_reason: str | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET
    href: str | UnsetType = UNSET


def _values(data: bytes) -> _Values:
    try:
        return msgspec.json.decode(data, type=_Values)
    except msgspec.DecodeError:
        pass
    # The text has escapes of lone surrogates, which are valid JSON but which msgspec refuses.
    try:
        loose: dict[str, Any] = json.loads(data)
        if "returnvalue" in loose:
            loose["returnvalue"] = Raw(json.dumps(loose["returnvalue"]).encode())
        return msgspec.convert(loose, _Values)
    except ValueError:
        return _Values(truncated=True)
