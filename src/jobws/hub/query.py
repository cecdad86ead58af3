"""What a subscription looks up: jobs of named queues, and jobs in every queue.

A thousand jobs in a thousand queues are not a million pairs: asking and answering cost what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.protocol.identifiers import START, position

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from jobws.bullmq.snapshot import LookUp
    from jobws.hub.recent import Recent
    from jobws.protocol.messages import Cursor, ItemError, JobSnapshot, Room


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

    def may_lack(self, room: Room, after: Cursor, look_up: LookUp, recent: Recent) -> bool:
        """Whether events behind a client's position may be gone in any queue that its room is about."""
        if room.queue is not None:
            return _may_lack(room.queue, after, look_up, recent)
        # The items of a list share it, and keep it, so none has its identity meanwhile.
        known = self._lacking.get(id(after))
        if known is None:
            known = any(_may_lack(queue, after, look_up, recent) for queue in self.queues)
            self._lacking[id(after)] = known
        return known


def is_ahead(queue: str, after: Cursor, look_up: LookUp) -> bool:
    """Whether a client's position is behind the end of the stream, which therefore is not the one it is of."""
    return position(after.get(queue, START)) > position(look_up.ends.get(queue, START))


def _may_lack(queue: str, after: Cursor, look_up: LookUp, recent: Recent) -> bool:
    return recent.of(queue).may_lack(after.get(queue, START)) or is_ahead(queue, after, look_up)
