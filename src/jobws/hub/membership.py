"""One connection's subscription to one room: what is held for it, and what it was told of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from msgspec import UNSET, UnsetType

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from jobws.hub.outbox import Outbox
    from jobws.hub.rooms import Rooms
    from jobws.protocol.codec import Frame
    from jobws.protocol.messages import Subscription

# In `Membership.lives`, an outcome that nobody told: the client's position says that it had it. A hole that is found
# later may say otherwise, so it lies below every id that Redis gives.
ASSUMED: Final = b"0-1"


class Held:
    """An event that waits for a subscription's ack and replay. `stream_id` is None if it comes from the job's hash.

    Memberships of one connection share it, so that it is sent once: `sharers` counts those that still hold it.
    """

    __slots__ = ("delivered", "event", "frame", "queue", "sharers", "stream_id")

    def __init__(self, event: str, frame: Frame, queue: str, stream_id: bytes | None) -> None:
        self.event = event
        self.frame = frame
        self.queue = queue
        self.stream_id = stream_id
        self.sharers = 1
        self.delivered = False


class Member(Protocol):
    """Who can be in a room: `hub.connection.Connection`."""

    outbox: Outbox
    untold: set[str]

    def leave(self, membership: Membership) -> None:
        """See `Connection.leave`."""
        ...

    def tell_gap(self, gap: Frame, queue: str, position: str) -> None:
        """See `Connection.tell_gap`."""
        ...


class Membership:
    """One connection's subscription to one room.

    Attributes:
        held: While the subscription is pending, the events that came since; None once it is live.
        lives: What is known of the job, by queue: None while it lives, else the stream id up to which its outcome is
            settled, or ASSUMED. A queue that is missing was not seen to have the job; `see` adds one.
        told: When the outcomes finished that were settled by the job's hash, by queue, in epoch milliseconds; None:
            none was.
        prepared: Whether what is to be replayed is known; until then its own look-up is still to come.
        left: Whether it is over: the client left, or asked again for the same room (then also `replaced`).
        on_leave: Told when it is over, as long as something is read back for it; must not wait.
    """

    __slots__ = (
        *("_rooms", "connection", "held", "left", "lives", "on_leave", "prepared", "replaced", "subscription"),
        "told",
    )

    def __init__(self, connection: Member, subscription: Subscription, rooms: Rooms) -> None:
        self.connection = connection
        self.subscription = subscription
        self.held: list[Held] | None = []
        self.lives: dict[str, bytes | None] = {}
        self.told: dict[str, float] | None = None
        self.prepared = False
        self.left = False
        self.replaced = False
        self.on_leave: Callable[[], None] | None = None
        self._rooms = rooms

    @property
    def ended(self) -> bool:
        """Whether the job has its outcome, in every queue that has the job."""
        return bool(self.lives) and None not in self.lives.values()

    @property
    def over(self) -> bool:
        """Whether it ends by itself now: that was asked for, and the outcome was told, not only assumed to be known."""
        asked = self.subscription.until_end and self.held is None
        return asked and self.ended and ASSUMED not in self.lives.values()

    @property
    def queues(self) -> Collection[str]:
        """The queue that it names, or those that were seen to have the job."""
        named = self.subscription.room.queue
        return self.lives.keys() if named is None else {named}

    def see(self, queue: str, settled_by: bytes | None = None) -> bytes | None:
        """The queue has the job: what is known of its life there, which is `settled_by` if nothing was known."""
        if queue not in self.lives:
            self.lives[queue] = settled_by
            if not self.left:
                self._rooms.found(self, queue)
        return self.lives[queue]

    def settle(self, queue: str, end: str, finished_on: float | UnsetType) -> None:
        """The hash's outcome was told, or need not be: nothing up to the stream id `end` is news."""
        self.see(queue)
        self.lives[queue] = end.encode()
        if finished_on is not UNSET:
            self.told = {**(self.told or {}), queue: finished_on}

    def hold(self) -> None:
        """Hold events from now on, though it was live."""
        if self.held is None:
            self.held = []
            self._rooms.note_live(self, -1)

    def let_go(self) -> list[Held]:
        """Be live from now on; returns what was held."""
        held, self.held = self.held, None
        if held is None:
            return []
        self._rooms.note_live(self, 1)
        return held
