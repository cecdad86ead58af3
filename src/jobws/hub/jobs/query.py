"""One look-up in Redis for the jobs of several subscriptions, and its results.

A subscription may name a queue, or look for a job in every queue. The time that a query takes grows with the jobs that
are found, not with the product of jobs and queues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.hub.jobs.staleness import Staleness
from jobws.protocol.identifiers import START, later, position

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from jobws.bullmq.snapshot import LookUp
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.queue_history import KnownStream
    from jobws.hub.jobs.subscription import Subscription
    from jobws.protocol.messages import Cursor, ItemError, JobSnapshot

_NOTHING: Final[Mapping[str, JobSnapshot | ItemError]] = {}


class Query:
    """One look-up for some subscriptions: call `note_streams`, read `job_ids` from Redis, then call `keep_answer`.

    Args:
        subscriptions: The subscriptions.
        labels: The labels of all queues that exist; a live view.
        fanout: What is known of the queues' streams.

    Attributes:
        queues: The labels of the queues that exist and in which subscriptions want a job or all jobs.
        unknown: The labels that subscriptions name and that do not exist.
        known: By label, what was known of the queue's stream when `note_streams` was called.
    """

    __slots__ = (
        "_ahead",
        "_anywhere",
        "_fanout",
        "_found",
        "_holed",
        "_labels",
        "_look_up",
        "_named",
        "_sought",
        "_staleness",
        "_unread",
        "known",
        "queues",
        "unknown",
    )

    def __init__(self, subscriptions: Iterable[Subscription], labels: Collection[str], fanout: Fanout) -> None:
        self.queues: dict[str, None] = {}
        self.unknown: list[str] = []
        self._labels = labels
        self._fanout = fanout
        self._named: dict[str, dict[str, None]] = {}
        # The ids that are looked up in every queue. `_sought` also has those that are looked up in some queues.
        self._anywhere: dict[str, None] = {}
        self._sought: dict[str, None] = {}
        for subscription in subscriptions:
            self._add(subscription)
        if self._anywhere:
            self.queues.update(dict.fromkeys(labels))
        self.known: dict[str, KnownStream] = {}
        self._staleness = Staleness(fanout.history, labels, self.known)
        self._look_up: LookUp | None = None
        self._unread: set[str] = set()
        # What was found of the jobs of subscriptions without a queue: by job id, then by queue.
        self._found: dict[str, dict[str, JobSnapshot | ItemError]] = {}
        # Caches of `may_miss` and `ahead`, by the `id` of a client's positions, with these, so that they live on.
        self._holed: dict[int, tuple[Mapping[str, str], bool]] = {}
        self._ahead: dict[int, tuple[Mapping[str, str], Cursor]] = {}

    def _add(self, subscription: Subscription) -> None:
        room = subscription.request.key
        if room.queue is not None:
            if room.queue not in self._labels:
                self.unknown.append(room.queue)
            else:
                # No job has the empty id, but its look-up also tells how far the stream reaches.
                self._name(room.queue, "" if room.job_id is None and subscription.after else room.job_id)
            return
        if room.job_id is None:
            for queue in subscription.among(self._labels):
                self._name(queue, "" if queue in subscription.after else None)
            return
        job_id = room.job_id
        self._sought[job_id] = None
        among = subscription.among(self._labels)
        if among is self._labels:
            self._anywhere[job_id] = None
        else:
            for queue in among:
                self._name(queue, job_id)

    def _name(self, queue: str, job_id: str | None) -> None:
        self.queues[queue] = None
        if job_id is not None:
            self._named.setdefault(queue, {})[job_id] = None

    # ---- the look-up ----

    @property
    def job_ids(self) -> Mapping[str, Collection[str]]:
        """The ids of the jobs to read from Redis, by queue. Empty if none is needed."""
        if not self._anywhere:
            return self._named
        return {
            queue: {**self._anywhere, **self._named[queue]} if queue in self._named else self._anywhere
            for queue in self.queues
        }

    @property
    def sought(self) -> Collection[str]:
        """The ids among `job_ids` that a subscription without a queue looks for. Most queues do not have such a job."""
        return self._sought

    def note_streams(self) -> None:
        """Note what is known of the queues' streams. Call this immediately before jobs are read from Redis."""
        for queue in self.queues:
            known = self.known[queue] = self._fanout.known(queue)
            self._staleness.note(queue, known)

    def keep_answer(self, look_up: LookUp) -> None:
        """Keep what Redis answered, and note which streams were not published up to `look_up.ends` (see `is_read`)."""
        self._look_up = look_up
        cursors = self._fanout.cursors
        self._unread = {
            queue
            for queue in self.known
            if (end := look_up.ends.get(queue, START)) != (cursor := cursors.get(queue, START))
            and position(end) > position(cursor)
        }
        for (queue, job_id), answer in look_up.found.items() if self._sought else ():
            if job_id in self._sought and queue in self.queues and answer is not None:
                self._found.setdefault(job_id, {})[queue] = answer

    # ---- whether subscriptions can be answered ----

    def being_reread(self, subscriptions: Iterable[Subscription]) -> list[str]:
        """Return the queues whose streams are being read again, and for which these subscriptions must therefore wait.

        A subscription without a queue waits only for a queue in which it has a position or this look-up found its job,
        or whose history from before the second reading has events of the job. Otherwise it might wait for ever, since
        among many queues there may always be one that is read again.
        """
        if not self._fanout.rereads:
            return []
        concerned = list(subscriptions)
        return [queue for queue in self._fanout.rereads if any(self._must_wait(each, queue) for each in concerned)]

    def must_wait_for(self, subscription: Subscription) -> bool:
        """Whether a subscription cannot begin: one of its queues is being read again, or was found since the query.

        A subscription to a job that names no queue does not wait for queues that were found since.
        """
        if self._fanout.rereads and self.being_reread((subscription,)):
            return True
        key = subscription.request.key
        if key.queue is not None:
            return key.queue in self._labels and key.queue not in self.queues
        return key.job_id is None and not all(map(self.queues.__contains__, subscription.among(self._labels)))

    def _must_wait(self, subscription: Subscription, queue: str) -> bool:
        room = subscription.request.key
        if room.queue is not None or not subscription.gets_events_of(queue):
            return room.queue == queue
        if room.job_id is None:
            return subscription.request.after is not None
        return (
            queue in (subscription.request.after or {})
            or queue in self._found.get(room.job_id, _NOTHING)
            or room.job_id.encode() in self._fanout.rereads[queue].job_ids
        )

    def stale(self, subscription: Subscription) -> Collection[str]:
        """Return the subscription's queues in which events since the look-up were forgotten, or were lost in a hole.

        There, the job may have ended without an event that the history has, so it must be looked up again.
        """
        room = subscription.request.key
        if room.job_id is None:
            return ()
        if room.queue is not None:
            return (room.queue,) if room.queue in self._labels and self._staleness.of(room.queue) else ()
        return [queue for queue in self._staleness.queues if subscription.gets_events_of(queue)]

    # ---- the results ----

    def knows(self, queue: str) -> bool:
        """Return whether the queue existed at the look-up and exists now."""
        return queue in self.queues and queue in self._labels

    def found(self, subscription: Subscription) -> Mapping[str, JobSnapshot | ItemError | None]:
        """Return what was found of the subscription's job, by queue that has the job or events of it, sorted by label.

        None means that the queue has events of the job, but did not have the job at the look-up or was not asked. An
        ItemError says why the job could not be read from Redis.
        """
        room = subscription.request.key
        job_id = room.job_id or ""
        if room.queue is not None:
            found = None if self._look_up is None else self._look_up.found.get((room.queue, job_id))
            known = found is not None or job_id.encode() in self._fanout.history.of(room.queue).job_ids
            return {room.queue: found} if known else {}
        found_in = self._found.get(job_id, _NOTHING)
        others = [queue for queue in self._fanout.history.queues_of(job_id.encode()) if queue not in found_in]
        having = {**found_in, **dict.fromkeys(others)}
        # In an order that does not depend on other subscriptions of this look-up.
        queues = (queue for queue in sorted(having) if self._is_read_back(queue) and subscription.gets_events_of(queue))
        return {queue: having[queue] for queue in queues}

    def _is_read_back(self, queue: str) -> bool:
        return queue in self._labels and (queue in self.queues or self._fanout.history.filled(queue))

    def moment(self, queue: str, job_id: str) -> str:
        """Return the id up to which the job's snapshot, or absence, reflects the stream; `0-0` if that began again."""
        if queue not in self.known:  # the queue was found after the look-up
            return self._fanout.cursors.get(queue, START)
        # The answer of Redis is missing if the stream is empty, and too low if the stream began again with lower ids.
        asked = {} if self._look_up is None else self._look_up.moments
        moment = later(self.known[queue].cursor, asked.get((queue, job_id), START))
        if self._staleness.of(queue) and self._fanout.is_foreign(queue, moment, START):
            return START  # the stream was created again since the look-up
        return moment

    def end(self, queue: str) -> str:
        """Return the queue's last stream id at the look-up; `0-0` if the stream was empty or may have begun again."""
        return START if self._look_up is None or self._staleness.of(queue) else self._look_up.ends.get(queue, START)

    def is_whole(self, subscription: Subscription) -> bool:
        """Whether every stream that was looked up for the subscription was published up to its end; see `is_read`."""
        queue = subscription.request.key.queue
        if queue is not None:
            return self.is_read(queue)
        return all(self._staleness.of(each) for each in self._unread if subscription.gets_events_of(each))

    def is_read(self, queue: str) -> bool:
        """Whether the queue was looked up, and its stream was published up to the end that it had then.

        Also true if the stream may have been created again since.
        """
        return queue in self.known and (queue not in self._unread or self._staleness.of(queue))

    def may_miss(self, queue: str | None, after: Mapping[str, str]) -> bool:
        """Return whether events after a client's positions may be gone, in the queue or (None) in any queue."""
        if queue is not None:
            return queue in after and self._may_miss(queue, after[queue])
        if not after:
            return False
        known = self._holed.get(id(after))
        if known is None:
            holed = any(self._may_miss(label, stream_id) for label, stream_id in after.items() if self.knows(label))
            known = self._holed[id(after)] = (after, holed)
        return known[1]

    def ahead(self, queue: str | None, after: Mapping[str, str]) -> Cursor:
        """Return those positions of `after`, in `queue` or (None) all queues, that this bridge has not reached yet."""
        if queue is not None:
            return {queue: after[queue]} if queue in after and self._is_ahead(queue, after[queue]) else {}
        if not after:
            return {}
        known = self._ahead.get(id(after))
        if known is None:
            ahead = {label: stream_id for label, stream_id in after.items() if self._is_ahead(label, stream_id)}
            known = self._ahead[id(after)] = (after, ahead)
        return known[1]

    def _is_ahead(self, queue: str, after: str) -> bool:
        # A stream that was published up to its end has reached every position in it.
        return queue in self._unread and position(self._fanout.cursors.get(queue, START)) < position(after) <= position(
            self.end(queue)
        )

    def _may_miss(self, queue: str, after: str) -> bool:
        fanout = self._fanout
        return queue not in fanout.without_events and (
            fanout.may_miss(queue, after) or fanout.is_foreign(queue, after, self.end(queue))
        )
