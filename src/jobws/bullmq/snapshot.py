"""What to ask Redis about jobs, and what the answers say. Pure.

State as BullMQ's getStateV2-8.lua finds it, but without searching `wait`, whose LPOS costs 2 ms per id at 100,000
waiting jobs: five ZMSCORE, one LRANGE of `active` and an HMGET per id cost the same at any length. A job that exists
and is in none of those is waiting. MULTI matters, since a job could move between two reads and appear nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from jobws.protocol.codec import json_text, raw_json
from jobws.protocol.identifiers import START
from jobws.protocol.messages import Cursor, ItemError, JobSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobws.bullmq.keys import Queue
    from jobws.redis.commands import Command

Job: TypeAlias = tuple[str, str]
"""A queue's label and a job id."""
Found: TypeAlias = dict[Job, JobSnapshot | ItemError | None]
"""What Redis says of jobs: a snapshot, or why there is none. None, or no entry, for a job that does not exist."""


class LookUp(msgspec.Struct, frozen=True):
    """Found jobs, and the last stream ids (`0-0`: none): what was told happened up to there.

    `moments` are by job, when it was looked at: many jobs are looked at one transaction after the other. `ends` are by
    queue, when the last of its jobs was.
    """

    found: Found
    moments: dict[Job, str]
    ends: Cursor


_FIELDS: Final = ("name", "timestamp", "processedOn", "finishedOn", "progress", "atm", "attemptsMade")
_RESULT_FIELDS: Final = ("returnvalue", "failedReason")
# In the order of getStateV2-8.lua. `active` is tested between `prioritized` and `waiting-children`.
_SETS: Final = ("completed", "failed", "delayed", "prioritized", "waiting-children")
# So that an ack of 1,000 snapshots stays within the frame that `hello` promises.
MAX_NAME_CHARACTERS: Final = 256
MAX_PROGRESS_BYTES: Final = 2048


def by_queue(jobs: Iterable[Job]) -> dict[str, list[str]]:
    """The ids of jobs by their queues."""
    job_ids: dict[str, list[str]] = {}
    for label, job_id in jobs:
        job_ids.setdefault(label, []).append(job_id)
    return job_ids


def fields(*, results: bool) -> tuple[str, ...]:
    """What is asked of each job's hash."""
    return _FIELDS + _RESULT_FIELDS if results else _FIELDS


def commands(queue: Queue, job_ids: Sequence[bytes], *, results: bool = False) -> list[Command]:
    """The commands, MULTI to EXEC, that tell all about `job_ids` (at least one, at most some hundreds).

    `results` asks for results and reasons of failure, too, which can be large.
    """
    asked: list[Command] = [
        ("MULTI",),
        ("XREVRANGE", queue.key("events"), "+", "-", "COUNT", 1),
        ("LRANGE", queue.key("active"), 0, -1),
    ]
    asked += [("ZMSCORE", queue.key(name), *job_ids) for name in _SETS]
    asked += [("HMGET", queue.key(job_id), *fields(results=results)) for job_id in job_ids]
    asked.append(("EXEC",))
    return asked


def parse(queue: Queue, job_ids: Sequence[bytes], replies: Sequence[object]) -> list[JobSnapshot | Exception | None]:
    """Snapshots from the replies to EXEC of `commands`, one per id.

    None: no such job. An exception: Redis' error for this id alone (for instance WRONGTYPE, because the key is no
    hash).
    """
    last, active, *rest = replies
    scores, hashes = rest[: len(_SETS)], rest[len(_SETS) :]
    at = _last_id(last)
    active_ids = frozenset(active) if isinstance(active, list) else frozenset()
    snapshots: list[JobSnapshot | Exception | None] = []
    for position, (job_id, reply) in enumerate(zip(job_ids, hashes, strict=True)):
        if not isinstance(reply, list):
            snapshots.append(reply if isinstance(reply, Exception) else None)
            continue
        values = dict(zip(fields(results=len(reply) > len(_FIELDS)), reply, strict=True))
        if values["name"] is None or values["timestamp"] is None:
            snapshots.append(None)  # a key that is no job: every job's hash has both (includes/storeJob.lua)
            continue
        listed = [name for name, found in zip(_SETS, scores, strict=True) if _is_member(found, position)]
        state = _state(listed, job_id in active_ids)
        snapshots.append(_snapshot(queue, job_id, values, state, at))
    return snapshots


def end(replies: Sequence[object]) -> str:
    """The last id of the queue's stream, from the replies to EXEC of `commands`; `0-0` if it holds nothing."""
    return _last_id(replies[0]) or START


def _last_id(entries: object) -> str | None:
    if isinstance(entries, list) and entries:
        stream_id: bytes = entries[0][0]
        return stream_id.decode()
    return None


def _is_member(scores: object, position: int) -> bool:
    return isinstance(scores, list) and scores[position] is not None


def _state(listed: list[str], active: bool) -> str:
    if listed and (listed[0] != "waiting-children" or not active):
        return listed[0]
    return "active" if active else "waiting"


def _snapshot(queue: Queue, job_id: bytes, values: dict[str, bytes | None], state: str, at: str | None) -> JobSnapshot:
    name = (values["name"] or b"").decode(errors="replace")
    progress, too_large = _progress(values["progress"])
    return JobSnapshot(
        queue=queue.label,
        job_id=job_id.decode(errors="replace"),
        name=name[:MAX_NAME_CHARACTERS],
        state=state,
        at=at,
        attempts_made=_integer(values["atm"] if values["atm"] is not None else values["attemptsMade"]),
        timestamp=_number(values["timestamp"]),
        processed_on=_number(values["processedOn"]),
        finished_on=_number(values["finishedOn"]),
        progress=progress,
        returnvalue=_result(values.get("returnvalue")) if state == "completed" else UNSET,
        # A job that waits for another attempt has one already, and a later success keeps it.
        failed_reason=_text(values.get("failedReason")) if state == "failed" else UNSET,
        truncated=True if too_large or len(name) > MAX_NAME_CHARACTERS else UNSET,
    )


def _progress(value: bytes | None) -> tuple[Raw | UnsetType, bool]:
    """The progress as JSON, and whether it was too large for a snapshot."""
    if value is None:
        return UNSET, False
    if len(value) > MAX_PROGRESS_BYTES:
        return UNSET, True
    spliced = raw_json(value)
    return (UNSET, False) if spliced is None else (Raw(spliced), False)


def _result(value: bytes | None) -> Raw | UnsetType:
    if value is None:
        return UNSET
    spliced = raw_json(value)
    return Raw(json_text(value.decode(errors="replace")) if spliced is None else spliced)


def _text(value: bytes | None) -> str | UnsetType:
    return UNSET if value is None else value.decode(errors="replace")


def _number(value: bytes | None) -> float | UnsetType:
    """An epoch in milliseconds; whole ones as integers, so that JSON shows what BullMQ wrote."""
    try:
        number = msgspec.json.decode(value or b"", type=int | float)
    except msgspec.DecodeError:
        return UNSET
    return number


def _integer(value: bytes | None) -> int | UnsetType:
    number = _number(value)
    return UNSET if isinstance(number, UnsetType) else int(number)
