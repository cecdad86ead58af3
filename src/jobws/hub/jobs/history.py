"""The recent events of every queue, and how many are remembered of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.hub.jobs.queue_history import LEAST_PER_QUEUE, QueueHistory
from jobws.protocol.identifiers import START

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from jobws.bullmq.events import HistoryEntry

MOST_PER_QUEUE: Final = 100_000
MOST_IN_ALL: Final = 1_000_000


class History:
    """The recent events of every queue.

    Attributes:
        changes: A number that grows when any queue's history forgets events, or begins again, or is filled. A full
            history forgets its oldest event with each new one; for this, `Fanout.publish` raises the number.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._queues: dict[str, QueueHistory] = {}
        self._job_ids: dict[str, Collection[bytes | None]] = {}

    def of(self, queue: str) -> QueueHistory:
        """Return the history of one queue. An empty one is made for a new queue."""
        known = self._queues.get(queue)
        if known is None:
            known = self._put(queue, QueueHistory(self._capacity(LEAST_PER_QUEUE)))
        return known

    def _put(self, queue: str, known: QueueHistory) -> QueueHistory:
        self._queues[queue] = known
        self._job_ids[queue] = known.job_ids
        return known

    def resize(self, queue: str, max_length: int) -> int:
        """Set a queue's capacity by `max_length`, the length that its stream may have, and return the capacity.

        The capacity is from LEAST_PER_QUEUE to MOST_PER_QUEUE, or less if all queues together would exceed MOST_IN_ALL.
        If the history has more events, a call forgets at most `queue_history.FORGOTTEN_TOGETHER` of them.
        """
        capacity = self._capacity(max_length)
        known = self.of(queue)
        self.changes += len(known) > capacity
        known.resize(capacity)
        return capacity

    def forget_before(self, queue: str, stream_id: str) -> None:
        """Forget the queue's events with ids below `stream_id`, because Redis has trimmed them.

        A call forgets at most `queue_history.FORGOTTEN_TOGETHER` of them; further calls forget more.
        """
        known = self.of(queue)
        count = len(known)
        known.forget_before(stream_id)
        self.changes += len(known) < count

    def fill(self, queue: str, newest_first: Sequence[HistoryEntry], floor: str) -> Iterator[None]:
        """Replace a queue's history by `newest_first`: all events that its stream holds after the id `floor`.

        This is a generator, which the caller must exhaust.
        """
        self.restart(queue)
        yield from self.of(queue).fill(newest_first, floor)
        self.changes += 1

    def reach_to(self, queue: str, floor: str) -> None:
        """Note that all events of a queue after the id `floor` were added to its history, even if some are forgotten.

        See `QueueHistory.reach_to`.
        """
        self.of(queue).reach_to(floor)
        self.changes += 1

    def restart(self, queue: str) -> QueueHistory:
        """Give a queue a new history without events, which knows that it may miss some, and return the previous one."""
        known = self.of(queue)
        self._put(queue, QueueHistory(known.capacity))
        self.changes += 1
        return known

    def is_current(self, queue: str, known: QueueHistory) -> bool:
        """Whether `known` is still the queue's history: it was not begun again or forgotten."""
        return self._queues.get(queue) is known

    def queues_of(self, job_id: bytes) -> list[str]:
        """Return the queues that have events of the job."""
        return [queue for queue, job_ids in self._job_ids.items() if job_id in job_ids]

    def forget(self, queue: str) -> None:
        """Forget a queue, as if it had never existed."""
        self._queues.pop(queue, None)
        self._job_ids.pop(queue, None)
        self.changes += 1

    def filled(self, queue: str) -> bool:
        """Return whether it is known after which id the queue's history has every event; see `QueueHistory`."""
        known = self._queues.get(queue)
        return known is not None and known.floor is not None

    def floor(self, queue: str) -> str:
        """Return the id after which the queue's history has every event.

        The result is `0-0`, too, if this id is not known yet; then events may be missing. `filled` tells the two apart.
        """
        return self.of(queue).floor or START

    def _capacity(self, max_length: int) -> int:
        wanted = min(max(max_length, LEAST_PER_QUEUE), MOST_PER_QUEUE)
        return min(wanted, MOST_IN_ALL // max(len(self._queues), 1))
