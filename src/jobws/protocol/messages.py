"""The server's messages in the protocol jobws.v1: a Struct for each, except for job events.

`codec.encode` turns them into frames. Only the frames of job events and of jobs' log lines are joined from existing
JSON (`codec.job_frame`). The requests of clients are in `request_types`.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

PROTOCOL: Final = "jobws.v1"

Ref: TypeAlias = str | int
Sub: TypeAlias = str | int
"""The name of a subscription, which the client chooses."""
Cursor: TypeAlias = dict[str, str]
"""By queue label, the stream id up to which entries were read, or sent."""

# After each of these a job has ended: it completed, finally failed, or was removed.
OUTCOMES: Final = frozenset({"completed", "failed", "removed"})


class ItemError(Struct, frozen=True):
    """Why one item of a request, or a whole request, was refused."""

    code: str
    message: str


class Limits(Struct, rename="camel", frozen=True):
    """The limits for a client. Sizes are bytes of JSON text."""

    max_message: int
    """The largest message that the server accepts. A larger one ends the connection with 1009."""
    max_frame: int
    """The largest message that the server sends. A client sets its receive limit to this."""
    max_subscriptions: int
    """How many subscriptions a connection may have, and how many items a list."""


NAMED_QUEUES: Final = 100
"""How many queues `hello`, `/readyz` and `/metrics` name, and how many `GET /queues` returns by default."""


class HelloData(Struct, rename="camel", frozen=True):
    """The data of `hello`.

    `heartbeat` is the interval of the server's WebSocket pings in seconds. `queues` are the labels of up to 100 queues
    that the client may see: first those of the bridge's settings, then others in the order in which it found them.
    `without_events` are the labels among them whose event stream is switched off (`maxLen: 0`). Of jobs in these
    queues, clients get only the outcomes, up to a second late. `queue_count` is how many queues the client may see.
    `auth` is true if the client must send `authenticate` before any other request; `hello` then names no queues.
    """

    protocol: str
    server: str
    heartbeat: float
    limits: Limits
    queues: tuple[str, ...] | UnsetType = UNSET
    without_events: tuple[str, ...] | UnsetType = UNSET
    queue_count: int | UnsetType = UNSET
    auth: bool | UnsetType = UNSET


class Hello(Struct, tag_field="event", tag="hello", frozen=True):
    """The first frame that the bridge sends over each connection."""

    data: HelloData


class Tree(Struct, frozen=True):
    """How many jobs are below a job in its flow: that completed, that failed, and all together."""

    done: int
    failed: int
    total: int


class JobSnapshot(Struct, rename="camel", frozen=True, omit_defaults=True):
    """The state of a job in Redis, up to the stream id `at`, which is null if the queue has no events yet.

    Times are in milliseconds since 1970, on the clock of the producer or worker that wrote them. `progress` is JSON as
    the worker gave it. `truncated` is true if a value was too large for a snapshot and is cut or left out. `href` is
    the path of the event that has the result, if the job is gone and the result was too large for the answer. `tree`
    is there only if `children` was asked for, and counts only jobs that the client may read.
    """

    queue: str
    job_id: str
    name: str
    state: str
    at: str | None
    attempts_made: int | UnsetType = UNSET
    timestamp: float | UnsetType = UNSET
    processed_on: float | UnsetType = UNSET
    finished_on: float | UnsetType = UNSET
    progress: Raw | UnsetType = UNSET
    returnvalue: Raw | UnsetType = UNSET
    """Only over HTTP, as what follows: on the WebSocket, the outcome's event has the result."""
    failed_reason: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    stacktrace: Raw | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET
    href: str | UnsetType = UNSET
    tree: Tree | UnsetType = UNSET


