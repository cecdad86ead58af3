"""Where a subscription begins: what is read back, what the hash has to tell, what may be missing.

A subscription enters its room in the very step that answers it, and everything here is decided in that step: from what
the hub knows of the streams, and from what Redis said of the job a moment before. What happened between the two is
read back. So nothing falls between looking and listening, and nothing is held for an answer.
"""

from __future__ import annotations

from itertools import compress
from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from jobws.bullmq.events import Life
from jobws.hub.lacking import FINISHED, Replay, finished_text
from jobws.protocol.identifiers import START, before, is_after, lower, position
from jobws.protocol.messages import ItemError, JobSnapshot, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jobws.bullmq.events import Kind
    from jobws.bullmq.snapshot import Job, LookUp
    from jobws.hub.fanout import Fanout
    from jobws.hub.membership import Membership
    from jobws.hub.recent import Recorded
    from jobws.protocol.messages import Evicted, Subscribe

# Of several queues that know an id, one may have ended a job of that id last week, which nobody asked about.
AMBIGUOUS_MILLISECONDS: Final = 60_000
UNSUBSCRIBED: Final = ItemError("unsubscribed", "the subscription was left before it was answered")


class Join:
    """A request to subscribe that waits for what Redis knows of its jobs.

    Args:
        request: What the client asked for.

    Attributes:
        members: One per item of the request, in order.
        evicted: The subscriptions that were left to make place.
    """

    __slots__ = ("evicted", "members", "request")

    def __init__(self, request: Subscribe) -> None:
        self.request = request
        self.members: list[Membership | ItemError] = []
        self.evicted: list[Evicted] = []

    @property
    def size(self) -> int:
        """How many subscriptions it has."""
        return len(self.members)

    @property
    def present(self) -> list[Membership]:
        """The subscriptions that are still there."""
        return [member for member in self.members if not isinstance(member, ItemError) and not member.left]

    def queues(self, labels: Iterable[str]) -> list[str]:
        """The queues that must have been read before it can be answered, of those that exist."""
        named = {member.subscription.room.queue for member in self.present}
        return list(labels) if None in named else [queue for queue in named if queue is not None]

    def jobs(self, labels: Iterable[str]) -> list[Job]:
        """What to look up."""
        labels = list(labels)
        return [
            (queue, room.job_id)
            for room in (member.subscription.room for member in self.present)
            if room.job_id is not None
            for queue in (labels if room.queue is None else (room.queue,))
        ]


class Begun:
    """One subscription as it begins.

    Attributes:
        result: What the ack says of it.
        replays: What is to be read back, in order.
        owed: The queues whose outcome the job's hash has, or stands for because it vanished.
    """

    __slots__ = ("owed", "replays", "result")

    def __init__(self, result: Result, replays: list[Replay], owed: list[str]) -> None:
        self.result = result
        self.replays = replays
        self.owed = owed


def begin(
    membership: Membership, look_up: LookUp, seen: Mapping[str, str], fanout: Fanout, now_milliseconds: float
) -> Begun:
    """What a subscription to a job gets from before its answer; its `lives` and `told` are set.

    Args:
        membership: The subscription.
        look_up: What Redis said.
        seen: By queue, how far the stream was read before that was asked.
        fanout: What is known of the streams now.
        now_milliseconds: The time as Redis tells it.
    """
    room = membership.subscription.room
    job_id = room.job_id or ""
    parts = []
    for queue in seen if room.queue is None else (room.queue,):
        snapshot = look_up.found.get((queue, job_id))
        if isinstance(snapshot, ItemError):
            return Begun(Result(error=snapshot), [], [])
        if snapshot is not None or fanout.recent.of(queue).has(job_id.encode()):
            parts.append(_Part(membership, queue, snapshot, look_up, seen[queue], fanout))
    is_late = membership.subscription.after is None
    is_ambiguous = room.queue is None and is_late and len(parts) > 1
    oldest = now_milliseconds - AMBIGUOUS_MILLISECONDS if is_ambiguous else -inf
    for part in parts:
        part.decide(oldest)
    replays = [Replay(membership, part.queue, part.stream_ids, part.kinds) for part in parts if part.stream_ids]
    for replay in replays:
        replay.is_last = replay is replays[-1]
    until_end = membership.subscription.until_end
    told = any(part.stream_ids or part.owed or part.lives or (part.snapshot and not until_end) for part in parts)
    all_read = all(
        position(look_up.ends.get(queue, START)) <= position(fanout.cursors.get(queue, START))
        for queue in (seen if room.queue is None else (room.queue,))
    )
    after = {part.queue: part.begins() for part in parts if room.queue is not None or part.is_here}
    if room.queue is not None:
        after.setdefault(room.queue, now_in(room.queue, fanout))
    result = Result(
        jobs=[part.snapshot for part in parts if part.snapshot is not None],
        unknown=(not told and all_read) or UNSET,
        gap=_has_gap(membership, look_up, fanout) or UNSET,
        ambiguous=is_ambiguous or UNSET,
        after=after,
    )
    return Begun(result, replays, [part.queue for part in parts if part.owed])


