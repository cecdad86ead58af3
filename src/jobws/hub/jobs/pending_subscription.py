"""Where a subscription begins: what is read back, what the hash has to tell, what may be missing.

A subscription enters its room in the very step that answers it, and everything here is decided in that step: from what
the hub knows of the streams, and from what Redis said of the job a moment before. What happened between the two is
read back; where not all of that is known, the job is looked up once more. So nothing falls between looking and
listening, and nothing is held for an answer.
"""

from __future__ import annotations

from itertools import compress
from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from jobws.bullmq.events import Life
from jobws.hub.client import SEARCH_SIZE
from jobws.hub.jobs.missed import FINISHED, Replay, finished_text
from jobws.hub.jobs.subscription import DOUBTED
from jobws.protocol.identifiers import START, before, is_after, lower, position
from jobws.protocol.messages import ItemError, JobSnapshot, Result

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jobws.bullmq.events import Kind
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.history import Recorded
    from jobws.hub.jobs.query import Query
    from jobws.hub.jobs.subscription import Subscription
    from jobws.protocol.messages import Evicted
    from jobws.protocol.request_types import Identity, Subscribe

# Of several queues that know an id, one may have ended a job of that id last week, which nobody asked about.
AMBIGUOUS_MILLISECONDS: Final = 60_000
UNSUBSCRIBED: Final = ItemError("unsubscribed", "the subscription was left before it was answered")


class PendingSubscription:
    """A request to subscribe that waits for what Redis knows of its jobs.

    Args:
        request: What the client asked for.
        labels: The queues that exist; a live view.

    Attributes:
        subscriptions: One per item of the request, in order.
        evicted: The subscriptions that were left to make place.
    """

    __slots__ = ("_labels", "evicted", "request", "subscriptions")

    def __init__(self, request: Subscribe, labels: Collection[str]) -> None:
        self.request = request
        self.subscriptions: list[Subscription | ItemError] = []
        self.evicted: list[Evicted] = []
        self._labels = labels

    @property
    def size(self) -> int:
        """How many subscriptions it has; a search for queues counts as many."""
        unknown = any(queue is not None and queue not in self._labels for queue in self.queues)
        return len(self.subscriptions) + (SEARCH_SIZE if unknown else 0)

    @property
    def present(self) -> list[Subscription]:
        """The subscriptions that are still there."""
        return [
            subscription
            for subscription in self.subscriptions
            if not isinstance(subscription, ItemError) and not subscription.left
        ]

    @property
    def queues(self) -> set[str | None]:
        """The queues that these name, and None if any names none."""
        return {room.queue for room in self.rooms}

    @property
    def rooms(self) -> list[Identity]:
        """The rooms of the subscriptions that are still there."""
        return [subscription.request.room for subscription in self.present]


class Begun:
    """One subscription as it begins.

    Attributes:
        result: What the ack says of it.
        replays: What is to be read back, in order.
        owed: The queues whose outcome the job's hash has, or stands for because it vanished.
        stale: The queues in which the job may have ended since it was looked up.
    """

    __slots__ = ("owed", "replays", "result", "stale")

    def __init__(
        self, result: Result, replays: Sequence[Replay] = (), owed: Sequence[str] = (), stale: Collection[str] = ()
    ) -> None:
        self.result = result
        self.replays = replays
        self.owed = owed
        self.stale = stale


def begin(subscription: Subscription, query: Query, fanout: Fanout, now_milliseconds: float) -> Begun:
    """What a subscription gets from before its answer; its `job_states` and `delivered` are set.

    Args:
        subscription: The one that begins.
        query: What Redis said.
        fanout: What is known of the streams now.
        now_milliseconds: The time as Redis tells it.
    """
    room = subscription.request.room
    if room.queue is not None and not query.knows(room.queue):
        return _begin_unknown(subscription, room.queue)
    if room.job_id is None:
        queue = str(room.queue)
        return Begun(Result(after={queue: now_in(queue, fanout)}))
    ahead = query.ahead(room.queue, subscription.request.after or {})
    if ahead:
        subscription.had = {queue: stream_id.encode() for queue, stream_id in ahead.items()}
    parts = []
    for queue, snapshot in query.having(room).items():
        if isinstance(snapshot, ItemError):
            return Begun(Result(error=snapshot))
        parts.append(_Part(subscription, queue, snapshot, query, fanout))
    is_late = subscription.request.after is None
    is_ambiguous = room.queue is None and is_late and len(parts) > 1
    oldest = now_milliseconds - AMBIGUOUS_MILLISECONDS if is_ambiguous else -inf
    for part in parts:
        part.decide(oldest)
    replays = [Replay(subscription, part.queue, part.stream_ids, part.kinds) for part in parts if part.stream_ids]
    if replays:
        replays[-1].is_last = True
    until_end = subscription.request.until_end
    told = any(part.stream_ids or part.owed or part.is_alive or (part.snapshot and not until_end) for part in parts)
    after = {**ahead, **{part.queue: part.begins() for part in parts if room.queue is not None or part.is_here}}
    if room.queue is not None:
        after.setdefault(room.queue, now_in(room.queue, fanout))
    stale = query.stale(room)
    for queue in stale:
        if subscription.job_states.get(queue) is not None:
            subscription.job_states[queue] = DOUBTED
    result = Result(
        jobs=[part.snapshot for part in parts if part.snapshot is not None],
        unknown=(not told and query.is_read(room.queue)) or UNSET,
        gap=bool(stale) or query.may_miss(room.queue, subscription.request.after or {}) or UNSET,
        ambiguous=is_ambiguous or UNSET,
        after=after,
    )
    return Begun(result, replays, [part.queue for part in parts if part.owed], stale)


