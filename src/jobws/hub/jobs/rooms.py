"""Who wants which job or queue.

A room is all memberships of one (queue or none, job id) or of one whole queue. They are found by queue: an event that
nobody wants costs two hash look-ups, however many rooms there are, and what concerns one queue walks only its rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from jobws.hub.jobs.subscription import Member, Membership

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

# A dictionary is a set that keeps its order: the oldest member first, whatever the hashes are.
Members: TypeAlias = dict[Membership, None]
JobRooms: TypeAlias = "dict[bytes, Members]"
"""Rooms by job id in UTF-8, as it stands in the stream."""

_NOBODY: Final[Mapping[Membership, None]] = {}
_NO_ROOMS: Final[Mapping[bytes, Members]] = {}


class Rooms:
    """All rooms. A room exists as long as it has a member.

    Args:
        on_listened: Told the queue for which `listened` is another than before; None: `seeking` is. It must not wait.

    Attributes:
        anywhere: The rooms without a queue.
    """

    def __init__(self, on_listened: Callable[[str | None], None]) -> None:
        self.anywhere: JobRooms = {}
        self._on_listened = on_listened
        self._named: dict[str, JobRooms] = {}
        self._queues: dict[str, Members] = {}
        # The rooms without a queue, by queue that was seen to have the job, and the members for which none was.
        self._found: dict[str, JobRooms] = {}
        self._seeking: Members = {}
        # How many memberships each connection has, by the queue that they name, or None.
        self._counts: dict[str | None, dict[Member, int]] = {}

    def __len__(self) -> int:
        return len(self._queues) + len(self.anywhere) + sum(map(len, self._named.values()))

    # ---- who wants what ----

    def named(self, queue: str) -> Mapping[bytes, Members]:
        """The rooms of jobs that name the queue."""
        return self._named.get(queue, _NO_ROOMS)

    def whole_queue(self, queue: str) -> Mapping[Membership, None]:
        """The members that want every job of the queue."""
        return self._queues.get(queue, _NOBODY)

    def of_job(self, queue: str, job_id: str) -> list[Membership]:
        """The members that want that job of that queue."""
        key = job_id.encode()
        return [*self.anywhere.get(key, ()), *self.named(queue).get(key, ())]

    def listened(self, queue: str) -> bool:
        """Whether somebody listens to the queue: names it, or wants a job without a queue that was seen to be there."""
        return queue in self._named or queue in self._queues or queue in self._found

    @property
    def seeking(self) -> bool:
        """Whether somebody wants a job without a queue that no queue was seen to have."""
        return bool(self._seeking)

    @property
    def heard(self) -> Collection[str]:
        """The queues for which `listened` is true."""
        return {**self._named, **self._queues, **self._found}.keys()

    def watched(self, queue: str) -> Iterator[bytes]:
        """The jobs that somebody watches in a queue. Rooms may come and go until the next one is asked for."""
        named = self.named(queue)
        yield from list(named)
        for job_id in list(self.anywhere):
            if job_id not in named:
                yield job_id

    def unsettled(self, queue: str) -> Iterator[bytes | None]:
        """The watched jobs of a queue that it has, or is said to have, and whose outcome some member has not got.

        None in place of each other one, so that it never takes long to be told the next.
        """
        named = self.named(queue)
        for job_id in list(named):
            yield job_id if self._is_unsettled(queue, job_id) else None
        for job_id in list(self._found.get(queue, ())):
            yield job_id if job_id not in named and self._is_unsettled(queue, job_id) else None

    def _is_unsettled(self, queue: str, job_id: bytes) -> bool:
        members = (*self.named(queue).get(job_id, ()), *self._found.get(queue, _NO_ROOMS).get(job_id, ()))
        return any(each.lives.get(queue) is None for each in members)

    def concerned(self, queue: str) -> set[Member]:
        """Who sees a queue's events: those with a membership that it matters for."""
        return {*self._counts.get(queue, ()), *self._counts.get(None, ())}

    def seen(self, queue: str) -> Iterator[Membership]:
        """The members whose job the queue was seen to have, or is said to have. No room may change meanwhile."""
        for rooms in (self.named(queue), self._found.get(queue, _NO_ROOMS)):
            for members in rooms.values():
                yield from members

    # ---- coming and going ----

    def join(self, membership: Membership) -> None:
        """Make `membership` a member of its room."""
        room = membership.subscription.room
        self._count(membership, 1)
        if room.queue is None:
            self.anywhere.setdefault(_job(membership), {})[membership] = None
            for queue in membership.lives:
                self.found(membership, queue)
            if not membership.lives:
                self._seek(membership)
            return
        unheard = not self.listened(room.queue)
        if room.job_id is None:
            self._queues.setdefault(room.queue, {})[membership] = None
        else:
            _add(self._named, room.queue, membership)
        if unheard:
            self._on_listened(room.queue)

    def found(self, membership: Membership, queue: str) -> None:
        """A queue was seen to have a member's job."""
        if membership.subscription.room.queue is None:
            unheard = not self.listened(queue)
            _add(self._found, queue, membership)
            if unheard:
                self._on_listened(queue)
            self._seek_no_more(membership)

    def forget(self, queue: str) -> list[Membership]:
        """The queue is gone, and with it what it was seen to have; returns whose jobs these were."""
        members = [membership for room in self._found.pop(queue, {}).values() for membership in room]
        for membership in members:
            del membership.lives[queue]
            membership.pay(queue)
            if not membership.lives:
                self._seek(membership)
        if members and not self.listened(queue):
            self._on_listened(queue)
        return members

    def leave(self, membership: Membership) -> None:
        """End a membership that `join` began. Empty rooms vanish."""
        room = membership.subscription.room
        self._count(membership, -1)
        if room.queue is None:
            _remove(self.anywhere, _job(membership), membership)
            self._seek_no_more(membership)
            for queue in membership.lives:
                _drop(self._found, queue, membership)
                if not self.listened(queue):
                    self._on_listened(queue)
            return
        if room.job_id is None:
            _remove(self._queues, room.queue, membership)
        else:
            _drop(self._named, room.queue, membership)
        if not self.listened(room.queue):
            self._on_listened(room.queue)

    def _count(self, membership: Membership, change: int) -> None:
        counts = self._counts.setdefault(membership.subscription.room.queue, {})
        count = counts.get(membership.connection, 0) + change
        if count:
            counts[membership.connection] = count
        else:
            del counts[membership.connection]
            if not counts:
                del self._counts[membership.subscription.room.queue]

    def _seek(self, membership: Membership) -> None:
        self._seeking[membership] = None
        if len(self._seeking) == 1:
            self._on_listened(None)

    def _seek_no_more(self, membership: Membership) -> None:
        if membership in self._seeking:
            del self._seeking[membership]
            if not self._seeking:
                self._on_listened(None)


def _job(membership: Membership) -> bytes:
    return (membership.subscription.room.job_id or "").encode()


def _add(rooms: dict[str, JobRooms], queue: str, membership: Membership) -> None:
    rooms.setdefault(queue, {}).setdefault(_job(membership), {})[membership] = None


def _drop(rooms: dict[str, JobRooms], queue: str, membership: Membership) -> None:
    _remove(rooms[queue], _job(membership), membership)
    if not rooms[queue]:
        del rooms[queue]


_Key = TypeVar("_Key", str, bytes)


def _remove(rooms: dict[_Key, Members], key: _Key, membership: Membership) -> None:
    members = rooms[key]
    del members[membership]
    if not members:
        del rooms[key]
