"""What an identity may see: the queues that exist for it, and the jobs in them.

A client gets only what it would get from a bridge without the other queues. A right names its queue, so a label is
enough to decide what may be seen, whether or not a queue with this label exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.access.identity import allows
from jobws.access.scope import Action

if TYPE_CHECKING:
    from collections.abc import Collection, Container

    from jobws.access.identity import Identity

# With these rights, an identity may know that a queue exists. A right to write does not include this.
_READING: Final = frozenset({Action.READ_JOB, Action.READ_CHILDREN, Action.READ_QUEUE})
_NOWHERE: Final[dict[str, None]] = {}


class IdentitySight:
    """What one identity may see.

    The more rights the identity has, the longer it takes to make this object. A method that returns a bool takes the
    same time for any number of rights.

    Args:
        identity: The identity.

    Attributes:
        sees_all: Whether every queue exists for the identity.
        reads_all: Whether the identity may read every job of every queue.
        line_queues: The queues whose lines of the log the identity may read; None means every queue. Even then, it may
            read the lines that name no queue only if `may_read_lines(None)` is true.
    """

    __slots__ = ("_by_job", "_identity", "_labels", "line_queues", "reads_all", "sees_all")

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.reads_all = allows(identity, Action.READ_JOB)
        self.sees_all = self.reads_all
        lines = [entry.place for entry in identity.rights.entries if entry.action is Action.READ_LOGS]
        named = [place.queue for place in lines if place is not None]
        every = None in named or allows(identity, Action.READ_LOGS)
        self.line_queues = None if every else frozenset(queue for queue in named if queue is not None)
        # The labels of the queues that exist for the identity. And by job id, the labels of the queues in which it may
        # read the job; under None, of those in which it may read all jobs.
        self._labels: dict[str, None] = {}
        self._by_job: dict[str | None, dict[str, None]] = {}
        for action, place in () if self.reads_all else identity.rights.entries:
            if place is None or action not in _READING:
                continue
            if place.queue is None:
                self.sees_all = True
                continue
            self._labels[place.queue] = None
            if action is not Action.READ_QUEUE:
                self._by_job.setdefault(place.job_id, {})[place.queue] = None

    def sees(self, label: str) -> bool:
        """Whether a queue with this label, if there is one, exists for the identity."""
        return self.sees_all or label in self._labels

    def may_read(self, queue: str, job_id: str | None) -> bool:
        """Whether the identity may read this job of the queue, or every job of the queue if `job_id` is None."""
        return self.reads_all or allows(self._identity, Action.READ_JOB, queue, job_id)

    def reads_queue(self, queue: str) -> bool:
        """Whether the identity may read the queue's counts, and events of the queue itself, such as `drained`."""
        return allows(self._identity, Action.READ_QUEUE, queue)

    def reads_children(self, queue: str, job_id: str) -> bool:
        """Whether the identity may follow all jobs below this job in its flow, whatever their queues are."""
        return self.reads_all or allows(self._identity, Action.READ_CHILDREN, queue, job_id)

    def may_read_lines(self, queue: str | None) -> bool:
        """Whether the identity may read lines about jobs of the queue, or (None) all lines, with or without a queue."""
        return allows(self._identity, Action.READ_LOGS, queue)

    @property
    def reads_a_queue(self) -> bool:
        """Whether there can be a queue whose counts the identity may read."""
        entries = self._identity.rights.entries
        return self.reads_every_queue or any(each.action is Action.READ_QUEUE for each in entries)

    @property
    def reads_every_queue(self) -> bool:
        """Whether the identity may read every job, and the counts of every queue."""
        return self.reads_all and allows(self._identity, Action.READ_QUEUE)

    def reads_everywhere(self, job_id: str | None) -> bool:
        """Whether the identity may read the job with this id, or (None) every job, in every queue."""
        return self.reads_all or allows(self._identity, Action.READ_JOB, None, job_id)

    def reads_somewhere(self, job_id: str | None) -> bool:
        """Whether there can be a queue in which the identity may read the job with this id, or (None) every job."""
        return job_id in self._by_job or None in self._by_job or self.reads_everywhere(job_id)

    def queues_of(self, job_id: str | None, labels: Collection[str]) -> Collection[str]:
        """Return, out of `labels`, the queues in which the identity may read this job, or (None) every job."""
        if self.reads_everywhere(job_id):
            return labels
        named = {**self._by_job.get(job_id, _NOWHERE), **self._by_job.get(None, _NOWHERE)}
        return [label for label in named if label in labels]

    def container(self, labels: Container[str]) -> Container[str]:
        """Return a view of those of the labels that exist for the identity. It follows later changes of `labels`.

        The view supports `in`. Unless `labels` itself is returned, it does not support iteration.
        """
        return labels if self.sees_all else _Seen(self, labels)

    def queues(self, labels: Collection[str]) -> Collection[str]:
        """Return those of the labels that exist for the identity, in their order."""
        return labels if self.sees_all else [label for label in labels if label in self._labels]


class _Seen:
    """A live view of those of `labels` that exist for the identity of `sight`. It supports only `in`."""

    __slots__ = ("_labels", "_sight")

    def __init__(self, sight: IdentitySight, labels: Container[str]) -> None:
        self._sight = sight
        self._labels = labels

    def __contains__(self, label: object) -> bool:
        return isinstance(label, str) and self._sight.sees(label) and label in self._labels
