"""What a subscription misses: events that the stream still has, and outcomes that only the job's hash has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET

from jobws.hub.jobs.subscription import DOUBTED

if TYPE_CHECKING:
    from jobws.bullmq.events import Kind
    from jobws.hub.jobs.subscription import Subscription
    from jobws.protocol.messages import JobSnapshot

FINISHED: Final = frozenset({"completed", "failed"})
"""States whose job has its outcome in its hash."""
# What follows `~` where the job is gone, or its hash does not say when it finished.
NEVER: Final = "0"


def finished_text(snapshot: JobSnapshot) -> str:
    """When a job finished, as text that is only compared: two lives of a job do not finish in the same millisecond."""
    return NEVER if snapshot.finished_on is UNSET else f"{snapshot.finished_on}"


def misses(
    subscription: Subscription, queue: str, snapshot: JobSnapshot | None, *, all_read: bool, without_events: bool
) -> bool:
    """Whether a subscription that was answered misses an outcome that the hash has, or stands for because it vanished.

    Args:
        subscription: Whose.
        queue: The label.
        snapshot: What the hash said; None: there was none.
        all_read: Whether the stream was read as far as it went then. If not, a hash that vanished says nothing: the
            event that tells why may be unread.
        without_events: Whether the queue has no events, so that only its hashes tell of second lives.
    """
    if snapshot is None:
        return all_read and subscription.job_states.get(queue, DOUBTED) is None
    settled = subscription.see(queue)
    # A second life may have begun, and ended, where no event told of it.
    doubted = settled == DOUBTED or without_events
    if snapshot.state not in FINISHED:
        if doubted and all_read:
            subscription.job_states[queue] = None
        return False
    return (settled is None or doubted) and not subscription.was_delivered(queue, finished_text(snapshot))


class Replay:
    """Events of one queue to be read back for a subscription, in the order of their ids.

    Two lists, since a client may ask for all that is known of a thousand jobs: 16 bytes an event.

    Attributes:
        is_last: Whether the subscription is live after it.
        index: The next event.
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


class Owed(NamedTuple):
    """An outcome of a job in a queue that a subscription misses and the stream does not have."""

    subscription: Subscription
    queue: str
