"""A subscription of one client, with the events that it holds back and what is known of its job."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from jobws.protocol.codec import parent_of
from jobws.protocol.identifiers import is_after

if TYPE_CHECKING:
    from collections.abc import Collection

    from jobws.bullmq.events import Kind
    from jobws.hub.job_log.followers import JobLogs
    from jobws.hub.jobs.flow import Flow
    from jobws.hub.jobs.missed import Owed
    from jobws.hub.jobs.rooms import Rooms
    from jobws.hub.outbox import Outbox
    from jobws.protocol.messages import Cursor
    from jobws.protocol.request_types import Sight, SubscriptionKey, SubscriptionRequest


class Alive(Enum):
    """The one value `ALIVE`, for jobs that have not ended. Their next outcome is to be sent."""

    ALIVE = "alive"


class JobEnded(Struct, frozen=True, gc=False):
    """The state of a job that has ended.

    Attributes:
        up_to: Outcomes up to this stream id were sent, or need not be.
    """

    up_to: bytes


JobState: TypeAlias = Alive | JobEnded
ALIVE: Final = Alive.ALIVE
# The job has ended, and then a hole was found in the stream, in which a later outcome may have been. The id is lower
# than every id that Redis gives.
DOUBTED: Final = JobEnded(b"0-0")


class BufferedEvent(NamedTuple):
    """An event or a gap that a subscription holds back until it has got older events, or log lines.

    Attributes:
        kind: The kind of the event. None means that this is a gap.
        queue: The queue's label.
        position: The `id` of the frame. None if an outcome was owed, or might be missing, when the event happened: with
            an `id`, the client might return after this event without having got that outcome. `Fanout.send` may leave
            the `id` out for the same reason.
        tail: The end of the event's frame, made by `codec.tail_of`. For a gap, it is the whole frame.
        replayed: Whether the event is an outcome that was made from the job's hash.
    """

    kind: Kind | None
    queue: str
    position: bytes | None
    tail: bytes
    replayed: bool


class Subscriber(Protocol):
    """The owner of subscriptions. `hub.jobs.client.JobClient` implements it."""

    outbox: Outbox

    def end(self, subscription: Subscription) -> None:
        """End a subscription; see `JobClient.end`."""
        ...

    def may_name_children(self, queue: str, job_id: str) -> bool:
        """Whether the client may learn which child of this job has failed."""
        ...

    def owe(self, subscription: Subscription, queue: str) -> None:
        """Have an outcome made from the job's hash and sent; see `JobClient.owe`."""
        ...


