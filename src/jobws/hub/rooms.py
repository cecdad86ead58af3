"""Who wants which job or queue.

A room is all memberships of one (queue or none, job id) or of one whole queue. Looking one up costs one hash look-up
for an event that nobody wants, however many rooms there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobws.bullmq.events import Kind
    from jobws.hub.outbox import Outbox
    from jobws.protocol.messages import Subscription

# In `Membership.lives`, an outcome of a stream in which a hole was found since: a later one may have been in the hole.
# It lies below every id that Redis gives.
DOUBTED: Final = b"0-0"


class Held(NamedTuple):
    """An event that waits until what comes before it was sent: what is read back, or log lines.

    Attributes:
        kind: What happened.
        queue: The label.
        position: Its `id`, unless an outcome is owed when it is sent.
        tail: What its frame has in common with those of other subscriptions; see `codec.tail_of`.
        replayed: Whether it was read back itself: it comes from the job's hash.
    """

    kind: Kind
    queue: str
    position: bytes
    tail: bytes
    replayed: bool


class Member(Protocol):
    """Who can be in a room: `hub.connection.Connection`."""

    outbox: Outbox

    def leave(self, membership: Membership) -> None:
        """See `Connection.leave`."""
        ...

    def owe(self, membership: Membership, queue: str) -> None:
        """See `Connection.owe`."""
        ...


class Membership:
    """One subscription of one connection.

    Attributes:
        acked: Whether it was answered. From then on it is in its room.
        held: What happened since, while something is to be sent before that; None: nothing is, so events go out as they
            happen.
        lives: What is known of the job, by queue: None while it lives, else the stream id up to which its outcome is
            settled, or DOUBTED. A queue that is missing was not seen to have the job.
        told: By queue, when the outcome finished that the client has from the job's hash, or that it is not to be told,
            as `finished_text` gives it; None: there are none.
        owed: The queues of which an outcome is to be sent that the stream does not have; None: there are none.
        left: Whether it is over.
    """

    __slots__ = ("acked", "connection", "held", "left", "lives", "owed", "subscription", "told")

    def __init__(self, connection: Member, subscription: Subscription) -> None:
        self.connection = connection
        self.subscription = subscription
        self.acked = False
        self.held: list[Held] | None = None
        self.lives: dict[str, bytes | None] = {}
        self.told: dict[str, str] | None = None
        self.owed: set[str] | None = None
        self.left = False

    @property
    def delivered(self) -> bool:
        """Whether the job has its outcome, in every queue that has the job, and the client was sent it."""
        ended = bool(self.lives) and None not in self.lives.values()
        return ended and self.acked and self.held is None and not self.owed

    def was_told(self, queue: str, finished: str) -> bool:
        """Whether the client has the outcome that finished then, or is not to be told it."""
        return self.told is not None and self.told.get(queue) == finished

    def settle(self, queue: str, end: str, finished: str) -> None:
        """The hash's outcome was told, or need not be: nothing up to the stream id `end` is news."""
        self.lives[queue] = end.encode()
        self.tell(queue, finished)

    def tell(self, queue: str, finished: str) -> None:
        """The client has the outcome that finished then, or is not to be told it."""
        self.told = {**(self.told or {}), queue: finished}

    def pay(self, queue: str) -> None:
        """Nothing is owed of that queue any more."""
        if self.owed:
            self.owed.discard(queue)


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
        """Those of them that the queue was seen to have, or is said to have, and whose outcome some member misses."""
        return [
            job_id.decode()
            for job_id, rooms in self.jobs.items()
            if any(member.lives.get(queue) is None for member in rooms.by_queue.get(queue, ()))
            or any(queue in member.lives and member.lives[queue] is None for member in rooms.anywhere)
        ]

    def members(self, queue: str) -> Iterator[Membership]:
        """All that want something of a queue. No room may change meanwhile."""
        yield from self.whole_queue(queue)
        for rooms in self.jobs.values():
            yield from rooms.anywhere
            yield from rooms.by_queue.get(queue, _NOBODY)

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
