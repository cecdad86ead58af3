"""The recent events of each job of one queue: their stream ids and kinds, without their payloads.

BullMQ's streams have no index by job. This history is such an index: it has the stream ids with which the past events
of a job are read again (`XRANGE id id`). An event takes about 140 bytes here (measured with four events for each job),
so the 10,000 events of a usual stream take 1.4 MB.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobws.bullmq.events import Kind, Life
from jobws.hub.jobs.ends_per_minute import EndsPerMinute
from jobws.protocol.identifiers import START, before, position

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from jobws.bullmq.events import HistoryEntry

# The default length of BullMQ's streams. Of a queue that keeps more, more events are remembered.
LEAST_PER_QUEUE: Final = 10_000
# How many events are forgotten in one step, which takes 5 ms. The rest is forgotten at the next check of the stream.
FORGOTTEN_TOGETHER: Final = 10_000
FILLED_TOGETHER: Final = 100
_ENDS: Final = Life.ENDS  # looked up once, since that takes longer than the rest of the comparison


class Recorded(NamedTuple):
    """An event of a stream, as the history has it."""

    stream_id: bytes
    kind: Kind


class QueueHistory:
    """The recent events of one queue.

    A new history is empty and not filled: it may miss events. It is filled after `reach_to` has noted that it has all
    events after some id.

    Args:
        capacity: How many events are remembered. It is an attribute, too.

    Attributes:
        ends: How many jobs completed and failed in the last minute, also those whose events are forgotten.
    """

    __slots__ = ("_by_job", "_floor", "_ids", "_is_filled", "_order", "capacity", "ends")

    def __init__(self, capacity: int = LEAST_PER_QUEUE) -> None:
        self.capacity = capacity
        self.ends = EndsPerMinute()
        # By job id, a list: the job's id, the index of its first event, then stream ids and kinds alternating. A tuple
        # for each event would double the memory.
        self._by_job: dict[bytes | None, list[Any]] = {}
        # The list of the job of each event, oldest event first.
        self._order: deque[list[Any]] = deque()
        # The stream id of each of these events.
        self._ids: deque[bytes] = deque()
        # The id of the last event that was forgotten, or, if higher, the id up to which events were not read.
        self._floor = START.encode()
        self._is_filled = False

    def __len__(self) -> int:
        return len(self._order)

    def add(self, job_id: bytes | None, stream_id: bytes, kind: Kind) -> None:
        """Remember an event (`job_id` None: of the queue itself). Its id must be higher than those of all before."""
        known = self._by_job.get(job_id)
        if known is None:
            known = self._by_job[job_id] = [job_id, 2, stream_id, kind]
        else:
            known += (stream_id, kind)
        self._order.append(known)
        self._ids.append(stream_id)
        if kind.life is _ENDS:
            self.ends.add(stream_id, kind)
        if len(self._order) > self.capacity:
            self._forget_oldest()

    def fill(self, newest_first: Sequence[HistoryEntry], floor: str) -> Iterator[None]:
        """Add all events that the stream holds after the id `floor`, and call `reach_to`. Only for an empty history.

        This is a generator of short steps, which the caller must exhaust before it calls `add`.
        """
        for index, (stream_id, job_id, kind) in enumerate(reversed(newest_first)):
            self.add(job_id, stream_id, kind)
            if index % FILLED_TOGETHER == FILLED_TOGETHER - 1:
                yield
        self.reach_to(floor)

    @property
    def floor(self) -> str | None:
        """The id after which this history has every event. It rises as events are forgotten. None: not filled yet."""
        return self._floor.decode() if self._is_filled else None

    def reach_to(self, floor: str) -> None:
        """Note that this history is filled: every event after `floor` was added, even if some were forgotten since."""
        self._floor = max(self._floor, floor.encode(), key=position)
        self._is_filled = True
        self.ends.reach_to(floor)

    @property
    def is_full(self) -> bool:
        """Whether each new event displaces the oldest one."""
        return len(self._order) >= self.capacity

    def has_all_after(self, stream_id: str) -> bool:
        """Whether this history has every event after the position `stream_id`. False until this history is filled."""
        return self._is_filled and position(self._floor) <= position(stream_id)

    def resize(self, capacity: int) -> None:
        """Change the capacity. Forget at most `FORGOTTEN_TOGETHER` events beyond it; further calls forget more."""
        self.capacity = capacity
        for _ in range(min(len(self._order) - capacity, FORGOTTEN_TOGETHER)):
            self._forget_oldest()

    def forget_before(self, stream_id: str) -> None:
        """Forget at most `FORGOTTEN_TOGETHER` events before the id `stream_id`; further calls forget more."""
        limit = position(stream_id)
        for _ in range(min(len(self._order), FORGOTTEN_TOGETHER)):
            if position(self._ids[0]) >= limit:
                break
            self._forget_oldest()

    def may_miss(self, after: str) -> bool:
        """Whether events after the position `after` may be missing here: whether `after` is lower than `floor`.

        If `floor` is `0-0` or None, the id just below the oldest event takes its place, since a lower position is from
        another stream. Then the answer is False for `0-0`, which belongs to every stream, and, if no event is here, for
        any position. So before this history is filled, False does not say that every event is here.
        """
        floor = self.floor or START
        if floor == START != after and self._order:
            floor = before(self._ids[0])
        return position(after) < position(floor)

    @property
    def reach(self) -> str | None:
        """An id that is not exceeded by that of any past event which is not here. None if no such id is known.

        This is `floor` or, if that is `0-0` or None, the id of the oldest event that is here.
        """
        if self._is_filled and self._floor != START.encode():
            return self._floor.decode()
        return self._ids[0].decode() if self._ids else None

    @property
    def job_ids(self) -> Collection[bytes | None]:
        """The ids of the jobs that have events here, and None if the queue itself has events; a live view."""
        return self._by_job.keys()

    def after(self, job_id: bytes, stream_id: str = START) -> tuple[list[bytes], list[Kind]]:
        """Return the stream ids and the kinds of a job's events after the position `stream_id`, oldest first."""
        known = self._by_job.get(job_id)
        if known is None:
            return [], []
        first = _first_after(known, stream_id)
        return known[first::2], known[first + 1 :: 2]

    def knows(self, job_id: bytes | None, stream_id: bytes, kind: Kind) -> bool:
        """Return whether the event with this job (None for the queue itself), stream id and kind is here."""
        known = self._by_job.get(job_id)
        if known is None:
            return False
        first = _first_after(known, before(stream_id))
        return known[first : first + 2] == [stream_id, kind]

    def last_transition(self, job_id: bytes) -> Recorded | None:
        """Return the last event that says whether the job is alive, has ended or was removed. None if there is none.

        Outcomes before this event no longer count: a job can be retried, or be removed and added again with the same
        id.
        """
        known = self._by_job.get(job_id, ())
        for index in range(len(known) - 1, known[1] if known else 0, -2):
            kind: Kind = known[index]
            if kind.life is not Life.SAME:
                return Recorded(known[index - 1], kind)
        return None

    def last(self, job_id: bytes, event: str) -> bytes | None:
        """Return the stream id of the job's last event with this name. None if it is not here."""
        known = self._by_job.get(job_id, ())
        for index in range(len(known) - 1, known[1] if known else 0, -2):
            if known[index].name.text == event:
                stream_id: bytes = known[index - 1]
                return stream_id
        return None

    @property
    def newest(self) -> Recorded | None:
        """The last event, of whatever job. None if there is none."""
        return Recorded(self._ids[-1], self._order[-1][-1]) if self._ids else None

    def between(self, after: str, up_to: bytes) -> Iterator[HistoryEntry]:
        """Yield all events after the position `after`, up to and with the id `up_to`, the oldest first.

        Nothing may be added or forgotten meanwhile.
        """
        first, end = (bisect_right(self._ids, position(each), key=position) for each in (after, up_to))
        # By job, as the `id` of its list: where the list has its next event.
        places: dict[int, int] = {}
        for known in islice(self._order, first, end):
            place = places[id(known)] if id(known) in places else _first_after(known, after)
            places[id(known)] = place + 2
            yield known[place], known[0], known[place + 1]

    def _forget_oldest(self) -> None:
        known = self._order.popleft()
        first = known[1]
        self._floor = self._ids.popleft()
        first += 2
        if first == len(known):
            del self._by_job[known[0]]
        elif first > len(known) // 2:
            # Not at each event: this would take a tenth longer, and 20 µs with 100,000 events of one job.
            del known[2:first]
            known[1] = 2
        else:
            known[first - 2] = known[first - 1] = None
            known[1] = first


def _first_after(known: list[Any], stream_id: str | bytes) -> int:
    """Return the index in `known` of the id of the first event after `stream_id`; `len(known)` if there is none.

    `known` is a list of `QueueHistory._by_job`, in which stream ids and kinds alternate after two other values.
    """
    first: int = known[1]
    events = range(first, len(known), 2)
    return first + 2 * bisect_right(events, position(stream_id), key=lambda index: position(known[index]))


class KnownStream(NamedTuple):
    """A queue's history, not a copy of it, and the stream id up to which its events were published at one moment."""

    history: QueueHistory
    cursor: str