def _begin_unknown(subscription: Subscription, queue: str) -> Begun:
    """What a subscription gets that names a queue that is not there yet: everything, from the first entry on."""
    gone = (subscription.request.after or {}).get(queue, START) != START
    is_job = subscription.request.room.job_id is not None
    return Begun(
        Result(
            jobs=[] if is_job else UNSET,
            unknown=is_job or UNSET,
            gap=gone or UNSET,
            unknown_queue=True,
            after={queue: START},
        )
    )


def now_in(queue: str, fanout: Fanout) -> str:
    """The position of what happens from now on."""
    return START if queue in fanout.without_events else fanout.cursors.get(queue, START)


class _Part:
    """What one queue has to tell a subscription.

    Attributes:
        stream_ids, kinds: What is to be read back.
        owed: Whether the outcome comes from the hash, or from its having vanished.
        withheld: Whether an outcome is not told: the client has it, or it is too old.
        is_had: Whether the client's own position says that it has the outcome that the stream holds. Without a position
            in this queue it would get that again.
    """

    def __init__(
        self, subscription: Subscription, queue: str, snapshot: JobSnapshot | None, query: Query, fanout: Fanout
    ) -> None:
        request = subscription.request
        job_id = request.room.job_id or ""
        self.queue = queue
        self.snapshot = snapshot
        self.stream_ids: list[bytes] = []
        self.kinds: list[Kind] = []
        self.owed = False
        self.withheld = False
        self.is_had = False
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
        """Whether the job lives, as far as is known."""
        return self._subscription.job_states.get(self.queue, b"") is None

    @property
    def is_here(self) -> bool:
        """Whether the queue has the job, has something to tell of it, or holds that back."""
        tells = self.stream_ids or self.owed or self.withheld or self.is_had
        return bool(self.snapshot is not None or tells or self.is_alive)

    def decide(self, oldest: float) -> None:
        """Find what is told. An outcome from before `oldest`, epoch milliseconds, is withheld."""
        transition = self._history.last_transition(self._job_id)
        ended = transition if transition is not None and transition.kind.life is not Life.LIVES else None
        self._subscription.job_states[self.queue] = None if ended is None else ended.stream_id
        self._read_back(ended, oldest)
        if ended is None or ended.kind.life is Life.GONE:
            self._look_at_hash(transition, oldest)
        if self.withheld and self._finished is not None:
            self._subscription.note_delivered(self.queue, self._finished)

    def _read_back(self, ended: Recorded | None, oldest: float) -> None:
        """Events after the client's position, or the snapshot; and the outcome, if that was before and not sent."""
        request = self._subscription.request
        start = self._moment if self._after is None else self._after
        self.stream_ids, self.kinds = self._history.after(self._job_id, start)
        if ended is not None and position(ended.stream_id) <= position(start):
            if self._after is None:
                self.withheld = position(ended.stream_id)[0] < oldest
                is_due = ended.kind.life is Life.ENDS and not self.withheld
            else:
                is_due = self._is_foreign and not self._was_sent
                self.is_had = not is_due
            if is_due:
                self.stream_ids, self.kinds = [ended.stream_id, *self.stream_ids], [ended.kind, *self.kinds]
        if request.events is not None:
            chosen = [kind.name.text in request.events for kind in self.kinds]
            self.stream_ids, self.kinds = list(compress(self.stream_ids, chosen)), list(compress(self.kinds, chosen))

    def _look_at_hash(self, transition: Recorded | None, oldest: float) -> None:
        """What the stream does not tell: an outcome that it has lost, or an end that was silent."""
        subscription, queue = self._subscription, self.queue
        if transition is not None and position(transition.stream_id) > position(self._moment):
            return  # it says more than the snapshot
        if self._finished is not None:
            self.withheld = self._was_sent or self._is_older(oldest)
            self.owed = not self.withheld and subscription.request.chooses(self.snapshot.state if self.snapshot else "")
            if self.owed:
                subscription.job_states[queue] = None
            else:
                subscription.settle(queue, self._moment, self._finished)
        elif self.snapshot is None and self.is_alive and self._is_read:
            # Only one who was told that it lives, or would be, is told that it does no more.
            self.owed = (
                transition is not None
                and self._after is not None
                and is_after(transition.stream_id, self._after.encode())
            )
            if not self.owed:
                del subscription.job_states[queue]

    @property
    def _was_sent(self) -> bool:
        """Whether the client's own position names the hash's outcome."""
        sent = self._subscription.request.sent
        return self._finished is not None and sent is not None and sent.get(self.queue) == self._finished

    def _is_older(self, oldest: float) -> bool:
        """Whether an outcome that the stream does not have is from before `oldest`."""
        if self.queue in self._fanout.without_events:
            finished = UNSET if self.snapshot is None else self.snapshot.finished_on
            return (0.0 if finished is UNSET else finished) < oldest
        reach = self._history.reach
        return reach is not None and position(reach)[0] < oldest

    def begins(self) -> str:
        """The position from which the client gets everything that it has not."""
        ahead = self._subscription.had is not None and self.queue in self._subscription.had
        at = self._after if ahead and self._after is not None else now_in(self.queue, self._fanout)
        if self.stream_ids:
            at = lower(at, before(self.stream_ids[0]))
        if self.owed:
            at = lower(at, START if self._after is None or self._is_foreign else self._after)
        return f"{at}~{self._finished}" if self.withheld and self._finished is not None else at
