"""Who wants which job or queue.

A room is all memberships of one (queue or none, job id) or of one whole queue. Looking one up costs one hash look-up
for an event that nobody wants, however many rooms there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from msgspec import UNSET, UnsetType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobws.hub.outbox import Outbox
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


class Membership:
    """One connection's subscription to one room.

    Attributes:
        held: While the subscription is pending, the events that came since; None once it is live.
        lives: What is known of the job, by queue: None while it lives, else the stream id up to which its outcome is
            settled, or ASSUMED. A queue that is missing was not seen to have the job.
        told: When the outcomes finished that were settled by the job's hash, by queue, in epoch milliseconds; None:
            none was.
        prepared: Whether what is to be replayed is known; until then its own look-up is still to come.
        left: Whether it is over: the client left, or asked again for the same room (then also `replaced`).
        on_leave: Told when it is over, as long as something is read back for it; must not wait.
    """

    __slots__ = ("connection", "held", "left", "lives", "on_leave", "prepared", "replaced", "subscription", "told")

    def __init__(self, connection: Member, subscription: Subscription) -> None:
        self.connection = connection
        self.subscription = subscription
        self.held: list[Held] | None = []
        self.lives: dict[str, bytes | None] = {}
        self.told: dict[str, float] | None = None
        self.prepared = False
        self.left = False
        self.replaced = False
        self.on_leave: Callable[[], None] | None = None

    @property
    def ended(self) -> bool:
        """Whether the job has its outcome, in every queue that has the job."""
        return bool(self.lives) and None not in self.lives.values()

    @property
    def over(self) -> bool:
        """Whether it ends by itself now: that was asked for, and the outcome was told, not only assumed to be known."""
        asked = self.subscription.until_end and self.held is None
        return asked and self.ended and ASSUMED not in self.lives.values()

    def settle(self, queue: str, end: str, finished_on: float | UnsetType) -> None:
        """The hash's outcome was told, or need not be: nothing up to the stream id `end` is news."""
        self.lives[queue] = end.encode()
        if finished_on is not UNSET:
            self.told = {**(self.told or {}), queue: finished_on}


# A dictionary is a set that keeps its order: the oldest member first, whatever the hashes are.
Members: TypeAlias = dict[Membership, None]


class JobRooms(NamedTuple):
    """The rooms of one job id: without a queue, and by queue."""

    anywhere: Members
    by_queue: dict[str, Members]


_NOBODY: Final[Mapping[Membership, None]] = {}


class Rooms:
    """All rooms. A room exists as long as it has a member.

    Attributes:
        jobs: Rooms by job id in UTF-8, as it stands in the stream.
    """

    def __init__(self) -> None:
        self.jobs: dict[bytes, JobRooms] = {}
        self._queues: dict[str, Members] = {}

    def whole_queue(self, queue: str) -> Mapping[Membership, None]:
        """The members that want every job of the queue."""
        return self._queues.get(queue, _NOBODY)

    def join(self, membership: Membership) -> None:
        """Make `membership` a member of its room."""
        room = membership.subscription.room
        if room.job_id is None:
            self._queues.setdefault(str(room.queue), {})[membership] = None
            return
        rooms = self.jobs.setdefault(room.job_id.encode(), JobRooms({}, {}))
        if room.queue is None:
            rooms.anywhere[membership] = None
        else:
            rooms.by_queue.setdefault(room.queue, {})[membership] = None

    def of_job(self, queue: str, job_id: str) -> list[Membership]:
        """The members that want that job of that queue."""
        rooms = self.jobs.get(job_id.encode())
        return [] if rooms is None else [*rooms.anywhere, *rooms.by_queue.get(queue, ())]

    def watched(self, queue: str) -> list[str]:
        """The jobs that somebody watches in a queue."""
        return [job_id.decode() for job_id, rooms in self.jobs.items() if rooms.anywhere or queue in rooms.by_queue]

    def unsettled(self, queue: str) -> list[str]:
        """Those of them that the queue was seen to have, or is said to have, and whose outcome some member lacks."""
        return [
            job_id.decode()
            for job_id, rooms in self.jobs.items()
            if any(member.lives.get(queue) is None for member in rooms.by_queue.get(queue, ()))
            or any(queue in member.lives and member.lives[queue] is None for member in rooms.anywhere)
        ]

    def concerned(self, queue: str) -> set[Member]:
        """The members that see a queue's events already: those with a live membership that it matters for."""
        groups = [self.whole_queue(queue)]
        for rooms in self.jobs.values():
            groups += (rooms.anywhere, rooms.by_queue.get(queue, _NOBODY))
        return {membership.connection for group in groups for membership in group if membership.held is None}

    def leave(self, membership: Membership) -> None:
        """End a membership that `join` began. Empty rooms vanish."""
        room = membership.subscription.room
        if room.job_id is None:
            _remove(self._queues, str(room.queue), membership)
            return
        job_id = room.job_id.encode()
        rooms = self.jobs[job_id]
        if room.queue is None:
            del rooms.anywhere[membership]
        else:
            _remove(rooms.by_queue, room.queue, membership)
        if not rooms.anywhere and not rooms.by_queue:
            del self.jobs[job_id]


def _remove(rooms: dict[str, Members], key: str, membership: Membership) -> None:
    members = rooms[key]
    del members[membership]
    if not members:
        del rooms[key]
