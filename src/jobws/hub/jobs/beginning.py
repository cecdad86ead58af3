"""Decides what a subscription begins with: which past events it gets, and which outcomes are made from jobs' hashes.

This is decided in the synchronous step in which the subscription enters its room. From then on it holds events until
the ack of its request. The decision follows from the job's snapshot, which was read from Redis before, and from the
hub's history of the stream. Events between the snapshot and this step are replayed. If the history no longer has some
of them, the job is looked up again. So no outcome is missed.
"""

from __future__ import annotations

from itertools import compress
from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from jobws.bullmq.events import Life
from jobws.hub.jobs.missed import FINISHED, Beginning, Replay, finished_text
from jobws.hub.jobs.positions import now_in
from jobws.hub.jobs.queue_replay import QueueReplay
from jobws.hub.jobs.subscription import ALIVE, DOUBTED, JobEnded
from jobws.protocol.identifiers import START, before, is_after, later, lower, position
from jobws.protocol.messages import ItemError, JobSnapshot, Result

if TYPE_CHECKING:
    from collections.abc import Collection

    from jobws.bullmq.events import Kind
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.query import Query
    from jobws.hub.jobs.queue_history import Recorded
    from jobws.hub.jobs.subscription import Subscription

# If several queues have a job id, outcomes older than this are not sent: the client may not mean these jobs.
AMBIGUOUS_MILLISECONDS: Final = 60_000


def begin(subscription: Subscription, query: Query, fanout: Fanout, now_milliseconds: float) -> Beginning:
    """Return what a subscription begins with, and set its `job_states`, `delivered` and `ahead`.

    If the look-up failed for its job, the `result` that is returned has only `error`, and the caller ends the
    subscription.

    Args:
        subscription: The subscription, which is not answered yet.
        query: The look-up of its job in Redis, with the results.
        fanout: What is known of the streams now.
        now_milliseconds: The present time, in milliseconds since 1970.
    """
    room = subscription.request.key
    if room.queue is not None and not query.knows(room.queue):
        return _begin_unknown(subscription, room.queue)
    if room.job_id is None:
        return _begin_queues(subscription, query, fanout)
    wanted = subscription.after
    ahead = query.ahead(room.queue, wanted)
    if ahead:
        subscription.ahead = {queue: stream_id.encode() for queue, stream_id in ahead.items()}
    parts = []
    for queue, snapshot in query.found(subscription).items():
        if isinstance(snapshot, ItemError):
            return Beginning(Result(error=snapshot))
        parts.append(_QueueBeginning(subscription, queue, snapshot, query, fanout))
    is_late = subscription.request.after is None
    is_ambiguous = room.queue is None and is_late and len(parts) > 1
    oldest_milliseconds = now_milliseconds - AMBIGUOUS_MILLISECONDS if is_ambiguous else -inf
    for part in parts:
        part.decide(oldest_milliseconds)
    replays = [Replay(subscription, part.queue, part.stream_ids, part.kinds) for part in parts if part.stream_ids]
    if replays:
        replays[-1].is_last = True
    until_end = subscription.request.until_end
    is_known = any(part.stream_ids or part.owed or part.is_alive or (part.snapshot and not until_end) for part in parts)
    after = {**ahead, **{part.queue: part.begins() for part in parts if room.queue is not None or part.is_here}}
    if room.queue is not None:
        after.setdefault(room.queue, now_in(room.queue, fanout))
    if subscription.request.children:
        # Events that the client missed of the jobs below may be before any position that the client has not got yet.
        after = dict(subscription.request.after or {str(room.queue): START})
    stale = query.stale(subscription)
    for queue in stale:
        if isinstance(subscription.job_states.get(queue), JobEnded):
            subscription.job_states[queue] = DOUBTED
    result = Result(
        jobs=[part.snapshot for part in parts if part.snapshot is not None],
        unknown=(not is_known and query.is_whole(subscription)) or UNSET,
        gap=bool(stale) or query.may_miss(room.queue, wanted) or UNSET,
        ambiguous=is_ambiguous or UNSET,
        after=after,
    )
    return Beginning(result, replays, [part.queue for part in parts if part.owed], stale)


def _begin_unknown(subscription: Subscription, queue: str) -> Beginning:
    """Return what a subscription to a queue that does not exist begins with.

    This is the position before the queue's first event, so that it misses none if the queue appears. The ack has `gap`
    if the client has a position in the queue, since its events are gone.
    """
    gone = (subscription.request.after or {}).get(queue, START) != START
    is_job = subscription.request.key.job_id is not None
    return Beginning(
        Result(
            jobs=[] if is_job else UNSET,
            unknown=is_job or UNSET,
            gap=gone or UNSET,
            unknown_queue=True,
            after={queue: START},
        )
    )


