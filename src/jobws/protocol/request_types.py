"""What a client may ask in jobws.v1, one Struct per request.

`requests.parse_request` produces them and checks everything, so a request that exists is valid.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

from jobws.protocol.job_line_position import JobLinePositions
from jobws.protocol.messages import Cursor, ItemError, Ref, Sub

DEFAULT_EVENTS: Final = frozenset({"completed", "failed", "removed"})


class Room(Struct, frozen=True):
    """What a subscription is about.

    `queue` is a label, or None for every queue; `job_id` is None for a whole queue. Never both None.
    """

    queue: str | None
    job_id: str | None


class Identity(Room, frozen=True):
    """What names one subscription of a connection: its room, and the name that the client gave it, if it did."""

    sub: Sub | None = None


class SubscriptionRequest(Struct, frozen=True):
    """One subscription as asked for.

    `events` is None for all events; with `until_end` outcomes are among them, and the first one that is sent ends the
    subscription. `after` are the stream ids after which every event is wanted, by queue; None: the outcome is enough.
    `sent` are what followed the `~` of positions in `after`: which outcomes the client has, though no event told them.
    `logs` are the positions after which log lines are wanted; None: none are.
    """

    room: Identity
    events: frozenset[str] | None = DEFAULT_EVENTS
    until_end: bool = False
    after: Cursor | None = None
    sent: dict[str, str] | None = None
    logs: JobLinePositions | None = None

    def chooses(self, event: str) -> bool:
        """Whether the client wants events of that name."""
        return self.events is None or event in self.events


class Subscribe(Struct, frozen=True):
    """`subscribe-job` and `subscribe-queue`. `many`: the answer lists one result per item, in order."""

    event: str
    items: tuple[SubscriptionRequest | ItemError, ...]
    many: bool
    ref: Ref | None


class Unsubscribe(Struct, frozen=True):
    """`unsubscribe-job` and `unsubscribe-queue`."""

    event: str
    items: tuple[Identity | ItemError, ...]
    many: bool
    ref: Ref | None


class Ping(Struct, frozen=True):
    """The client's own check that the bridge is alive and listening to it."""

    ref: Ref | None


Request: TypeAlias = Subscribe | Unsubscribe | Ping
