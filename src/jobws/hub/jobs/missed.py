"""What a subscription has missed and must still get: events that the stream has, and outcomes that only a hash has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET

from jobws.hub.jobs.subscription import ALIVE, DOUBTED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jobws.bullmq.events import Kind
    from jobws.hub.jobs.subscription import Subscription
    from jobws.protocol.messages import JobSnapshot, Result

FINISHED: Final = frozenset({"completed", "failed"})
"""The states in which a job's hash holds its outcome."""
# What a position has after `~` if the job is gone, or if its hash does not say when the job finished.
NEVER: Final = "0"


def finished_text(snapshot: JobSnapshot) -> str:
    """Return when a job finished, as text that is only compared for equality.

    If a job is retried or added again, its outcomes have different texts, since two of them never come in the same
    millisecond. The text is `0` if the hash does not say when the job finished.
    """
    return NEVER if snapshot.finished_on is UNSET else f"{snapshot.finished_on}"


def misses(
    subscription: Subscription, queue: str, snapshot: JobSnapshot | None, *, all_read: bool, without_events: bool
) -> bool:
    """Return whether the job's hash shows an outcome that the client did not get. If so, the caller must have it sent.

    The hash shows an outcome if the state is `completed` or `failed`, or if the hash of a living job has vanished. If
    the hash shows that the job is in this queue, or is alive again, the subscription's `job_states` is changed.

    Args:
        subscription: The acknowledged subscription to check.
        queue: The queue's label.
        snapshot: The contents of the hash. None means that there was no hash.
        all_read: Whether the stream was read up to the time of the snapshot. If not, a vanished hash does not count,
            since the event that explains it may still be unread.
        without_events: Whether the queue keeps no events, so that only its hashes show that a job is alive again.
    """
    if snapshot is None:
        return all_read and subscription.job_states.get(queue) is ALIVE
    state = subscription.note_job_in(queue)
    # The job may have been retried or added again, and have ended again, without an event that was read.
    doubted = state == DOUBTED or without_events
    if snapshot.state not in FINISHED:
        if doubted and all_read:
            subscription.job_states[queue] = ALIVE
        return False
    return (state is ALIVE or doubted) and not subscription.was_delivered(queue, finished_text(snapshot))


class Replay:
    """Past events of one queue that a subscription must get, in the order of their ids.

    Ids and kinds are two lists, which take only 16 bytes for each event: a client may ask for all events of a thousand
    jobs.

    Attributes:
        is_last: Whether this is the subscription's last replay, after which it gets events when they happen.
        index: The index of the next event to deliver.
    """

    __slots__ = ("index", "is_last", "kinds", "queue", "stream_ids", "subscription")

    def __init__(self, subscription: Subscription, queue: str, stream_ids: list[bytes], kinds: list[Kind]) -> None:
        self.subscription = subscription
        self.queue = queue
        self.stream_ids = stream_ids
        self.kinds = kinds
        self.is_last = False
        self.index = 0

    def __len__(self) -> int:
        return len(self.stream_ids)

    def open(self) -> None:
        """Find the events, if this was not done before. Call this before anything else is asked."""


class Owed(NamedTuple):
    """A subscription that must still get its job's outcome in a queue.

    The outcome is made from the job's hash: the stream no longer has the event of this outcome, or never had one.
    """

    subscription: Subscription
    queue: str

    @property
    def is_due(self) -> bool:
        """Whether the outcome is still to be sent. False if it came meanwhile, even if another one is owed by now."""
        owed = self.subscription.owed
        return owed is not None and owed.get(self.queue) is self


class Beginning:
    """What a subscription begins with, as `begin` has decided. The caller has all this sent.

    Attributes:
        result: The part of the ack that is about this subscription.
        replays: The past events to send after the ack, in order.
        owed: The queues for which an outcome is to be made from the job's hash, or from its absence.
        stale: The queues in which the job may have ended since the look-up, while the history does not have the event.
            The caller has the job looked up again there.
    """

    __slots__ = ("owed", "replays", "result", "stale")

    def __init__(
        self, result: Result, replays: Sequence[Replay] = (), owed: Sequence[str] = (), stale: Collection[str] = ()
    ) -> None:
        self.result = result
        self.replays = replays
        self.owed = owed
        self.stale = stale
