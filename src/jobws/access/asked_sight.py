"""What a client may see where an authorizer decides."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from jobws.access.asked import MAX_CHECKS, Rehearsal
from jobws.access.scope import Action

if TYPE_CHECKING:
    from collections.abc import Collection, Container

    from jobws.access.asked import AskedRights


class AskedSight:
    """What a client may see where an authorizer decides; see `IdentitySight`.

    Args:
        rights: The answers of the authorizer.

    Attributes:
        reads_all, reads_every_queue: False: a right to everything is never assumed, each queue is asked about.
        rights: The answers of the authorizer.
    """

    __slots__ = ("rights",)
    reads_all = False
    reads_every_queue = False

    def __init__(self, rights: AskedRights | Rehearsal) -> None:
        self.rights = rights

    @property
    def line_queues(self) -> frozenset[str]:
        """The queues whose lines of the log the client may read."""
        if isinstance(self.rights, Rehearsal):
            self.rights.seeks = True
        return frozenset([label for label in self.rights.labels if self.may_read_lines(label)])

    def may_read(self, queue: str, job_id: str | None) -> bool:
        """Whether the client may read this job of the queue, or every job of the queue if `job_id` is None."""
        if job_id is None:
            self.reads_queue(queue)  # a subscription to the queue depends on this, too, so both are asked together
        return self.rights.include(Action.READ_JOB, queue, job_id)

    def reads_queue(self, queue: str) -> bool:
        """Whether the client may read the queue's counts and its events without a job."""
        return self.rights.include(Action.READ_QUEUE, queue, None)

    def reads_children(self, queue: str, job_id: str) -> bool:
        """Whether the client may follow all jobs below this job in its flow, whatever their queues are."""
        return self.rights.include(Action.READ_CHILDREN, queue, job_id)

    @property
    def reads_a_queue(self) -> bool:
        """Whether there is a queue whose counts the client may read."""
        if isinstance(self.rights, Rehearsal):
            self.rights.seeks = True
        return bool(self.queues(self.rights.labels))

    def may_read_lines(self, queue: str | None) -> bool:
        """Whether the client may read lines of the log about jobs of the queue, or (None) every line."""
        return self.rights.include(Action.READ_LOGS, queue, None)

    def reads_everywhere(self, _job_id: str | None) -> bool:
        """Return False: a queue may be found later, and is then asked about."""
        return False

    def reads_somewhere(self, job_id: str | None) -> bool:
        """Whether there is a queue in which the client may read the job with this id, or (None) every job."""
        if isinstance(self.rights, Rehearsal):
            self.rights.seeks = True
        return bool(self.queues_of(job_id, self.rights.labels))

    def queues_of(self, job_id: str | None, labels: Collection[str]) -> Collection[str]:
        """Return, out of `labels`, the queues in which the client may read this job, or (None) every job."""
        return [label for label in labels if self.may_read(label, job_id)]

    def container(self, labels: Container[str]) -> Container[str]:
        """Return a live view, with `in`, of the labels that the client may know."""
        return _Known(self.rights, labels)

    def queues(self, labels: Collection[str]) -> Collection[str]:
        """Return the labels, in their order, of the queues whose counts the client may read.

        Only the first 10,000 of `labels` are looked at, since each is a question for the authorizer.
        """
        return [label for label in islice(labels, MAX_CHECKS) if self.reads_queue(label)]


class _Known:
    """A live view of the labels that a client may know."""

    __slots__ = ("_labels", "_rights")

    def __init__(self, rights: AskedRights | Rehearsal, labels: Container[str]) -> None:
        self._rights = rights
        self._labels = labels

    def __contains__(self, label: object) -> bool:
        return isinstance(label, str) and self._rights.knows(label) and label in self._labels
