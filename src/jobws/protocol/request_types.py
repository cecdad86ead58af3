"""The requests of clients in the protocol jobws.v1: a Struct for each.

`requests.parse_request` makes these objects and checks everything, so a request that exists is valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from msgspec import Struct

from jobws.protocol.job_log_position import JobLogPositions
from jobws.protocol.messages import Cursor, ItemError, Ref, Sub
from jobws.protocol.queue_stats import QUEUE_STATS

if TYPE_CHECKING:
    from collections.abc import Collection, Container

DEFAULT_EVENTS: Final = frozenset({"completed", "failed", "removed"})


class Room(Struct, frozen=True):
    """What a subscription is to: a job, or a whole queue.

    `queue` is a label, or None for all queues. `job_id` is None for a whole queue. Both are None for all whole queues.
    """

    queue: str | None
    job_id: str | None

    @property
    def name(self) -> str:
        """What messages to people call it: the id of the job, the label of the queue, or `*`."""
        return self.job_id or self.queue or "*"

    @property
    def is_every_queue(self) -> bool:
        """Whether the subscription is to all whole queues."""
        return self.queue is None and self.job_id is None


class SubscriptionKey(Room, frozen=True):
    """What identifies a subscription within a connection: its room, and the name that the client gave it, or None."""

    sub: Sub | None = None


class ChildOf(Struct, frozen=True):
    """Where a job is in a flow that a client follows.

    Attributes:
        parent: The job above it.
        top: The job at the top, whose flow the client asked for.
        since: The position in the job's queue when the client's request was answered. Events after it are wanted, even
            if the job was not found until later. None means that `after` of the request says which events are.
    """

    parent: Room
    top: Room
    since: str | None = None


class SubscriptionRequest(Struct, frozen=True):
    """One subscription as a client asks for it, or as the bridge makes it for a job below in a flow.

    Attributes:
        key: What the subscription is to, and its name.
        events: The names of the wanted events; None for all.
        until_end: Whether the first outcome that is sent ends the subscription. If so, `events` includes the outcomes.
        after: By queue, the stream id after which every event is wanted. None means that past events except the outcome
            are not wanted.
        sent: By queue, the text after the `~` of a position in `after`. It says which outcome that was made from the
            job's hash the client has got. None if no position has such a text.
        logs: The positions after which log lines are wanted; None if no lines are.
        stats: Whether the numbers of the queue, `queue-stats`, are wanted. Only of a whole queue.
        children: Whether the jobs below the job in its flow are followed, too. Only of a job in a queue.
        child_of: Where the job is in a flow that the client follows; None if the client asked for this job itself.
    """

    key: SubscriptionKey
    events: frozenset[str] | None = DEFAULT_EVENTS
    until_end: bool = False
    after: Cursor | None = None
    sent: dict[str, str] | None = None
    logs: JobLogPositions | None = None
    stats: bool = False
    children: bool = False
    child_of: ChildOf | None = None

    @property
    def is_stats_only(self) -> bool:
        """Whether the numbers of the queue are all that is wanted."""
        return self.stats and self.events == frozenset({QUEUE_STATS})

    def chooses(self, event: str) -> bool:
        """Whether the client wants events of that name."""
        return self.events is None or event in self.events


class Subscribe(Struct, frozen=True):
    """The request `subscribe-job` or `subscribe-queue`. `many` means that the answer has one result per item.

    `items` can be iterated once, and each item is parsed then.
    """

    event: str
    items: Iterable[SubscriptionRequest | ItemError]
    many: bool
    ref: Ref | None


class Unsubscribe(Struct, frozen=True):
    """The request `unsubscribe-job` or `unsubscribe-queue`. `many` means that the answer has one result per item.

    `items` can be iterated once, and each item is parsed then.
    """

    event: str
    items: Iterable[SubscriptionKey | ItemError]
    many: bool
    ref: Ref | None


class Ping(Struct, frozen=True):
    """The request `ping`, with which a client asks whether the bridge is alive."""

    ref: Ref | None


class Authenticate(Struct, frozen=True):
    """The request `authenticate`: if the token is accepted, the client has the rights of this token from then on."""

    token: str
    ref: Ref | None


Request: TypeAlias = Subscribe | Unsubscribe | Ping


class Sight(Protocol):
    """The rights of a client: which jobs and which lines of the log it may read.

    A queue is named by its label. The answers do not depend on whether there is a queue with this label.
    `access.visible.IdentitySight` implements it.
    """

    @property
    def reads_all(self) -> bool:
        """Whether every job of every queue may be read."""
        ...

    def may_read(self, queue: str, job_id: str | None) -> bool:
        """Whether a job of the queue may be read, or (None) every job of the queue."""
        ...

    def reads_children(self, queue: str, job_id: str) -> bool:
        """Whether all jobs below this job in its flow may be followed, whatever their queues are."""
        ...

    def reads_somewhere(self, job_id: str | None) -> bool:
        """Whether there can be a queue in which the job of that id, or (None) every job, may be read."""
        ...

    def reads_everywhere(self, job_id: str | None) -> bool:
        """Whether the job of that id, or (None) every job, may be read in every queue."""
        ...

    def reads_queue(self, queue: str) -> bool:
        """Whether the queue's counts may be read, and events of the queue itself, such as `drained`."""
        ...

    @property
    def reads_a_queue(self) -> bool:
        """Whether `reads_queue` can be true for some queue."""
        ...

    @property
    def reads_every_queue(self) -> bool:
        """Whether every job may be read, and `reads_queue` is true for every queue."""
        ...

    def queues_of(self, job_id: str | None, labels: Collection[str]) -> Collection[str]:
        """Return those of `labels` in whose queues the job of that id, or (None) every job, may be read.

        If it may be read in every queue, this is the object `labels` itself, not a copy.
        """
        ...

    def may_read_lines(self, queue: str | None) -> bool:
        """Whether lines about jobs of the queue may be read, or (None) all lines, also those that name no queue."""
        ...

    @property
    def line_queues(self) -> frozenset[str] | None:
        """The queues about whose jobs lines of the log may be read. None means every queue.

        Lines that name no queue may be read only if `may_read_lines(None)` is true.
        """
        ...

    def container(self, labels: Container[str]) -> Container[str]:
        """Return a live view of those of `labels` that the client may know of. It supports `in`, but not iteration.

        The client may know of a queue if it may read some job in it, or its counts. A right to lines is not enough.
        """
        ...
