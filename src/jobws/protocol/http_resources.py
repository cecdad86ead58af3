"""The bodies of HTTP requests and answers, a Struct for each.

Requests are checked with these types, and `/openapi.json` is made from them.

Snapshots, results and error items are the same as on the WebSocket, and are in `messages`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from jobws.protocol.identifiers import MAX_JOB_ID_BYTES, MAX_SAFE_INTEGER
from jobws.protocol.messages import JobSnapshot, Result

DEFAULT_NAME = "job"

ActionName: TypeAlias = Literal["retry", "promote", "remove", "retry-failed", "pause", "resume"]
"""An action of `POST /actions`. The first three are on a job, the others on a queue."""

_Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER)]
# The limit of priorities is that of BullMQ (src/classes/job.ts, PRIORITY_LIMIT). More attempts than 10,000 would be a
# mistake.
_Priority: TypeAlias = Annotated[int, Meta(ge=0, le=2**21)]
_Attempts: TypeAlias = Annotated[int, Meta(ge=1, le=10_000)]

# ---- requests ----


class Backoff(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How long a job waits before its next attempt. `delay` is in milliseconds."""

    type: Literal["fixed", "exponential"]
    delay: _Count = 0


class Keep(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How many finished jobs are kept (`count`), and for how many seconds (`age`)."""

    age: _Count | UnsetType = UNSET
    count: _Count | UnsetType = UNSET


class JobOptions(Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """The options of BullMQ that a client may set. The other options link jobs, or change whole queues.

    Times are in milliseconds, except in `removeOnComplete` and `removeOnFail`.
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
    """The body of `POST /jobs/{queue}`. Unknown keys are ignored (protocol.md M4), but unknown options are refused."""

    data: Any
    name: Annotated[str, Meta(min_length=1)] = DEFAULT_NAME
    # BullMQ does not accept every id of this form. This is checked later.
    job_id: Annotated[str, Meta(min_length=1, max_length=MAX_JOB_ID_BYTES)] | None = None
    opts: JobOptions | None = None


# ---- answers ----


class Links(Struct):
    """Paths on the same host that have more about the job."""

    job: str


class Submitted(Struct, rename="camel"):
    """The job was added. If `existing` is true, a job with this id existed before, and BullMQ did not change it.

    `existing` is absent if the client may not read the job. `token` is there if it was asked for, and allows
    reading this job.
    """

    queue: str
    job_id: str
    links: Links
    existing: bool | UnsetType = UNSET
    token: str | UnsetType = UNSET


class Acted(Struct, rename="camel"):
    """The action was done, on the job or on the queue.

    `failed` is there if the queue's failed jobs are being retried, and says how many there were.
    """

    queue: str
    job_id: str | UnsetType = UNSET
    failed: int | UnsetType = UNSET


class Whoami(Struct):
    """The holder of the request's token, what it allows, and when it expires (ms since 1970; null means never).

    `actions` says whether the bridge acts on jobs and queues at all: without keys it does so only if it is told to.
    """

    sub: str | None
    scope: str
    expires: int | None
    actions: bool


class Jobs(Struct):
    """The jobs with one id: one from each queue that has such a job."""

    jobs: list[JobSnapshot]


class WholeEvent(Struct, rename="camel"):
    """One event of a job, with all of its fields, whatever their size. Each field of the event is one more key."""

    event: str
    queue: str
    job_id: str


class Results(Struct):
    """One result per item of the request, in order."""

    results: list[Result]


class JobLogs(Struct, rename="camel"):
    """Log lines of one job, the oldest first.

    `first` is the index in Redis's list at which these lines begin, or would begin if there are none. `total` is the
    length of the list. `next` is the index after the last of these lines, or null at the end of the list.
    """

    queue: str
    job_id: str
    lines: list[str]
    first: int
    total: int
    next: int | None


class JobPage(Struct):
    """Jobs of one state. `cursor` asks for the next page; it is null on the last page."""

    jobs: list[JobSnapshot]
    cursor: str | None


class QueueStatus(Struct, rename="camel"):
    """What Redis has of a queue, and whether the bridge reads the queue.

    `found` is false while Redis has no key of the queue. `counts` are the numbers of jobs by state.
    `oldestWaitingSeconds` is for how long the job has been waiting that waits for longest, or null if none waits.
    `completedPerMinute` and `failedPerMinute` count the last minute, or are null if not all of it is known. `workers`
    is how many workers the queue has, or null if Redis does not tell. `events` is the
    length of the event stream, which BullMQ trims to about `maxEvents`. `retentionSeconds` is how far back the stream
    reaches, or null while nothing was trimmed. `problem` says why the bridge does not read the queue now, or is null if
    the bridge reads it.
    """

    queue: str
    found: bool
    paused: bool
    counts: dict[str, int]
    oldest_waiting_seconds: float | None
    completed_per_minute: int | None
    failed_per_minute: int | None
    workers: int | None
    events: int
    max_events: int
    retention_seconds: float | None
    problem: str | None


class QueueList(Struct):
    """Queues of the bridge, sorted by their labels. `cursor` asks for the next page; it is null on the last page."""

    queues: list[QueueStatus]
    cursor: str | None


class Readiness(Struct, omit_defaults=True):
    """Whether the bridge reads every queue.

    `problems` has a sentence for each queue that is not read, by label, and at `*` for the bridge as a whole. It has
    100 entries at most; `more` is the number of the others.
    """

    ready: bool
    problems: dict[str, str]
    more: int | UnsetType = UNSET


class Problem(Struct):
    """An error (RFC 9457). `code` is for programs, and `detail` is a sentence for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class LineError(Struct, frozen=True):
    """Why a record was not written. `line` is its line or its place in the list, counted from 1."""

    line: int
    code: str
    message: str


class LogsAccepted(Struct, frozen=True):
    """How many records were written, and how many were refused. `errors` has the first 100 refusals."""

    accepted: int
    rejected: int
    errors: list[LineError]