def _has_gap(membership: Membership, look_up: LookUp, fanout: Fanout) -> bool:
    room, after = membership.subscription.room, membership.subscription.after or {}
    return any(
        fanout.may_lack(queue, stream_id) or fanout.is_foreign(queue, stream_id, look_up.ends.get(queue, START))
        for queue, stream_id in after.items()
        if room.queue in (None, queue) and queue not in fanout.without_events
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
    """

    def __init__(
        self,
        membership: Membership,
        queue: str,
        snapshot: JobSnapshot | None,
        look_up: LookUp,
        seen: str,
        fanout: Fanout,
    ) -> None:
        subscription = membership.subscription
        job_id, end = subscription.room.job_id or "", look_up.ends.get(queue, START)
        self.queue = queue
        self.snapshot = snapshot
        self.stream_ids: list[bytes] = []
        self.kinds: list[Kind] = []
        self.owed = False
        self.withheld = False
        self._membership = membership
        self._fanout = fanout
        self._recent = fanout.recent.of(queue)
        self._job_id = job_id.encode()
        # How far the snapshot speaks; an empty stream does not say.
        moment = look_up.moments.get((queue, job_id), START)
        self._moment = seen if moment == START else moment
        self._all_read = position(end) <= position(fanout.cursors.get(queue, START))
        self._after = None if subscription.after is None else subscription.after.get(queue)
        self._is_foreign = self._after is not None and fanout.is_foreign(queue, self._after, end)
        self._finished = None
        if snapshot is not None and snapshot.state in FINISHED:
            self._finished = finished_text(snapshot)

    @property
    def lives(self) -> bool:
        """Whether the job lives, as far as is known."""
        return self._membership.lives.get(self.queue, b"") is None

    @property
    def is_here(self) -> bool:
        """Whether the queue has the job, or something to tell of it, or tells it not."""
        return bool(self.snapshot is not None or self.stream_ids or self.owed or self.withheld or self.lives)

    def decide(self, oldest: float) -> None:
        """Find what is told. An outcome from before `oldest`, epoch milliseconds, is withheld."""
        turn = self._recent.turn(self._job_id)
        ended = turn if turn is not None and turn.kind.life is not Life.LIVES else None
        self._membership.lives[self.queue] = None if ended is None else ended.stream_id
        self._read_back(ended, oldest)
        if ended is None or ended.kind.life is Life.GONE:
            self._look_at_hash(turn, oldest)
        if self.withheld and self._finished is not None:
            self._membership.tell(self.queue, self._finished)

    def _read_back(self, ended: Recorded | None, oldest: float) -> None:
        """Events after the client's position, or the snapshot; and the outcome, if that was before and not sent."""
        subscription = self._membership.subscription
        start = self._moment if self._after is None else self._after
        self.stream_ids, self.kinds = self._recent.after(self._job_id, start)
        if ended is not None and position(ended.stream_id) <= position(start):
            if self._after is None:
                self.withheld = position(ended.stream_id)[0] < oldest
                is_due = ended.kind.life is Life.ENDS and not self.withheld
            else:
                is_due = self._is_foreign and not self._was_sent
            if is_due:
                self.stream_ids, self.kinds = [ended.stream_id, *self.stream_ids], [ended.kind, *self.kinds]
        if subscription.events is not None:
            chosen = [kind.name.text in subscription.events for kind in self.kinds]
            self.stream_ids, self.kinds = list(compress(self.stream_ids, chosen)), list(compress(self.kinds, chosen))

    def _look_at_hash(self, turn: Recorded | None, oldest: float) -> None:
        """What the stream does not tell: an outcome that it has lost, or an end that was silent."""
        membership, queue = self._membership, self.queue
        if turn is not None and position(turn.stream_id) > position(self._moment):
            return  # it says more than the snapshot
        if self._finished is not None:
            self.withheld = self._was_sent or self._is_older(oldest)
            self.owed = not self.withheld and membership.subscription.chooses(
                self.snapshot.state if self.snapshot else ""
            )
            if self.owed:
                membership.lives[queue] = None
            else:
                membership.settle(queue, self._moment, self._finished)
        elif self.snapshot is None and self.lives and self._all_read:
            # Only one who was told that it lives, or would be, is told that it does no more.
            self.owed = turn is not None and self._after is not None and is_after(turn.stream_id, self._after.encode())
            if not self.owed:
                del membership.lives[queue]

    @property
    def _was_sent(self) -> bool:
        """Whether the client's own position names the hash's outcome."""
        sent = self._membership.subscription.sent
        return self._finished is not None and sent is not None and sent.get(self.queue) == self._finished

    def _is_older(self, oldest: float) -> bool:
        """Whether an outcome that the stream does not have is from before `oldest`."""
        if self.queue in self._fanout.without_events:
            finished = UNSET if self.snapshot is None else self.snapshot.finished_on
            return (0.0 if finished is UNSET else finished) < oldest
        reach = self._recent.reach
        return reach is not None and position(reach)[0] < oldest

    def begins(self) -> str:
        """The position from which the client gets everything that it has not."""
        at = now_in(self.queue, self._fanout)
        if self.stream_ids:
            at = lower(at, before(self.stream_ids[0]))
        if self.owed:
            at = lower(at, START if self._after is None or self._is_foreign else self._after)
        return f"{at}~{self._finished}" if self.withheld and self._finished is not None else at
