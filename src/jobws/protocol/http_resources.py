"""What HTTP takes and answers, as one Struct each: they check what comes in, and `/openapi.json` is made from them.

Snapshots, results and error items are those of the WebSocket (`messages`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from jobws.protocol.identifiers import MAX_JOB_ID_BYTES, MAX_SAFE_INTEGER
from jobws.protocol.messages import JobSnapshot, Result

DEFAULT_NAME = "job"

_Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER)]
# BullMQ's own bounds (src/classes/job.ts, PRIORITY_LIMIT); more attempts than these are a mistake.
_Priority: TypeAlias = Annotated[int, Meta(ge=0, le=2**21)]
_Attempts: TypeAlias = Annotated[int, Meta(ge=1, le=10_000)]

# ---- requests ----


class Backoff(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How long a job waits before its next attempt; `delay` in milliseconds."""

    type: Literal["fixed", "exponential"]
    delay: _Count = 0


class Keep(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How many finished jobs are kept, and for how many seconds."""

    age: _Count | UnsetType = UNSET
    count: _Count | UnsetType = UNSET


class JobOptions(Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """BullMQ's options that a stranger may set; the others tie jobs together or change whole queues.

    Times in milliseconds, as BullMQ has them.
    """

    attempts: _Attempts | UnsetType = UNSET
    backoff: _Count | Backoff | UnsetType = UNSET
    delay: _Count | UnsetType = UNSET
    keep_logs: _Count | UnsetType = UNSET
    lifo: bool | UnsetType = UNSET
    priority: _Priority | UnsetType = UNSET
    remove_on_complete: bool | _Count | Keep | UnsetType = UNSET
    remove_on_fail: bool | _Count | Keep | UnsetType = UNSET


class NewJob(Struct, rename="camel"):
    """The body of `POST /jobs/{queue}`. Unknown keys are ignored (protocol.md, rule M4); unknown options are not."""

    data: Any
    name: Annotated[str, Meta(min_length=1)] = DEFAULT_NAME
    # Which of the ids of that form BullMQ takes is checked besides.
    job_id: Annotated[str, Meta(min_length=1, max_length=MAX_JOB_ID_BYTES)] | None = None
    opts: JobOptions | None = None


# ---- answers ----


class Links(Struct):
    """Where else to ask: paths on the same host."""

    job: str


class Submitted(Struct, rename="camel"):
    """A job was added; or one of that id was there already (`existing`), and BullMQ kept it as it was."""

    queue: str
    job_id: str
    existing: bool
    links: Links


class Jobs(Struct):
    """The jobs of one id, one per queue that has it."""

    jobs: list[JobSnapshot]


class Results(Struct):
    """One result per item that was asked for, in order."""

    results: list[Result]


class JobLogs(Struct, rename="camel"):
    """Log lines of one job, the oldest first.

    `first` is the place of the first one in the list that Redis has, `total` how many there are in it; `next` is the
    place after the last one, null: these were the last.
    """

    queue: str
    job_id: str
    lines: list[str]
    first: int
    total: int
    next: int | None


class JobPage(Struct):
    """Jobs of one state. `cursor` continues after them; null: these were the last."""

    jobs: list[JobSnapshot]
    cursor: str | None


class QueueStatus(Struct, rename="camel"):
    """A queue: what Redis holds of it, and whether the bridge reads it.

    `found` is false while no key of it exists. `counts` are jobs by state. `events` is the length of its event stream,
    which BullMQ trims to about `max_events`; `retention_seconds` is how far back that reaches, null while nothing was
    trimmed yet. `problem` says why the bridge does not read it at the moment; null: it does.
    """

    queue: str
    found: bool
    paused: bool
    counts: dict[str, int]
    events: int
    max_events: int
    retention_seconds: float | None
    problem: str | None


class QueueList(Struct):
    """Queues of the bridge, in the order of their labels. `cursor` asks for the next page; null: that was the last."""

    queues: list[QueueStatus]
    cursor: str | None


class Readiness(Struct, omit_defaults=True):
    """Whether every queue is being read; `problems` by label, `*` for the bridge as a whole.

    `problems` names 100 at most; `more` is how many others there are.
    """

    ready: bool
    problems: dict[str, str]
    more: int | UnsetType = UNSET


class Problem(Struct):
    """An error (RFC 9457): `code` is for programs, `detail` the sentence for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class LineError(Struct, frozen=True):
    """Why a record was not written. `line` is its line, or its place in the list; the first is 1."""

    line: int
    code: str
    message: str


class LogsAccepted(Struct, frozen=True):
    """How many records were written and how many were not; of the latter the first are in `errors`."""

    accepted: int
    rejected: int
    errors: list[LineError]
