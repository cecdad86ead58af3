"""Which recent events each job had: their stream ids and kinds, never what they held.

With it a late subscriber's outcome is one `XRANGE id id` away, and BullMQ's streams, which have no index by job, are
read once. An entry costs about 130 bytes here (four events a job; measured), so the 10,000 of a usual stream 1.3 MB.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobws.bullmq.events import Kind, Life
from jobws.protocol.identifiers import START, before, position

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from jobws.bullmq.events import HistoryEntry

# BullMQ's own default for a stream; a queue that keeps more is followed as far as MOST_PER_QUEUE.
LEAST_PER_QUEUE: Final = 10_000
MOST_PER_QUEUE: Final = 100_000
MOST_IN_ALL: Final = 1_000_000
# Lists so short are kept without gaps.
FEW: Final = 32
# In one step: 10,000 of them take 5 ms. What is left is forgotten at the next check of the stream.
FORGOTTEN_TOGETHER: Final = 10_000
FILLED_TOGETHER: Final = 100


class Recorded(NamedTuple):
    """An event that a stream holds."""

    stream_id: bytes
    kind: Kind


class QueueHistory:
    """The recent events of one queue.

    Args:
        capacity: How many are remembered.

    Attributes:
        capacity: How many are remembered.
    """

    __slots__ = ("_by_job", "_floor", "_is_filled", "_order", "capacity")

    def __init__(self, capacity: int = LEAST_PER_QUEUE) -> None:
        self.capacity = capacity
        # The job's id, the index of its first event, then stream ids and kinds alternating: a tuple for each would
        # double the memory.
        self._by_job: dict[bytes, list[Any]] = {}
        # One of those lists per event, oldest event first.
        self._order: deque[list[Any]] = deque()
        # The last event that was forgotten, or the id up to which others are missing.
        self._floor = START.encode()
        self._is_filled = False

    def __len__(self) -> int:
        return len(self._order)

    def add(self, job_id: bytes, stream_id: bytes, kind: Kind) -> None:
        """Remember an event that is later than all others."""
        known = self._by_job.get(job_id)
        if known is None:
            known = self._by_job[job_id] = [job_id, 2, stream_id, kind]
        else:
            known += (stream_id, kind)
        self._order.append(known)
        if len(self._order) > self.capacity:
            self._forget_oldest()

    def fill(self, newest_first: Sequence[HistoryEntry], floor: str) -> Iterator[None]:
        """Take over what the stream holds, before the first `add`, in short steps; see `reach_to`."""
        for index, (stream_id, job_id, kind) in enumerate(reversed(newest_first)):
            self.add(job_id, stream_id, kind)
            if index % FILLED_TOGETHER == FILLED_TOGETHER - 1:
                yield
        self.reach_to(floor)

    @property
    def floor(self) -> str | None:
        """Every event with a higher id is here; None: not filled yet."""
        return self._floor.decode() if self._is_filled else None

    def reach_to(self, floor: str) -> None:
        """Say that this history is filled: complete down to that id, or to what was forgotten meanwhile."""
        self._floor = max(self._floor, floor.encode(), key=position)
        self._is_filled = True

    @property
    def is_full(self) -> bool:
        """Whether each event that is added has an older one forgotten."""
        return len(self._order) >= self.capacity

    def has_all_after(self, stream_id: str) -> bool:
        """Whether every event of the stream after that position which was added is still here."""
        return self._is_filled and position(self._floor) <= position(stream_id)

    def resize(self, capacity: int) -> None:
        """Remember so many from now on, soon."""
        self.capacity = capacity
        for _ in range(min(len(self._order) - capacity, FORGOTTEN_TOGETHER)):
            self._forget_oldest()

    def forget_before(self, stream_id: str) -> None:
        """Forget what Redis has trimmed: everything before its oldest entry, or as much as can be done in one step."""
        limit = position(stream_id)
        for _ in range(min(len(self._order), FORGOTTEN_TOGETHER)):
            if position(self._oldest()) >= limit:
                break
            self._forget_oldest()

    def may_miss(self, after: str) -> bool:
        """Whether events after that position may be gone.

        A stream of which nothing was trimmed, and which begins after `after`, is not the one that `after` is of.
        """
        floor = self.floor or START
        if floor == START != after and self._order:
            floor = before(self._oldest())
        return position(after) < position(floor)

    @property
    def reach(self) -> str | None:
        """The id of the oldest entry that the stream has, or before which it was trimmed; None: it has none."""
        if self._is_filled and self._floor != START.encode():
            return self._floor.decode()
        return self._oldest().decode() if self._order else None

    @property
    def job_ids(self) -> Collection[bytes]:
        """The jobs that known events are about."""
        return self._by_job.keys()

    def after(self, job_id: bytes, stream_id: str = START) -> tuple[list[bytes], list[Kind]]:
        """The stream ids and kinds of a job's events after that position, oldest first."""
        known = self._by_job.get(job_id)
        if known is None:
            return [], []
        first = _first_after(known, stream_id)
        return known[first::2], known[first + 1 :: 2]

    def knows(self, job_id: bytes, stream_id: bytes, kind: Kind) -> bool:
        """Whether this very event was added."""
        known = self._by_job.get(job_id)
        if known is None:
            return False
        first = _first_after(known, before(stream_id))
        return known[first : first + 2] == [stream_id, kind]

    def last_transition(self, job_id: bytes) -> Recorded | None:
        """The last event that told something of the job's life: it lives, has its outcome, or is gone. None: unknown.

        An outcome before it is that of an earlier life: ids are used again, after a retry by hand or a removal.
        """
        known = self._by_job.get(job_id, ())
        for index in range(len(known) - 1, known[1] if known else 0, -2):
            kind: Kind = known[index]
            if kind.life is not Life.SAME:
                return Recorded(known[index - 1], kind)
        return None

    def _oldest(self) -> bytes:
        known = self._order[0]
        stream_id: bytes = known[known[1]]
        return stream_id

    def _forget_oldest(self) -> None:
        known = self._order.popleft()
        first = known[1]
        self._floor = known[first]
        first += 2
        if first == len(known):
            del self._by_job[known[0]]
        elif first > len(known) // 2 or len(known) < FEW:
            # Not for each event: of a job with 100,000 that took 20 µs.
            del known[2:first]
            known[1] = 2
        else:
            known[first - 2] = known[first - 1] = None
            known[1] = first