class Subscription:
    """One subscription of one client. The argument `sight` is all rights of the client, unlike the attribute `sight`.

    Attributes:
        in_room: Whether the subscription is in its room, one of `rooms`, so that it gets events.
        acked: Whether the subscription was answered. It is in its room before, and then holds events back.
        held: The events that wait until the subscription is answered, and while older events, or log lines, are read
            from Redis. None means that events do not wait: they are sent when they happen.
        job_states: What is known of the job, by queue that was seen to have it. `note_job_in` adds a queue.
        delivered: By queue, the `missed.finished_text` of the last outcome in the job's hash that was sent, or need not
            be sent. None means that there are none.
        owed: By queue, the outcome that is to be made from the job's hash. None means that there is none.
        ahead: By queue, the stream id up to which the client has all events, although this bridge has not read that
            far: the client comes from a faster bridge. None means that there are none.
        ended: Whether the subscription has ended.
        flow: The flow to which the subscription belongs; None if it belongs to none.
        parent: What frames say of the job above in the flow; see `codec.parent_of`. Empty if there is none.
        sight: The client's rights, if these exclude some events of the room: events of the job in some queues, or,
            for a whole queue, those without a job. None means that the subscription gets all events of its room.
    """

    __slots__ = (
        "_rooms",
        "acked",
        "ahead",
        "client",
        "delivered",
        "ended",
        "flow",
        "held",
        "in_room",
        "job_states",
        "owed",
        "parent",
        "request",
        "sight",
    )

    def __init__(self, client: Subscriber, request: SubscriptionRequest, rooms: Rooms, sight: Sight) -> None:
        self._rooms = rooms
        self.client = client
        self.sight = limiting_sight(request.key, sight)
        self.request = request
        self.in_room = False
        self.acked = False
        self.held: list[BufferedEvent] | None = None
        self.job_states: dict[str, JobState] = {}
        self.delivered: dict[str, str] | None = None
        self.owed: dict[str, Owed] | None = None
        self.ahead: dict[str, bytes] | None = None
        self.ended = False
        self.flow: Flow | None = None
        above = None if request.child_of is None else request.child_of.parent
        self.parent = b"" if above is None else parent_of(above.queue or "", above.job_id or "")

    def queues(self, labels: Collection[str]) -> Collection[str]:
        """Return the queue that the subscription names, or else the queues that were seen to have its job.

        For a subscription to every queue, these are those of `labels` whose events it gets.
        """
        key = self.request.key
        if key.queue is not None:
            return {key.queue}
        return sorted(self.among(labels)) if key.job_id is None else self.job_states.keys()

    def gets_events_of(self, queue: str) -> bool:
        """Whether the subscription gets events of this queue.

        It does if it names the queue, or if it names no queue and the client may read its job in this one. If it is to
        the numbers of every queue alone, it does if the client may read the counts of this one.
        """
        key = self.request.key
        if key.queue is not None:
            return key.queue == queue
        if self.sight is None:
            return True
        return self.sight.reads_queue(queue) if self.request.is_stats_only else self.sight.may_read(queue, key.job_id)

    def reads(self, queue: str) -> bool:
        """Whether the client has a right to the queue's numbers, and to its events without a job, such as `drained`."""
        return self.sight is None or self.sight.reads_queue(queue)

    def gets(self, queue: str, job_id: bytes | None) -> bool:
        """Whether a subscription to a whole queue gets an event of this job, or (empty, None) of the queue itself."""
        return self.gets_events_of(queue) and (bool(job_id) or self.reads(queue))

    def wants(self, queue: str, event: str, job_id: bytes | None, stream_id: bytes) -> bool:
        """Whether a subscription to a whole queue is to be sent an event with this name that happens now."""
        events = self.request.events
        return (
            (events is None or event in events)
            and (self.sight is None or self.gets(queue, job_id))
            and not (self.ahead is not None and self.is_ahead_of(queue, stream_id))
        )

    def among(self, labels: Collection[str]) -> Collection[str]:
        """Return the queues among `labels` whose events the subscription gets. It must name no queue.

        If it gets the events of all of them, this is the object `labels` itself, not a copy.
        """
        if self.sight is None:
            return labels
        if self.request.is_stats_only:
            return [label for label in labels if self.sight.reads_queue(label)]
        return self.sight.queues_of(self.request.key.job_id, labels)

    @property
    def after(self) -> Cursor:
        """The positions, by queue, that the client sent with its request. Empty if it sent none.

        If the subscription names no queue, positions in queues whose events it does not get are left out.
        """
        after = self.request.after or {}
        return after if self.sight is None else {queue: at for queue, at in after.items() if self.gets_events_of(queue)}

    def note_job_in(self, queue: str, state: JobState = ALIVE) -> JobState:
        """Note that the queue has the job, and return the job's state there.

        If `job_states` does not have the queue, it is added with `state`. Otherwise, `state` is ignored.
        """
        known = self.job_states.get(queue)
        if known is not None:
            return known
        self.job_states[queue] = state
        if self.in_room and not self.ended:
            self._rooms.found(self, queue)
        return state

    @property
    def has_outcome(self) -> bool:
        """Whether the job has ended in every queue that was seen to have it, and no outcome is left to send.

        False if no queue was seen to have the job, or if the subscription was not answered, or belongs to a flow.
        """
        return self.has_ended and self.acked and self.held is None and not self.owed and self.flow is None

    @property
    def has_ended(self) -> bool:
        """Whether the job, not the subscription, has ended in every queue seen to have it. False if no queue was."""
        return bool(self.job_states) and ALIVE not in self.job_states.values()

    def was_delivered(self, queue: str, finished: str) -> bool:
        """Return whether the outcome with this `finished_text` was sent, or need not be sent."""
        return self.delivered is not None and self.delivered.get(queue) == finished

    def is_ahead_of(self, queue: str, stream_id: bytes) -> bool:
        """Return whether the client has the event `stream_id` from a bridge that had read further than this one."""
        at = None if self.ahead is None else self.ahead.get(queue)
        return at is not None and not is_after(stream_id, at)

    def note_outcome(self, queue: str, end: str, finished: str) -> None:
        """Note that the outcome in the job's hash was sent, or need not be sent.

        The job counts as ended. Outcomes in the stream up to the id `end` will not be sent. `finished` is the
        `finished_text` of the hash.
        """
        self.note_job_in(queue)
        self.job_states[queue] = JobEnded(end.encode())
        self.note_delivered(queue, finished)

    def note_delivered(self, queue: str, finished: str) -> None:
        """Note that the outcome of the time `finished` (see `finished_text`) was sent, or need not be sent."""
        self.delivered = {**(self.delivered or {}), queue: finished}

    def limit(self, sight: Sight | None, job_logs: JobLogs) -> None:
        """Replace `sight`, because the client has a new token.

        Queues that the new rights exclude are dropped, with the events and outcomes of them that the client has not got
        yet. `job_logs` stops following lines there. Of queues that the new rights add, the subscription gets the events
        that happen from now on.
        """
        if sight is self.sight:
            return
        if self.in_room:
            self._rooms.leave(self)
        self.sight = sight
        for queue in [each for each in self.job_states if not self.gets_events_of(each)]:
            del self.job_states[queue]
            self.clear_owed(queue)
        if self.held is not None:
            for each in self.held:
                if not self.gets_events_of(each.queue):
                    self.client.outbox.release(each.tail)
            self.held = [each for each in self.held if self.gets_events_of(each.queue)]
        if self.in_room:
            self._rooms.join(self)
        job_logs.limit(self)  # last, since this may send the held events

    def clear_owed(self, queue: str) -> None:
        """Note that no outcome in this queue is owed any more."""
        if self.owed:
            self.owed.pop(queue, None)
            if self.flow is not None:
                self.flow.change()


def limiting_sight(key: SubscriptionKey, sight: Sight) -> Sight | None:
    """Return the `Subscription.sight` for a subscription with this key of a client with these rights.

    It is None if nothing is left to check for each event: the right to the key was checked before.
    """
    if key.is_every_queue:
        gets_all = sight.reads_every_queue
    elif key.queue is None:
        gets_all = sight.reads_all or sight.reads_everywhere(key.job_id)
    else:
        gets_all = key.job_id is not None or sight.reads_queue(key.queue)
    return None if gets_all else sight
