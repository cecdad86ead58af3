"""Builds the commands that read jobs, and turns the replies into snapshots. Pure.

A job's state is the list or set that has its id, as in BullMQ's getStateV2-8.lua. But the list `wait` is not searched,
since LPOS takes 2 ms for each id at 100,000 waiting jobs: a job that exists and is in no other key is waiting. Five
ZMSCORE, one LRANGE of `active` and an HMGET for each id take the same time however many jobs wait. The commands run in
MULTI, since a job that moves between two reads could otherwise appear in none of the keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from jobws.bullmq import nested_queues
from jobws.privacy.rules import RESULTS
from jobws.protocol.codec import json_text, raw_json
from jobws.protocol.identifiers import START
from jobws.protocol.messages import Cursor, ItemError, JobSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jobws.bullmq.keys import Queue
    from jobws.privacy.rules import QueueRules
    from jobws.redis.commands import Command

Job: TypeAlias = tuple[str, str]
"""The label of a queue, and a job id."""
Found: TypeAlias = dict[Job, JobSnapshot | ItemError | None]
"""By job, its snapshot, or the error of reading this job. A job that does not exist is None or absent."""


class LookUp(msgspec.Struct, frozen=True):
    """What Redis knows of jobs, and how far the streams of their queues had come when the jobs were read.

    Attributes:
        found: The snapshot of each job, or the error of reading it. A job that does not exist is None or absent.
        moments: By job, the last id of the queue's stream when the job was read; `0-0` if the stream was empty. Two
            jobs of a queue may have different ids here, since many jobs are read in several transactions.
        ends: By label of a queue, the last id of its stream at the last of these reads.
    """

    found: Found
    moments: dict[Job, str]
    ends: Cursor


_FIELDS: Final = ("name", "timestamp", "processedOn", "finishedOn", "progress", "atm", "attemptsMade")
# The keys in the order in which getStateV2-8.lua tests them. It tests `active` between `prioritized` and
# `waiting-children`.
_SETS: Final = ("completed", "failed", "delayed", "prioritized", "waiting-children")
# The limits of the texts in a snapshot. An ack with 1,000 snapshots must fit into the largest frame that `hello`
# announces.
MAX_NAME_CHARACTERS: Final = 256
MAX_PROGRESS_BYTES: Final = 2048


def by_queue(jobs: Iterable[Job]) -> dict[str, list[str]]:
    """Group jobs by queue: return the job ids by the label of their queue."""
    job_ids: dict[str, list[str]] = {}
    for label, job_id in jobs:
        job_ids.setdefault(label, []).append(job_id)
    return job_ids


def _fields(rules: QueueRules | None, *, results: bool) -> tuple[str, ...]:
    """Return the names of the fields to read from the hash of each job of a queue with these rules."""
    if not results or rules is None:
        return _FIELDS + RESULTS if results else _FIELDS
    shown = {RESULTS: rules.shows_results, ("data",): rules.shows_data, ("stacktrace",): rules.shows_stacktraces}
    return _FIELDS + tuple(name for names, is_shown in shown.items() if is_shown for name in names)


def commands(
    queue: Queue, job_ids: Sequence[bytes], rules: QueueRules | None, *, results: bool = False
) -> list[Command]:
    """Return the commands, MULTI to EXEC, that read the jobs `job_ids` (at least one, at most some hundreds).

    Args:
        queue: The queue.
        job_ids: The jobs.
        rules: The rules of the queue; None if it has none.
        results: Whether to read return values and reasons of failure, too, and what else the rules show. They can be
            large.
    """
    names = _fields(rules, results=results)
    asked: list[Command] = [
        ("MULTI",),
        ("XREVRANGE", queue.key("events"), "+", "-", "COUNT", 1),
        ("LRANGE", queue.key("active"), 0, -1),
    ]
    asked += [("ZMSCORE", queue.key(name), *job_ids) for name in _SETS]
    asked += [("HMGET", queue.key(job_id), *names) for job_id in job_ids]
    asked += nested_queues.commands(queue, job_ids)
    asked.append(("EXEC",))
    return asked


def count_commands(queue: Queue, job_ids: Sequence[bytes]) -> list[Command]:
    """Return the commands, MULTI to EXEC, that count how many of `job_ids` the queue may have.

    "May", since the key can be something else than a job. Most queues have all of these jobs, or none. So the number
    alone is mostly enough, and takes a fifth of the time of asking for each job.
    """
    exist: Command = ("EXISTS", *[queue.key(job_id) for job_id in job_ids])
    return [("MULTI",), ("XREVRANGE", queue.key("events"), "+", "-", "COUNT", 1), exist, ("EXEC",)]


def search_commands(queue: Queue, job_ids: Sequence[bytes]) -> list[Command]:
    """Return the commands, MULTI to EXEC, that find out which of `job_ids` the queue may have.

    "May", since the key can be something else than a job. Asking whether a key exists is cheaper than reading a job: a
    look-up of one id in 10,000 queues takes half the CPU.
    """
    exist: list[Command] = [("EXISTS", queue.key(job_id)) for job_id in job_ids]
    return [("MULTI",), ("XREVRANGE", queue.key("events"), "+", "-", "COUNT", 1), *exist, ("EXEC",)]


def parse_count(job_ids: Sequence[bytes], replies: Sequence[object]) -> list[bool] | None:
    """Return for each id whether the queue may have the job, from the replies to EXEC of `count_commands`.

    The replies tell this only if the queue may have all of the jobs, or none. Otherwise None is returned, and the jobs
    must be asked for one by one, with `search_commands`.
    """
    _, count = replies
    if count not in (0, len(job_ids)):
        return None
    return [count != 0] * len(job_ids)


def parse_search(replies: Sequence[object]) -> list[bool]:
    """Return for each id whether the queue may have the job, from the replies to EXEC of `search_commands`."""
    return [reply != 0 for reply in replies[1:]]


def parse(
    queue: Queue,
    job_ids: Sequence[bytes],
    replies: Sequence[object],
    rules: QueueRules | None,
    *,
    results: bool = False,
) -> list[JobSnapshot | Exception | None]:
    """Return one snapshot per id, from the replies to EXEC of `commands`, which had the same other arguments.

    None means that there is no such job, or that the key belongs to another queue; see `nested_queues`. An exception is
    Redis's error for this id alone, for instance WRONGTYPE if the key is not a hash.
    """
    names = _fields(rules, results=results)
    last, active, *rest = replies
    scores, rest = rest[: len(_SETS)], rest[len(_SETS) :]
    hashes, foreign = rest[: len(job_ids)], nested_queues.foreign(job_ids, rest[len(job_ids) :])
    at = _last_id(last)
    active_ids = frozenset(active) if isinstance(active, list) else frozenset()
    snapshots: list[JobSnapshot | Exception | None] = []
    for position, (job_id, reply) in enumerate(zip(job_ids, hashes, strict=True)):
        if not isinstance(reply, list) or job_id in foreign:
            snapshots.append(reply if isinstance(reply, Exception) else None)
            continue
        values = dict(zip(names, reply, strict=True))
        if values["name"] is None or values["timestamp"] is None:
            snapshots.append(None)  # not a job: every job's hash has these two fields (includes/storeJob.lua)
            continue
        listed = [name for name, found in zip(_SETS, scores, strict=True) if _is_member(found, position)]
        state = _state(listed, job_id in active_ids)
        snapshots.append(_snapshot(queue, job_id, values, rules, state, at))
    return snapshots


def end(replies: Sequence[object]) -> str:
    """Return the last id of the queue's stream, or `0-0` if the stream is empty.

    Args:
        replies: The replies to EXEC of `commands`, `count_commands` or `search_commands`.
    """
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


def _snapshot(
    queue: Queue,
    job_id: bytes,
    values: Mapping[str, bytes | None],
    rules: QueueRules | None,
    state: str,
    at: str | None,
) -> JobSnapshot:
    progress, too_large = _progress(values["progress"])
    if rules is not None:
        # Going through a progress takes time, and there may be a thousand snapshots. One may grow in it.
        values = rules.job({**values, "progress": None} if too_large else values)
        progress, too_large = (progress, True) if too_large else _progress(values["progress"])
    name = (values["name"] or b"").decode(errors="replace")
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
        # Not in other states: a job that waits for another attempt has a reason and a trace, too, and keeps them if it
        # succeeds.
        failed_reason=_text(values.get("failedReason")) if state == "failed" else UNSET,
        data=_result(values.get("data")),
        stacktrace=_result(values.get("stacktrace")) if state == "failed" else UNSET,
        truncated=True if too_large or len(name) > MAX_NAME_CHARACTERS else UNSET,
    )


def _progress(value: bytes | None) -> tuple[Raw | UnsetType, bool]:
    """Return the progress as JSON, and whether it was too large for a snapshot.

    Instead of the JSON, return UNSET if the progress was too large, is missing, or is not JSON.
    """
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
    """Return the number that a field holds, such as a time in milliseconds. UNSET means that it holds no number.

    Whole numbers stay integers, so that JSON shows what BullMQ wrote.
    """
    try:
        number = msgspec.json.decode(value or b"", type=int | float)
    except msgspec.DecodeError:
        return UNSET
    return number


def _integer(value: bytes | None) -> int | UnsetType:
    number = _number(value)
    return UNSET if isinstance(number, UnsetType) else int(number)
