"""Who wants which job or queue.

A room is all subscriptions of one (queue or none, job id) or of one whole queue. They are found by queue: an event that
nobody wants costs two hash look-ups, however many rooms there are, and what concerns one queue walks only its rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from jobws.hub.jobs.subscription import Subscriber, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

# A dictionary is a set that keeps its order: the oldest member first, whatever the hashes are.
Members: TypeAlias = dict[Subscription, None]
JobRooms: TypeAlias = "dict[bytes, Members]"
"""Rooms by job id in UTF-8, as it stands in the stream."""

_NOBODY: Final[Mapping[Subscription, None]] = {}
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
        # How many subscriptions each connection has, by the queue that they name, or None.
        self._counts: dict[str | None, dict[Subscriber, int]] = {}

    def __len__(self) -> int:
        return len(self._queues) + len(self.anywhere) + sum(map(len, self._named.values()))

    # ---- who wants what ----

    def named(self, queue: str) -> Mapping[bytes, Members]:
        """The rooms of jobs that name the queue."""
        return self._named.get(queue, _NO_ROOMS)

    def whole_queue(self, queue: str) -> Mapping[Subscription, None]:
        """The members that want every job of the queue."""
        return self._queues.get(queue, _NOBODY)

    def of_job(self, queue: str, job_id: str) -> list[Subscription]:
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
        return any(each.job_states.get(queue) is None for each in members)

    def concerned(self, queue: str) -> set[Subscriber]:
        """Who sees a queue's events: those with a subscription that it matters for."""
        return {*self._counts.get(queue, ()), *self._counts.get(None, ())}

    def seen(self, queue: str) -> Iterator[Subscription]:
        """The members whose job the queue was seen to have, or is said to have. No room may change meanwhile."""
        for rooms in (self.named(queue), self._found.get(queue, _NO_ROOMS)):
            for members in rooms.values():
                yield from members

    # ---- coming and going ----

    def join(self, subscription: Subscription) -> None:
        """Make `subscription` a member of its room."""
        room = subscription.request.room
        self._count(subscription, 1)
        if room.queue is None:
            self.anywhere.setdefault(_job(subscription), {})[subscription] = None
            for queue in subscription.job_states:
                self.found(subscription, queue)
            if not subscription.job_states:
                self._seek(subscription)
            return
        unheard = not self.listened(room.queue)
        if room.job_id is None:
            self._queues.setdefault(room.queue, {})[subscription] = None
        else:
            _add(self._named, room.queue, subscription)
        if unheard:
            self._on_listened(room.queue)

    def found(self, subscription: Subscription, queue: str) -> None:
        """A queue was seen to have a member's job."""
        if subscription.request.room.queue is None:
            unheard = not self.listened(queue)
            _add(self._found, queue, subscription)
            if unheard:
                self._on_listened(queue)
            self._seek_no_more(subscription)

    def forget(self, queue: str) -> list[Subscription]:
        """The queue is gone, and with it what it was seen to have; returns whose jobs these were."""
        members = [subscription for room in self._found.pop(queue, {}).values() for subscription in room]
        for subscription in members:
            del subscription.job_states[queue]
            subscription.pay(queue)
            if not subscription.job_states:
                self._seek(subscription)
        if members and not self.listened(queue):
            self._on_listened(queue)
        return members

    def leave(self, subscription: Subscription) -> None:
        """End a subscription that `join` began. Empty rooms vanish."""
        room = subscription.request.room
        self._count(subscription, -1)
        if room.queue is None:
            _remove(self.anywhere, _job(subscription), subscription)
            self._seek_no_more(subscription)
            for queue in subscription.job_states:
                _drop(self._found, queue, subscription)
                if not self.listened(queue):
                    self._on_listened(queue)
            return
        if room.job_id is None:
            _remove(self._queues, room.queue, subscription)
        else:
            _drop(self._named, room.queue, subscription)
        if not self.listened(room.queue):
            self._on_listened(room.queue)

    def _count(self, subscription: Subscription, change: int) -> None:
        counts = self._counts.setdefault(subscription.request.room.queue, {})
        count = counts.get(subscription.connection, 0) + change
        if count:
            counts[subscription.connection] = count
        else:
            del counts[subscription.connection]
            if not counts:
                del self._counts[subscription.request.room.queue]

    def _seek(self, subscription: Subscription) -> None:
        self._seeking[subscription] = None
        if len(self._seeking) == 1:
            self._on_listened(None)

    def _seek_no_more(self, subscription: Subscription) -> None:
        if subscription in self._seeking:
            del self._seeking[subscription]
            if not self._seeking:
                self._on_listened(None)


def _job(subscription: Subscription) -> bytes:
    return (subscription.request.room.job_id or "").encode()


def _add(rooms: dict[str, JobRooms], queue: str, subscription: Subscription) -> None:
    rooms.setdefault(queue, {}).setdefault(_job(subscription), {})[subscription] = None


def _drop(rooms: dict[str, JobRooms], queue: str, subscription: Subscription) -> None:
    _remove(rooms[queue], _job(subscription), subscription)
    if not rooms[queue]:
        del rooms[queue]


_Key = TypeVar("_Key", str, bytes)


def _remove(rooms: dict[_Key, Members], key: _Key, subscription: Subscription) -> None:
    members = rooms[key]
    del members[subscription]
    if not members:
        del rooms[key]
