"""What the server says in jobws.v1, one Struct per message.

`codec.encode` turns each into a frame; job events and log lines alone are spliced from raw JSON (`codec.job_frame`).
`request_types` has what a client may ask.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

PROTOCOL: Final = "jobws.v1"

Ref: TypeAlias = str | int
Sub: TypeAlias = str | int
"""A subscription's name, which the client chooses."""
Cursor: TypeAlias = dict[str, str]
"""By queue label, the stream id up to which its entries were read, or sent."""

# After one of these a job has ended: it completed, finally failed, or is gone.
OUTCOMES: Final = frozenset({"completed", "failed", "removed"})
# Names that mean something else to our clients or to code written for socket.io: a custom event that is named like
# one travels as `custom:<name>`.
RESERVED_EVENTS: Final = frozenset(
    {
        *(
            "hello",
            "ack",
            "error",
            "gap",
            "pong",
            "ping",
            "expiring",
            "authenticate",
            "dropped",
            "job-log",
        ),
        *("queue-stats", "connect", "connect_error", "disconnect"),
    }
)


class ItemError(Struct, frozen=True):
    """Why one item of a request, or a whole request, was refused."""

    code: str
    message: str


class Limits(Struct, rename="camel", frozen=True):
    """What a client must stay within. Sizes in bytes of the JSON text."""

    max_message: int
    """Largest message that the server accepts; a larger one ends the connection with 1009."""
    max_frame: int
    """Largest message that the server sends: a client sets its receive limit from it."""
    max_subscriptions: int
    """Subscriptions per connection, and items per list."""


NAMED_QUEUES: Final = 100
"""Of how many queues `hello`, `/readyz` and `/metrics` name each, and `GET /queues` tells by default."""


class HelloData(Struct, rename="camel", frozen=True):
    """`heartbeat` is the interval of the server's WebSocket pings in seconds; `queues` are the first 100 labels.

    `without_events` are those of them whose event stream is switched off (`maxLen: 0`): of their jobs only the
    outcomes are told, up to a second late. `queue_count` is how many queues there are.
    """

    protocol: str
    server: str
    heartbeat: float
    limits: Limits
    queues: tuple[str, ...] | UnsetType = UNSET
    without_events: tuple[str, ...] | UnsetType = UNSET
    queue_count: int | UnsetType = UNSET


class Hello(Struct, tag_field="event", tag="hello", frozen=True):
    """Always the first frame."""

    data: HelloData


class JobSnapshot(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A job as its hash and sets say it is, up to the stream id `at` (None: its queue has no stream yet).

    Times are epoch milliseconds by the clock of their writer (producer or worker). `progress` is JSON as the
    worker gave it. `truncated` is true where a value was too large for a snapshot and is left out or cut.
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
    """Over HTTP only, as `failed_reason`: on the WebSocket the outcome event carries the result."""
    failed_reason: str | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET


class Evicted(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A subscription that was left to make place, as its client names it."""

    sub: Sub | UnsetType = UNSET
    job_id: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET


class Result(Struct, rename="camel", frozen=True, omit_defaults=True):
    """What became of one item of a list.

    `unknown`: nothing from before the answer follows, and no queue has the job. `gap`: events after the request's
    `after` may be missing. `ambiguous`: several queues know the id, so without `after` only outcomes of the last 60 s
    are sent. `unknown_queue`: the queue that it names is not there yet. `after` is where the subscription begins, as
    far as that is not what all have in common.
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
    """Which request is answered, and with what: the keys of `Result` for one item, `results` for a list.

    `evicted` names the subscriptions that were left to make place for new ones. `after` is where the subscriptions
    begin: everything of them that follows this frame comes after there.
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
    """The one answer to a request that was understood."""

    data: AckData
    ref: Ref | UnsetType = UNSET


class ErrorData(Struct, frozen=True, omit_defaults=True):
    """`request` names the request that is answered, where it could be read."""

    code: str
    message: str
    request: str | UnsetType = UNSET


class Error(Struct, tag_field="event", tag="error", frozen=True, omit_defaults=True):
    """The one answer to a request that was refused, or to a frame that was no request."""

    data: ErrorData
    ref: Ref | UnsetType = UNSET


class PongData(Struct, frozen=True):
    """`after`: every event of acknowledged subscriptions up to there was sent before this frame."""

    after: Cursor


class Pong(Struct, tag_field="event", tag="pong", frozen=True, omit_defaults=True):
    """The answer to `ping`."""

    data: PongData
    ref: Ref | UnsetType = UNSET


class GapData(Struct, frozen=True):
    """Events of `queue` may be missing: for the subscriptions to `jobs`, or to any of its jobs if that is None.

    `reason`: `trimmed`, the stream was cut before all was read; `recreated`, it began again; `ahead`, it went back to
    an earlier state.
    """

    queue: str
    reason: str
    jobs: list[str] | None


class Gap(Struct, tag_field="event", tag="gap", frozen=True, kw_only=True, omit_defaults=True):
    """Something may be missing; outcomes are made up for by what follows.

    `sub`: it concerns that subscription alone.
    """

    sub: Sub | UnsetType = UNSET
    data: GapData


class JobLogData(Struct, rename="camel", frozen=True, omit_defaults=True):
    """The data of `job-log`: lines that a worker wrote with `job.log()`, for a subscription that asked for them.

    `first` is the number of the first one since the list began, as far as is known; `position` is where to go on after
    the last one. `gap`: lines before the first one may be missing, and numbers begin again. `truncated`: one was cut.
    """

    queue: str
    job_id: str
    lines: list[str]
    first: int
    position: str
    gap: bool | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET


ServerMessage: TypeAlias = Hello | Ack | Error | Pong | Gap