class Evicted(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A subscription that was ended to make room for a new one: its name, job id and queue as the client gave them."""

    sub: Sub | UnsetType = UNSET
    job_id: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET


class Result(Struct, rename="camel", frozen=True, omit_defaults=True):
    """The answer to one item of a list.

    `jobs` are the snapshots of the item's job, one from each queue that has it. `left` says whether there was a
    subscription to end, in the answer to `unsubscribe-…`. `error` says why the item was refused. If `unknown` is true,
    no past event follows, and no queue has the job. There is one exception: if the request had `"until": "end"`, a
    queue may have the job, but the job has ended there and its outcome is not sent, since the client has it, or since
    it is too old (see `ambiguous`). If `gap` is true, events after the `after` of the request may be missing. If
    `ambiguous` is true, several queues have the id, so without `after` only outcomes of the last 60 s are sent. If
    `unknownQueue` is true, the queue of the item does not exist yet. `after` is where the subscription begins, as far
    as this differs from the ack's common `after`.
    """

    jobs: list[JobSnapshot] | UnsetType = UNSET
    left: bool | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET
    unknown: bool | UnsetType = UNSET
    gap: bool | UnsetType = UNSET
    ambiguous: bool | UnsetType = UNSET
    unknown_queue: bool | UnsetType = UNSET
    after: Cursor | UnsetType = UNSET


class AckData(Struct, rename="camel", frozen=True, omit_defaults=True):
    """The data of an ack.

    If the request has one item, the ack has the keys of `Result`. If it has a list, `results` has a `Result` for each.

    `request` names the request. `evicted` names the subscriptions that were ended to make room for new ones. `after`
    has the positions at which the subscriptions begin: all their later frames come after these.
    """

    request: str
    jobs: list[JobSnapshot] | UnsetType = UNSET
    left: bool | UnsetType = UNSET
    unknown: bool | UnsetType = UNSET
    gap: bool | UnsetType = UNSET
    ambiguous: bool | UnsetType = UNSET
    unknown_queue: bool | UnsetType = UNSET
    results: list[Result] | UnsetType = UNSET
    evicted: list[Evicted] | UnsetType = UNSET
    after: Cursor | UnsetType = UNSET


class Ack(Struct, tag_field="event", tag="ack", frozen=True, omit_defaults=True):
    """The answer to a request that succeeded."""

    data: AckData
    ref: Ref | UnsetType = UNSET


class AuthenticatedData(Struct, rename="camel", frozen=True):
    """The data of the ack of `authenticate`. `request` is always `authenticate`.

    `expires` is when the token expires, in epoch milliseconds; null for never. The other keys are those of `hello`.
    """

    request: str
    expires: int | None
    queues: tuple[str, ...]
    queue_count: int
    without_events: tuple[str, ...] | UnsetType = UNSET


class Authenticated(Struct, tag_field="event", tag="ack", frozen=True, omit_defaults=True):
    """The answer to `authenticate` with a token that is accepted. The new token's rights apply to all later frames."""

    data: AuthenticatedData
    ref: Ref | UnsetType = UNSET


class ExpiringData(Struct, frozen=True):
    """The data of `expiring`. `expires` is when the token expires, in epoch milliseconds."""

    expires: int


class Expiring(Struct, tag_field="event", tag="expiring", frozen=True):
    """The token of the connection expires soon: the client should send `authenticate` with a new one."""

    data: ExpiringData


class EndedData(Struct, rename="camel", frozen=True, omit_defaults=True):
    """The data of `ended`: the queue and the job id of the subscription, as its client named them, and why it ended."""

    code: str
    message: str
    queue: str | UnsetType = UNSET
    job_id: str | UnsetType = UNSET


class SubscriptionEnded(Struct, tag_field="event", tag="ended", frozen=True, kw_only=True, omit_defaults=True):
    """A subscription has ended, since the new token of the connection does not allow it. Nothing of it follows."""

    sub: Sub | UnsetType = UNSET
    data: EndedData


class ErrorData(Struct, frozen=True, omit_defaults=True):
    """The data of `error`: why a request was refused. `request` names the request, if the name could be read."""

    code: str
    message: str
    request: str | UnsetType = UNSET


class Error(Struct, tag_field="event", tag="error", frozen=True, omit_defaults=True):
    """The answer to a request that was refused, or to a frame that was not a request."""

    data: ErrorData
    ref: Ref | UnsetType = UNSET


class PongData(Struct, frozen=True):
    """The data of `pong`.

    Every event of acknowledged subscriptions up to the positions in `after` was sent before this frame.
    """

    after: Cursor


class Pong(Struct, tag_field="event", tag="pong", frozen=True, omit_defaults=True):
    """The answer to `ping`, with positions. A client that follows a flow of jobs gets it without asking, too."""

    data: PongData
    ref: Ref | UnsetType = UNSET


class GapData(Struct, frozen=True):
    """The data of `gap`: events of `queue` may be missing, of these `jobs`, or of any job if `jobs` is None.

    `reason` is `trimmed` if entries were trimmed before they were read, `recreated` if the stream was deleted and began
    again, and `ahead` if the stream went back to an earlier state.
    """

    queue: str
    reason: str
    jobs: list[str] | None


class Gap(Struct, tag_field="event", tag="gap", frozen=True, kw_only=True, omit_defaults=True):
    """Events may be missing here. Missed outcomes are sent after this frame.

    If `sub` is set, the gap concerns only this subscription.
    """

    sub: Sub | UnsetType = UNSET
    data: GapData


class JobLogData(Struct, rename="camel", frozen=True, omit_defaults=True):
    """The data of `job-log`: lines that a worker wrote with `job.log()`, for a subscription that asked for them.

    `first` is the number of the first of these lines: how many lines came before it. Lines that were trimmed before the
    list was first read for the client do not count. `position` is where the subscription continues after the last line.
    If `gap` is true, lines before the first one may be missing, and the numbers begin again: `first` is then an index
    in the present list. When the bridge finds the list empty, as after `clearLogs`, the numbers begin again from 0,
    without `gap`. If `truncated` is true, a line was cut.
    """

    queue: str
    job_id: str
    lines: list[str]
    first: int
    position: str
    gap: bool | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET


ServerMessage: TypeAlias = Hello | Ack | Authenticated | Expiring | SubscriptionEnded | Error | Pong | Gap
