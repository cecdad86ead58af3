"""What a subscription looks up: jobs of named queues, and jobs in every queue.

A thousand jobs in a thousand queues are not a million pairs: asking and answering cost what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.hub.lacking import is_ahead
from jobws.protocol.identifiers import START

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from jobws.bullmq.snapshot import LookUp
    from jobws.hub.membership import Membership
    from jobws.hub.recent import Recent
    from jobws.protocol.messages import ItemError, JobSnapshot, Room


class Query:
    """The jobs of one subscription.

    Args:
        labels: The queues that exist; a live view.

    Attributes:
        queues: The labels of those that it is about, in order.
    """

    __slots__ = ("_anywhere", "_found", "_labels", "_lacking", "_named", "queues")

    def __init__(self, labels: Collection[str]) -> None:
        self.queues: dict[str, None] = {}
        self._labels = labels
        self._named: dict[str, dict[str, None]] = {}
        self._anywhere: dict[str, None] = {}
        # What was found of those without a queue, by job id.
        self._found: dict[str, list[JobSnapshot | ItemError]] = {}
        # By the identity of a position, whether events behind it may be gone in any queue.
        self._lacking: dict[int, bool] = {}

    def add(self, room: Room) -> None:
        """Look this up, too."""
        if room.queue is not None:
            self.queues[room.queue] = None
            if room.job_id is not None:
                self._named.setdefault(room.queue, {})[room.job_id] = None
            return
        if not self._anywhere:
            self.queues.update(dict.fromkeys(self._labels))
        self._anywhere[room.job_id or ""] = None

    def widen(self) -> None:
        """More queues are known: jobs without a queue are to be looked up there, too."""
        if self._anywhere:
            self.queues.update(dict.fromkeys(self._labels))

    def drop(self, queue: str) -> None:
        """Look up nothing in this queue."""
        del self.queues[queue]
        self._named.pop(queue, None)

    @property
    def job_ids(self) -> dict[str, Collection[str]]:
        """What to ask Redis, by queue; empty if nothing is needed."""
        if not self._anywhere:
            return dict(self._named)
        return {
            queue: {**self._anywhere, **self._named[queue]} if queue in self._named else self._anywhere
            for queue in self.queues
        }

    def take(self, look_up: LookUp) -> None:
        """What Redis said."""
        for (queue, job_id), answer in look_up.found.items() if self._anywhere else ():
            if job_id in self._anywhere and queue in self.queues and answer is not None:
                self._found.setdefault(job_id, []).append(answer)

    def found(self, room: Room, look_up: LookUp) -> Iterable[JobSnapshot | ItemError | None]:
        """What it said of a room's job, by queue that has it."""
        if room.queue is None:
            return self._found.get(room.job_id or "", ())
        return (look_up.found.get((room.queue, room.job_id or "")),)

    def may_lack(self, membership: Membership, look_up: LookUp, recent: Recent) -> bool:
        """Whether events behind the client's position may be gone in a queue that its room is about.

        Of a queue in which the job was at neither moment, the position rightly says nothing.
        """
        named, after = membership.subscription.room.queue, membership.subscription.after
        if named is not None:
            return _may_lack(membership, named, look_up, recent)
        # The items of a list share their position, and keep it, so none has its identity meanwhile.
        known = self._lacking.get(id(after))
        if known is None:
            told = [queue for queue in after or () if queue in self.queues]
            known = self._lacking[id(after)] = any(_may_lack(membership, queue, look_up, recent) for queue in told)
        lived = [queue for queue in membership.lives if queue in self.queues]
        return known or any(_may_lack(membership, queue, look_up, recent) for queue in lived)


def _may_lack(membership: Membership, queue: str, look_up: LookUp, recent: Recent) -> bool:
    after = (membership.subscription.after or {}).get(queue, START)
    return recent.of(queue).may_lack(after) or is_ahead(membership, queue, look_up)
