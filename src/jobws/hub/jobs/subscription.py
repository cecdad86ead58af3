"""One subscription of one connection: what is held for it, what it was told of its job, and what it is owed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from jobws.protocol.identifiers import is_after

if TYPE_CHECKING:
    from collections.abc import Collection

    from jobws.bullmq.events import Kind
    from jobws.hub.jobs.rooms import Rooms
    from jobws.hub.outbox import Outbox
    from jobws.protocol.request_types import SubscriptionRequest

# In `Subscription.job_states`, an outcome of a stream in which a hole was found since: a later one may have been in the
# hole. It lies below every id that Redis gives.
DOUBTED: Final = b"0-0"


class BufferedEvent(NamedTuple):
    """An event, or a gap, that waits until what comes before it was sent: what is read back, or log lines.

    Attributes:
        kind: What happened; None: it is a gap, and `tail` its whole frame.
        queue: The label.
        position: Its `id`, unless an outcome is owed when it is sent.
        tail: What its frame has in common with those of other subscriptions; see `codec.tail_of`.
        replayed: Whether it was read back itself: it comes from the job's hash.
    """

    kind: Kind | None
    queue: str
    position: bytes
    tail: bytes
    replayed: bool


class Subscriber(Protocol):
    """Who can be in a room: `hub.jobs.client.JobClient`."""

    outbox: Outbox

    def leave(self, subscription: Subscription) -> None:
        """See `JobClient.leave`."""
        ...

    def owe(self, subscription: Subscription, queue: str) -> None:
        """See `JobClient.owe`."""
        ...


class Subscription:
    """One subscription of one connection.

    Attributes:
        acked: Whether it was answered. From then on it is in its room.
        held: What happened since, while something is to be sent before that; None: nothing is, so events go out as they
            happen.
        job_states: What is known of the job, by queue: None while it lives, else the stream id up to which its outcome
            is settled, or DOUBTED. A queue that is missing was not seen to have the job; `see` adds one.
        delivered: By queue, when the outcome finished that the client has from the job's hash, or does not get, as
            `finished_text` gives it; None: there are none.
        owed: The queues that have an outcome to send which the stream does not have; None: there are none.
        had: By queue, up to which stream id the client has everything, though this bridge has not read that far yet: it
            comes from a faster one. None: there are none.
        left: Whether it is over.
    """

    __slots__ = ("_rooms", "acked", "connection", "delivered", "had", "held", "job_states", "left", "owed", "request")

    def __init__(self, connection: Subscriber, request: SubscriptionRequest, rooms: Rooms) -> None:
        self._rooms = rooms
        self.connection = connection
        self.request = request
        self.acked = False
        self.held: list[BufferedEvent] | None = None
        self.job_states: dict[str, bytes | None] = {}
        self.delivered: dict[str, str] | None = None
        self.owed: set[str] | None = None
        self.had: dict[str, bytes] | None = None
        self.left = False

    @property
    def queues(self) -> Collection[str]:
        """The queue that it names, or those that were seen to have the job."""
        named = self.request.room.queue
        return self.job_states.keys() if named is None else {named}

    def see(self, queue: str, settled_by: bytes | None = None) -> bytes | None:
        """The queue has the job: what is known of its life there, which is `settled_by` if nothing was known."""
        if queue not in self.job_states:
            self.job_states[queue] = settled_by
            if self.acked and not self.left:
                self._rooms.found(self, queue)
        return self.job_states[queue]

    @property
    def has_outcome(self) -> bool:
        """Whether the job has its outcome, in every queue that has the job, and the client was sent it."""
        ended = bool(self.job_states) and None not in self.job_states.values()
        return ended and self.acked and self.held is None and not self.owed

    def was_delivered(self, queue: str, finished: str) -> bool:
        """Whether the client has the outcome that finished then, or is not to be told it."""
        return self.delivered is not None and self.delivered.get(queue) == finished

    def has(self, queue: str, stream_id: bytes) -> bool:
        """Whether the client has that event from a faster bridge."""
        at = None if self.had is None else self.had.get(queue)
        return at is not None and not is_after(stream_id, at)

    def settle(self, queue: str, end: str, finished: str) -> None:
        """The hash's outcome was told, or need not be: nothing up to the stream id `end` is news."""
        self.see(queue)
        self.job_states[queue] = end.encode()
        self.note_delivered(queue, finished)

    def note_delivered(self, queue: str, finished: str) -> None:
        """The client has the outcome that finished then, or is not to be told it."""
        self.delivered = {**(self.delivered or {}), queue: finished}

    def pay(self, queue: str) -> None:
        """Say that no outcome of that queue is owed any more."""
        if self.owed:
            self.owed.discard(queue)
