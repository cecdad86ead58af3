"""One Struct per wire message of jobws.v1: what a client may ask, and what the server says.

Requests are produced by `requests.parse_request`, which checks everything, so a request that exists is valid. Server
messages are what `codec.encode` turns into a frame; job events alone are spliced from raw JSON (`codec.job_event`).
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

PROTOCOL: Final = "jobws.v1"

Ref: TypeAlias = str | int

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
    """One subscription as asked for. `events` is None for all events; `until_end` leaves after the outcome."""

    room: Room
    events: frozenset[str] | None = DEFAULT_EVENTS
    until_end: bool = False


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


class HelloData(Struct, rename="camel", frozen=True):
    """`heartbeat` is the interval of the server's WebSocket pings in seconds; `queues` are labels."""

    protocol: str
    server: str
    heartbeat: float
    limits: Limits
    queues: tuple[str, ...] | UnsetType = UNSET


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


Cursor: TypeAlias = dict[str, str]


class RoomName(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A room as a client names it."""

    job_id: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET


class Result(Struct, frozen=True, omit_defaults=True):
    """What became of one item of a list."""

    jobs: list[JobSnapshot] | UnsetType = UNSET
    left: bool | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET


class AckData(Struct, frozen=True, omit_defaults=True):
    """Which request is answered, and with what: `jobs` or `left` for one item, `results` for a list.

    `evicted` names the rooms that were left to make place for new ones.
    """

    request: str
    jobs: list[JobSnapshot] | UnsetType = UNSET
    left: bool | UnsetType = UNSET
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


ServerMessage: TypeAlias = Hello | Ack | Error | Pong


def name_room(room: Room) -> RoomName:
    """`room` in the words of the wire."""
    return RoomName(
        job_id=UNSET if room.job_id is None else room.job_id,
        queue=UNSET if room.queue is None else room.queue,
    )