def _begin_queues(subscription: Subscription, query: Query, fanout: Fanout) -> Beginning:
    """Return what a subscription to whole queues begins with: all past events after the client's positions.

    In a queue without a position it gets only new events, with one exception. If it is to every queue, and the client
    returned with `after`, a queue that `after` does not name was found after the client had left. The subscription gets
    all events of this queue.
    """
    room, wanted = subscription.request.key, subscription.after
    if room.queue is not None:
        queues: Collection[str] = (room.queue,)
    else:
        # In an order that does not depend on the client's rights.
        queues = sorted(each for each in query.queues if query.knows(each) and subscription.gets_events_of(each))
        if subscription.request.after is not None:
            wanted = {queue: wanted.get(queue, START) for queue in queues}
    ahead = query.ahead(room.queue, wanted)
    subscription.ahead = {queue: stream_id.encode() for queue, stream_id in ahead.items()} or None
    after: dict[str, str] = {}
    replays: list[Replay] = []
    for queue in queues:
        start = None if queue in ahead else wanted.get(queue)
        if start is not None and fanout.is_foreign(queue, start, query.end(queue)):
            start = START
        history = fanout.history.of(queue)
        newest = history.newest
        if start is None or newest is None or position(newest.stream_id) <= position(start):
            after[queue] = ahead[queue] if queue in ahead else now_in(queue, fanout)
            continue
        after[queue] = start
        # The ack tells of events that are forgotten already.
        replays.append(QueueReplay(subscription, queue, history, newest, later(start, history.floor or START)))
    if replays:
        replays[-1].is_last = True
    return Beginning(Result(after=after, gap=query.may_miss(room.queue, wanted) or UNSET), replays)


