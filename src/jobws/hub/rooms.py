"""Who wants which job or queue.

A room is all memberships of one (queue or none, job id) or of one whole queue. Looking one up costs one hash look-up
for an event that nobody wants, however many rooms there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.hub.outbox import Outbox
    from jobws.protocol.codec import Frame
    from jobws.protocol.messages import Subscription


class Held:
    """An event that waits for a subscription's ack.

    Memberships of one connection share it, so that it is sent once: `sharers` counts those that still hold it.
    """

    __slots__ = ("delivered", "event", "frame", "sharers")

    def __init__(self, event: str, frame: Frame) -> None:
        self.event = event
        self.frame = frame
        self.sharers = 1
        self.delivered = False


class Member(Protocol):
    """Who can be in a room: `hub.connection.Connection`. Its `leave` ends a membership."""

    outbox: Outbox

    def leave(self, membership: Membership) -> None:
        """See `Connection.leave`."""
        ...


class Membership:
    """One connection's subscription to one room.

    Attributes:
        held: While the subscription is pending, the events that came since; None once it is live.
        ended: Whether an outcome of the job's present life was seen.
        left: Whether it is over: the client left, or asked again for the same room.
    """

    __slots__ = ("connection", "ended", "held", "left", "subscription")

    def __init__(self, connection: Member, subscription: Subscription) -> None:
        self.connection = connection
        self.subscription = subscription
        self.held: list[Held] | None = []
        self.ended = False
        self.left = False


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
