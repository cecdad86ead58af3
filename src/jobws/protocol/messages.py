"""One Struct per wire message of jobws.v1: what a client may ask, and what the server says.

Requests are produced by `requests.parse_request`, which checks everything, so a request that exists is valid. Server
messages are what `codec.encode` turns into a frame; job events alone are spliced from raw JSON (`codec.job_event`).
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

from jobws.protocol.job_line_position import JobLinePositions

PROTOCOL: Final = "jobws.v1"

Ref: TypeAlias = str | int
Cursor: TypeAlias = dict[str, str]
"""By queue label, the stream id up to which its entries were read, or sent."""

DEFAULT_EVENTS: Final = frozenset({"completed", "failed", "removed"})
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


class Room(Struct, frozen=True):
    """What a subscription is about.

    `queue` is a label, or None for every queue; `job_id` is None for a whole queue. Never both None.
    """

    queue: str | None
    job_id: str | None


# ---- client → server ----


class Subscription(Struct, frozen=True):
    """One subscription as asked for.

    `events` is None for all events; `until_end` leaves after the outcome. `after` are the positions behind which every
    event is wanted, by queue (a queue that is missing: from its oldest entry on); None: the outcome is enough. `logs`
    are the positions behind which log lines are wanted; None: none are.
    """

    room: Room
    events: frozenset[str] | None = DEFAULT_EVENTS
    until_end: bool = False
    after: Cursor | None = None
    logs: JobLinePositions | None = None

    def chooses(self, event: str) -> bool:
        """Whether the client wants events of that name."""
        return self.events is None or event in self.events


class ItemError(Struct, frozen=True):
    """Why one item of a request, or a whole request, was refused."""

    code: str
    message: str


class Subscribe(Struct, frozen=True):
    """`subscribe-job` and `subscribe-queue`. `many`: the answer lists one result per item, in order."""

    event: str
    items: tuple[Subscription | ItemError, ...]
    many: bool
    ref: Ref | None


class Unsubscribe(Struct, frozen=True):
    """`unsubscribe-job` and `unsubscribe-queue`."""

    event: str
    items: tuple[Room | ItemError, ...]
    many: bool
    ref: Ref | None


class Ping(Struct, frozen=True):
    """The client's own check that the bridge is alive and listening to it."""

    ref: Ref | None


Request: TypeAlias = Subscribe | Unsubscribe | Ping


# ---- server → client ----


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

    Times are epoch milliseconds of the clock of whoever wrote them (producer or worker). `progress` is JSON as the
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


class RoomName(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A room as a client names it."""

    job_id: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET


class Result(Struct, rename="camel", frozen=True, omit_defaults=True):
    """What became of one item of a list.

    `replays` is how many events from before the answer follow: read back, or held until now. `gap`: events behind
    `after` may be missing. `ambiguous`: several queues know the id, so only outcomes of the last 60 s are replayed.
    `unknown_queue`: the queue that it names is not there yet.
    """

    jobs: list[JobSnapshot] | UnsetType = UNSET
    left: bool | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET
    replays: int | UnsetType = UNSET
    gap: bool | UnsetType = UNSET
    ambiguous: bool | UnsetType = UNSET
    unknown_queue: bool | UnsetType = UNSET


class AckData(Struct, rename="camel", frozen=True, omit_defaults=True):
    """Which request is answered, and with what: the keys of `Result` for one item, `results` for a list.

    `evicted` names the rooms that were left to make place for new ones. `cursor` is where the subscription begins:
    what comes behind this frame has higher ids.
    """

    request: str
    jobs: list[JobSnapshot] | UnsetType = UNSET
    left: bool | UnsetType = UNSET
    replays: int | UnsetType = UNSET
    gap: bool | UnsetType = UNSET
    ambiguous: bool | UnsetType = UNSET
    unknown_queue: bool | UnsetType = UNSET
    results: list[Result] | UnsetType = UNSET
    evicted: list[RoomName] | UnsetType = UNSET
    cursor: Cursor | UnsetType = UNSET


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
    """`cursor`: every event of acknowledged subscriptions up to there was sent before this frame."""

    cursor: Cursor


class Pong(Struct, tag_field="event", tag="pong", frozen=True, omit_defaults=True):
    """The answer to `ping`."""

    data: PongData
    ref: Ref | UnsetType = UNSET


class GapData(Struct, frozen=True):
    """Events of `queue` may be missing: for the subscriptions to `jobs`, or to any of its jobs if that is None.

    `reason`: `trimmed`, the stream was cut before all was read; `recreated`, it began anew; `ahead`, it went back to
    an earlier state.
    """

    queue: str
    reason: str
    jobs: list[str] | None
    cursor: Cursor


class Gap(Struct, tag_field="event", tag="gap", frozen=True):
    """Something may be missing; outcomes are made up for by what follows."""

    data: GapData


class JobLogData(Struct, rename="camel", frozen=True, omit_defaults=True):
    """Lines that a worker wrote with `job.log()`, for a subscription that asked for them.

    `first` is the number of the first one since the list began, as far as is known; `position` is where to go on behind
    the last one. `anywhere`: the subscription is the one without a queue. `gap`: lines before the first one may be
    missing, and numbers begin anew. `truncated`: a line was cut.
    """

    queue: str
    job_id: str
    lines: list[str]
    first: int
    position: str
    anywhere: bool | UnsetType = UNSET
    gap: bool | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET


class JobLog(Struct, tag_field="event", tag="job-log", frozen=True):
    """Log lines of a job."""

    data: JobLogData


ServerMessage: TypeAlias = Hello | Ack | Error | Pong | Gap | JobLog


def echoed(ref: Ref | None) -> Ref | UnsetType:
    """The `ref` of an answer to a request that had this one, or none."""
    return UNSET if ref is None else ref


def name_room(room: Room) -> RoomName:
    """`room` in the words of the wire."""
    return RoomName(
        job_id=UNSET if room.job_id is None else room.job_id,
        queue=UNSET if room.queue is None else room.queue,
    )