class _QueueBeginning:
    """What a subscription to a job begins with in one queue. `decide` sets the attributes.

    `snapshot` is None if the queue did not have the job at the look-up, or was not asked; see `Query.found`.

    Attributes:
        stream_ids, kinds: The stream ids and the kinds of the past events to send, oldest first.
        owed: Whether an outcome is to be made from the job's hash, or from its absence.
        withheld: Whether an outcome is not sent because it is too old, or because only the hash has it and the client
            has it, too.
    """

    def __init__(
        self, subscription: Subscription, queue: str, snapshot: JobSnapshot | None, query: Query, fanout: Fanout
    ) -> None:
        request = subscription.request
        job_id = request.key.job_id or ""
        self.queue = queue
        self.snapshot = snapshot
        self.stream_ids: list[bytes] = []
        self.kinds: list[Kind] = []
        self.owed = False
        self.withheld = False
        self._subscription = subscription
        self._fanout = fanout
        self._history = fanout.history.of(queue)
        self._job_id = job_id.encode()
        self._moment = query.moment(queue, job_id)
        self._is_read = query.is_read(queue)
        self._after = None if request.after is None else request.after.get(queue)
        self._is_foreign = self._after is not None and fanout.is_foreign(queue, self._after, query.end(queue))
        self._finished = None
        if snapshot is not None and snapshot.state in FINISHED:
            self._finished = finished_text(snapshot)

    @property
    def is_alive(self) -> bool:
        """Whether the job counts as alive in this queue: no outcome is known, or one is owed. False before `decide`."""
        return self._subscription.job_states.get(self.queue) is ALIVE

    @property
    def is_here(self) -> bool:
        """Whether the ack gives a position in this queue, which has the job or events of it.

        It gives none if the job is gone, and nothing is to be sent. But a client with a position here keeps it, or it
        would take an older one from a `pong`, and get events again.
        """
        has_events = self.stream_ids or self.owed or self.withheld
        return bool(self.snapshot is not None or has_events or self.is_alive or self._after is not None)

    def decide(self, oldest_milliseconds: float) -> None:
        """Set the attributes, and the subscription's `job_states` and `delivered` for this queue.

        A client without a position does not get an outcome that is certainly from before `oldest_milliseconds`, in
        milliseconds since 1970.
        """
        transition = self._history.last_transition(self._job_id)
        ended = transition if transition is not None and transition.kind.life is not Life.LIVES else None
        self._subscription.job_states[self.queue] = ALIVE if ended is None else JobEnded(ended.stream_id)
        self._read_back(ended, oldest_milliseconds)
        if ended is None or ended.kind.life is Life.GONE:
            self._look_at_hash(transition, oldest_milliseconds)
        if self._settled is not None:
            self._subscription.note_delivered(self.queue, self._settled)

    def _read_back(self, ended: Recorded | None, oldest_milliseconds: float) -> None:
        """Choose the past events to send, from the history. They become `stream_ids` and `kinds`.

        These are the events after the client's position or, without one, after the snapshot. Of a job below in a flow,
        they are also those after `ChildOf.since`. `ended` is the event with which the job has ended; None if it is
        alive. If `ended` is not later than that, it is added in two cases. A client without a position gets it if it is
        `completed` or `failed`, and not from before `oldest_milliseconds`, a time since 1970. A client with a position
        gets it if the position may be from an earlier stream, and does not show that the client has the outcome. Events
        that the subscription did not choose are left out.
        """
        request = self._subscription.request
        start = self._moment if self._after is None else self._after
        if request.child_of is not None and request.child_of.since is not None:
            start = lower(start, request.child_of.since)
        self.stream_ids, self.kinds = self._history.after(self._job_id, start)
        if ended is not None and position(ended.stream_id) <= position(start):
            if self._after is None:
                self.withheld = position(ended.stream_id)[0] < oldest_milliseconds
                is_due = ended.kind.life is Life.ENDS and not self.withheld
            else:
                is_due = self._is_foreign and not self._was_sent
            if is_due:
                self.stream_ids, self.kinds = [ended.stream_id, *self.stream_ids], [ended.kind, *self.kinds]
        if request.events is not None:
            chosen = [kind.name.text in request.events for kind in self.kinds]
            self.stream_ids, self.kinds = list(compress(self.stream_ids, chosen)), list(compress(self.kinds, chosen))

    def _look_at_hash(self, transition: Recorded | None, oldest_milliseconds: float) -> None:
        """Decide on an outcome that only the hash, or its absence, shows: the event was trimmed, or there was none.

        `transition` is the last event in the history that says whether the job is alive, or None.
        `decide` says what `oldest_milliseconds` is.
        """
        subscription, queue = self._subscription, self.queue
        if transition is not None and position(transition.stream_id) > position(self._moment):
            return  # the event is newer than the snapshot
        if self._finished is not None:
            self.withheld = self._was_sent or self._is_older(oldest_milliseconds)
            self.owed = not self.withheld and subscription.request.chooses(self.snapshot.state if self.snapshot else "")
            if self.owed:
                subscription.job_states[queue] = ALIVE
            else:
                subscription.note_outcome(queue, self._moment, self._finished)
        elif self.snapshot is None and self.is_alive and self._is_read:
            # A client that returns gets `removed` only if it missed an event that says that the job was alive. For
            # other clients, `unknown` in the ack says that the job is gone.
            self.owed = (
                transition is not None
                and self._after is not None
                and is_after(transition.stream_id, self._after.encode())
            )
            if not self.owed:
                del subscription.job_states[queue]

    @property
    def _was_sent(self) -> bool:
        """Whether the client's position shows that it got the outcome that the hash has."""
        sent = self._subscription.request.sent
        return self._finished is not None and sent is not None and sent.get(self.queue) == self._finished

    @property
    def _settled(self) -> str | None:
        """The `finished_text` of the hash's outcome if the client has it, or if it is too old; otherwise None."""
        return self._finished if self.withheld or self._was_sent else None

    def _is_older(self, oldest_milliseconds: float) -> bool:
        """Whether the outcome in the hash is certainly from before this time, in milliseconds since 1970.

        Call this only if the history does not have the event of this outcome.
        """
        if self.queue in self._fanout.without_events:
            finished = UNSET if self.snapshot is None else self.snapshot.finished_on
            return (0.0 if finished is UNSET else finished) < oldest_milliseconds
        reach = self._history.reach
        return reach is not None and position(reach)[0] < oldest_milliseconds

    def begins(self) -> str:
        """Return the position for the ack. Everything that the client does not have comes after it."""
        ahead = self._subscription.ahead is not None and self.queue in self._subscription.ahead
        at = self._after if ahead and self._after is not None else now_in(self.queue, self._fanout)
        if self.stream_ids:
            at = lower(at, before(self.stream_ids[0]))
        if self.owed:
            at = lower(at, START if self._after is None or self._is_foreign else self._after)
        return at if self._settled is None else f"{at}~{self._settled}"