def _first_after(known: list[Any], stream_id: str | bytes) -> int:
    """The index in a job's list of its first event after that position."""
    first: int = known[1]
    events = range(first, len(known), 2)
    return first + 2 * bisect_right(events, position(stream_id), key=lambda index: position(known[index]))


class KnownStream(NamedTuple):
    """What is known of a queue's stream at some time: its events, and the stream id up to which it was published."""

    history: QueueHistory
    cursor: str


class History:
    """The recent events of every queue.

    Attributes:
        changes: Grows whenever events may have been forgotten, or are known again, of any queue.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._queues: dict[str, QueueHistory] = {}
        self._job_ids: dict[str, Collection[bytes]] = {}

    def of(self, queue: str) -> QueueHistory:
        """The events of one queue, which is made if it is new."""
        known = self._queues.get(queue)
        if known is None:
            known = self._put(queue, QueueHistory(self._capacity(LEAST_PER_QUEUE)))
        return known

    def _put(self, queue: str, known: QueueHistory) -> QueueHistory:
        self._queues[queue] = known
        self._job_ids[queue] = known.job_ids
        return known

    def keep(self, queue: str, max_length: int) -> int:
        """Remember as many events of `queue` as its stream may hold, within the bounds; how many that is."""
        capacity = self._capacity(max_length)
        known = self.of(queue)
        self.changes += len(known) > capacity
        known.resize(capacity)
        return capacity

    def forget_before(self, queue: str, stream_id: str) -> None:
        """Redis has trimmed what lies before that entry of the queue's stream."""
        known = self.of(queue)
        count = len(known)
        known.forget_before(stream_id)
        self.changes += len(known) < count

    def fill(self, queue: str, newest_first: Sequence[HistoryEntry], floor: str) -> Iterator[None]:
        """Take over what a stream holds, in short steps; whatever was known of it is forgotten."""
        self.begin_again(queue)
        yield from self.of(queue).fill(newest_first, floor)
        self.changes += 1

    def reach_to(self, queue: str, floor: str) -> None:
        """See `QueueHistory.reach_to`."""
        self.of(queue).reach_to(floor)
        self.changes += 1

    def begin_again(self, queue: str) -> QueueHistory:
        """Begin again, unfilled; returns what was known until now."""
        known = self.of(queue)
        self._put(queue, QueueHistory(known.capacity))
        self.changes += 1
        return known

    def is_current(self, queue: str, known: QueueHistory) -> bool:
        """Whether that is what is known of the queue: it was not begun again, nor forgotten."""
        return self._queues.get(queue) is known

    def having(self, job_id: bytes) -> list[str]:
        """The queues in which events of the job are known."""
        return [queue for queue, job_ids in self._job_ids.items() if job_id in job_ids]

    def forget(self, queue: str) -> None:
        """Forget a queue altogether, as if it had never been there."""
        self._queues.pop(queue, None)
        self._job_ids.pop(queue, None)
        self.changes += 1

    def filled(self, queue: str) -> bool:
        """Whether what the stream holds was taken over."""
        known = self._queues.get(queue)
        return known is not None and known.floor is not None

    def floor(self, queue: str) -> str:
        """The position above which every event of the queue is known."""
        return self.of(queue).floor or START

    def _capacity(self, max_length: int) -> int:
        wanted = min(max(max_length, LEAST_PER_QUEUE), MOST_PER_QUEUE)
        return min(wanted, MOST_IN_ALL // max(len(self._queues), 1))
