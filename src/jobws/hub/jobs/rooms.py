"""The rooms: which subscriptions get the events of a job or of a queue.

A room has all subscriptions to one job id, in one queue or in any, or all subscriptions to one whole queue. Rooms are
found by queue. So an event without subscriptions costs two hash look-ups, however many rooms there are, and work for
one queue visits only the rooms of this queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from jobws.hub.jobs.subscription import JobEnded, Subscriber, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

# A dictionary is used as a set that keeps its order: the oldest member comes first.
Members: TypeAlias = dict[Subscription, None]
JobRooms: TypeAlias = "dict[bytes, Members]"
"""Rooms by job id. The id is in UTF-8, as in the stream."""

_NOBODY: Final[Mapping[Subscription, None]] = {}
_NO_ROOMS: Final[Mapping[bytes, Members]] = {}


class Rooms:
    """All rooms. A room exists as long as it has a member.

    Args:
        on_listened: Called with a queue when `is_named` has changed for it, and with None when `seeking` has changed or
            a subscription to every queue came or left. It must not wait.

    Attributes:
        anywhere: The rooms of subscriptions that name a job id and no queue.
    """

    def __init__(self, on_listened: Callable[[str | None], None]) -> None:
        self.anywhere: JobRooms = {}
        self._on_listened = on_listened
        self._named: dict[str, JobRooms] = {}
        self._queues: dict[str, Members] = {}
        self._every_queue: Members = {}
        # The subscriptions that name no queue: by each queue that is known to have their job, and those for whose job
        # no queue is known.
        self._found: dict[str, JobRooms] = {}
        self._seeking: Members = {}
        # The subscriptions whose clients have a right to some events of the room only.
        self._limited: Members = {}
        # How many subscriptions that are not in `_limited` each client has, by the queue that they name, or None.
        self._counts: dict[str | None, dict[Subscriber, int]] = {}

    def __len__(self) -> int:
        return len(self._queues) + bool(self._every_queue) + len(self.anywhere) + sum(map(len, self._named.values()))

    # ---- finding subscriptions ----

    def named(self, queue: str) -> Mapping[bytes, Members]:
        """Return the rooms of the subscriptions that name this queue and a job, by job id in UTF-8."""
        return self._named.get(queue, _NO_ROOMS)

    def whole_queue(self, queue: str) -> Mapping[Subscription, None]:
        """Return the subscriptions to the whole queue, and those to every queue that get the events of this one."""
        members = self._queues.get(queue, _NOBODY)
        if not self._every_queue:
            return members
        return {**members, **{each: None for each in self._every_queue if each.gets_events_of(queue)}}

    @property
    def may_want_stats(self) -> bool:
        """Whether a subscription wants the numbers of a queue or of every queue, even if no queue is there yet."""
        rooms = (self._every_queue, *self._queues.values())
        return any(each.request.stats for members in rooms for each in members)

    def wanting_stats(self, labels: Iterable[str]) -> dict[str, list[Subscription]]:
        """Return the present subscriptions that want the numbers of a queue, by queue.

        Those to every queue want those of all `labels`. One whose client has no right to the numbers is left out. A
        queue that a subscription names is there even if `labels` does not have it. A queue that none wants is not.
        """
        everywhere = any(each.request.stats for each in self._every_queue)
        wanting = {
            queue: [each for each in self.whole_queue(queue) if each.request.stats and each.reads(queue)]
            for queue in dict.fromkeys((*self._queues, *(labels if everywhere else ())))
        }
        return {queue: members for queue, members in wanting.items() if members}

    def of_job(self, queue: str, job_id: str) -> list[Subscription]:
        """Return the subscriptions to this job that get its events of this queue, without those to the whole queue.

        They name this queue, or no queue while the client may read the job in this one.
        """
        key = job_id.encode()
        anywhere = (each for each in self.anywhere.get(key, ()) if each.gets_events_of(queue))
        return [*anywhere, *self.named(queue).get(key, ())]

    def is_listened_to(self, queue: str) -> bool:
        """Return whether clients want events of `queue`: `is_named`, or a subscription to every queue gets them."""
        return self.is_named(queue) or any(each.gets_events_of(queue) for each in self._every_queue)

    def is_named(self, queue: str) -> bool:
        """Return whether a subscription names the queue, or names no queue while its job is known to be in this one."""
        return queue in self._named or queue in self._queues or queue in self._found

    @property
    def seeking(self) -> bool:
        """Whether a subscription names a job id but no queue, and no queue is known to have this job now.

        The job may then turn up in any queue.
        """
        return bool(self._seeking)

    @property
    def named_queues(self) -> Collection[str]:
        """The queues for which `is_named` is true now; a copy."""
        return {**self._named, **self._queues, **self._found}.keys()

    def watched(self, queue: str) -> Iterator[bytes | None]:
        """Yield the ids of all jobs whose events in this queue a subscription wants, even if the queue has no such job.

        This includes the ids of subscriptions that name no queue. If none of their clients may read the job in this
        queue, None is yielded in its place, so that no step takes long. Rooms may change between steps.
        """
        named = self.named(queue)
        yield from list(named)
        for job_id in list(self.anywhere):
            if job_id not in named:
                yield job_id if any(each.gets_events_of(queue) for each in self.anywhere.get(job_id, ())) else None

    def awaiting_outcome(self, queue: str) -> Iterator[bytes | None]:
        """Yield the ids of a queue's jobs for which a subscription still waits for an outcome.

        A job of a subscription that names no queue counts only if it is known to be in this queue. None is yielded in
        place of a job for which no subscription waits, so that no step takes long. Rooms may change between steps.
        """
        named = self.named(queue)
        for job_id in list(named):
            yield job_id if self._awaits_outcome(queue, job_id) else None
        for job_id in list(self._found.get(queue, ())):
            yield job_id if job_id not in named and self._awaits_outcome(queue, job_id) else None

    def _awaits_outcome(self, queue: str, job_id: bytes) -> bool:
        members = (*self.named(queue).get(job_id, ()), *self._found.get(queue, _NO_ROOMS).get(job_id, ()))
        return any(not isinstance(each.job_states.get(queue), JobEnded) for each in members)

    def clients_of(self, queue: str) -> set[Subscriber]:
        """Return the clients that have a subscription to the queue, to a job of it, or to a job that may be in it."""
        limited = {each.client for each in self._limited if each.gets_events_of(queue)}
        return {*self._counts.get(queue, ()), *self._counts.get(None, ()), *limited}

    def of_jobs_in(self, queue: str) -> Iterator[Subscription]:
        """Yield the subscriptions to a job that name this queue, or name no queue while the job is known to be in it.

        No room may change meanwhile.
        """
        for rooms in (self.named(queue), self._found.get(queue, _NO_ROOMS)):
            for members in rooms.values():
                yield from members

    # ---- changes ----

    def join(self, subscription: Subscription) -> None:
        """Add `subscription` to its room."""
        room = subscription.request.key
        self._count(subscription, 1)
        if room.is_every_queue:
            self._every_queue[subscription] = None
            self._on_listened(None)
            return
        if room.queue is None:
            self.anywhere.setdefault(_job(subscription), {})[subscription] = None
            for queue in subscription.job_states:
                self.found(subscription, queue)
            if not subscription.job_states:
                self._seek(subscription)
            return
        is_first = not self.is_named(room.queue)
        if room.job_id is None:
            self._queues.setdefault(room.queue, {})[subscription] = None
        else:
            _add(self._named, room.queue, subscription)
        if is_first:
            self._on_listened(room.queue)

    def found(self, subscription: Subscription, queue: str) -> None:
        """Note that an event or a look-up showed that the queue has the job of `subscription`.

        If the subscription names a queue, nothing happens.
        """
        if subscription.request.key.queue is None:
            is_first = not self.is_named(queue)
            _add(self._found, queue, subscription)
            if is_first:
                self._on_listened(queue)
            self._seek_no_more(subscription)

    def forget(self, queue: str) -> list[Subscription]:
        """Note that the queue is gone. Return the subscriptions that name no queue and whose job was known to be in it.

        They lose the state of their job in this queue, and the outcome that is owed for it. They stay in their rooms.
        """
        members = [subscription for room in self._found.pop(queue, {}).values() for subscription in room]
        for subscription in members:
            del subscription.job_states[queue]
            subscription.clear_owed(queue)
            if not subscription.job_states:
                self._seek(subscription)
        if members and not self.is_named(queue):
            self._on_listened(queue)
        return members

    def leave(self, subscription: Subscription) -> None:
        """Remove `subscription` from its room. A room without members is removed, too."""
        room = subscription.request.key
        self._count(subscription, -1)
        if room.is_every_queue:
            del self._every_queue[subscription]
            self._on_listened(None)
            return
        if room.queue is None:
            _remove(self.anywhere, _job(subscription), subscription)
            self._seek_no_more(subscription)
            for queue in subscription.job_states:
                _drop(self._found, queue, subscription)
                if not self.is_named(queue):
                    self._on_listened(queue)
            return
        if room.job_id is None:
            _remove(self._queues, room.queue, subscription)
        else:
            _drop(self._named, room.queue, subscription)
        if not self.is_named(room.queue):
            self._on_listened(room.queue)

    def _count(self, subscription: Subscription, change: int) -> None:
        if subscription.sight is not None:
            if change > 0:
                self._limited[subscription] = None
            else:
                del self._limited[subscription]
            return
        counts = self._counts.setdefault(subscription.request.key.queue, {})
        count = counts.get(subscription.client, 0) + change
        if count:
            counts[subscription.client] = count
        else:
            del counts[subscription.client]
            if not counts:
                del self._counts[subscription.request.key.queue]

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
    return (subscription.request.key.job_id or "").encode()


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
