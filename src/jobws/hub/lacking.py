"""What a member lacks: events that the stream still has, and outcomes that only the job's hash has."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET

from jobws.protocol.identifiers import START, position

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobws.bullmq.events import Kind
    from jobws.bullmq.snapshot import LookUp
    from jobws.hub.membership import Membership
    from jobws.protocol.messages import JobSnapshot

# A job that finished so long after the outcome that was told has another one.
SKEW_MILLISECONDS: Final = 1000
FINISHED: Final = frozenset({"completed", "failed"})
"""States whose job has its outcome in its hash."""


def lacks(membership: Membership, queue: str, snapshot: JobSnapshot | None, end: str, *, all_read: bool) -> bool:
    """Whether a member lacks an outcome that the hash has, or stands for because it vanished.

    Args:
        membership: The member.
        queue: The label.
        snapshot: What the hash said when the stream ended with `end`; None: there was none.
        end: A stream id.
        all_read: Whether the stream was read up to there. If not, a hash that vanished says nothing: the event that
            tells why may be unread.
    """
    if not membership.prepared:
        return False
    if snapshot is None:
        return all_read and queue in membership.lives and membership.lives[queue] is None
    settled = membership.see(queue)
    finished = snapshot.state in FINISHED
    if settled is not None and all_read and position(settled) <= position(end):
        # A second life may have begun, and ended, where no event told of it. Workers' clocks are not Redis' clock.
        finished_on = 0.0 if snapshot.finished_on is UNSET else snapshot.finished_on
        later = finished_on > position(settled)[0] + SKEW_MILLISECONDS
        if later and membership.told is not None and membership.told.get(queue) == finished_on:
            later = False  # the very one that was told: the worker's clock is ahead, or there are no events to compare
        if later or not finished:
            settled = membership.lives[queue] = None
    return finished and settled is None


def is_ahead(membership: Membership, queue: str, look_up: LookUp) -> bool:
    """Whether the client's position is behind the end of the stream, which therefore is not the one it is of."""
    after = membership.subscription.after
    return after is not None and position(after.get(queue, START)) > position(look_up.ends.get(queue, START))


def drop_seen(membership: Membership, look_up: LookUp) -> None:
    """Let go of what came since, if the client had it already: from another bridge, which reads faster."""
    after = membership.subscription.after
    if after is None or not membership.held:
        return
    kept = []
    for held in membership.held:
        end = position(look_up.ends.get(held.queue, START))
        if held.stream_id is None or not position(held.stream_id) <= position(after.get(held.queue, START)) <= end:
            kept.append(held)
            continue
        held.sharers -= 1
        if not held.sharers and not held.delivered:
            membership.connection.outbox.release(len(held.frame))
    membership.held = kept


class Replay:
    """Events of one queue to be read back for a member, in the order of their ids.

    Two lists, since a client may ask for all that is known of a thousand jobs: 16 bytes an event.
    """

    __slots__ = ("is_last", "kinds", "membership", "queue", "stream_ids")

    def __init__(self, membership: Membership, queue: str, stream_ids: list[bytes], kinds: list[Kind]) -> None:
        self.membership = membership
        self.queue = queue
        self.stream_ids = stream_ids
        self.kinds = kinds
        # Behind it the member is live.
        self.is_last = False

    def __len__(self) -> int:
        return len(self.stream_ids)

    def keep(self, wanted: Iterable[bool]) -> None:
        """Leave out the events for which `wanted` is false."""
        chosen = list(wanted)
        self.stream_ids = list(compress(self.stream_ids, chosen))
        self.kinds = list(compress(self.kinds, chosen))


class Unsettled(NamedTuple):
    """A member that lacks an outcome which is not in the stream. `end`: what the stream held when that was seen."""

    membership: Membership
    queue: str
    end: str
