"""A subscription on its way to being live: what is replayed, what may be missing, and where it begins.

Everything here is synchronous. Joining marks the members pending and copies what `recent` knows of their jobs; what
happens from then on is held for them. The two never overlap, so nothing falls between looking and listening.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET, UnsetType

from jobws.bullmq.events import Life
from jobws.hub.lacking import FINISHED, SKEW_MILLISECONDS, Replay, Unsettled, drop_seen, is_ahead, lacks
from jobws.hub.membership import ASSUMED, Membership
from jobws.hub.peer import SEARCH_SIZE
from jobws.hub.query import Query
from jobws.protocol.identifiers import START, before, lower, position
from jobws.protocol.messages import Cursor, ItemError, JobSnapshot, Result, RoomName, Subscribe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from jobws.bullmq.snapshot import LookUp
    from jobws.hub.fanout import Fanout
    from jobws.hub.recent import RecentEvents

# Of several queues that know an id, one may have ended a job of that id last week, which nobody asked about.
AMBIGUOUS_MILLISECONDS: Final = 60_000


class Join:
    """A subscription that waits for what Redis knows of its jobs.

    Args:
        request: What the client asked for.
        queues: The labels that exist; a live view.
        knows_all: See `Fanout.knows_all`.

    Attributes:
        unknown: The labels of queues that are to be looked for before; `found` says that they were.
        is_early: Whether a room without a queue is among them while not all queues are known; `found` says they are.
        cursor: Where the subscription begins: everything of it that was sent has higher ids.
        members: One per item of the request, in order.
        evicted: The rooms that were left to make place.
        replaces: Whether a room is among them in which the client was already.
        replays: The events to be read back, in the order in which they are to be sent; see `events`.
        unsettled: What is left to do when they were.
    """

    __slots__ = (
        *("_abandon", "_before", "_gaps", "_known", "_knows_all", "_labels", "_prepared", "_present", "_query"),
        *("_recent", "cursor", "evicted", "is_early", "members", "replaces", "replays", "request", "unknown"),
        "unsettled",
    )

    def __init__(self, request: Subscribe, queues: Collection[str], *, knows_all: bool) -> None:
        self.request = request
        self.members: list[Membership | ItemError] = []
        self.unknown: dict[str, None] = {}
        self.is_early = False
        self.cursor: Cursor = {}
        self.evicted: list[RoomName] = []
        self.replaces = False
        self.replays: list[Replay] = []
        self.unsettled: list[Unsettled] = []
        self._labels = queues
        self._knows_all = knows_all
        self._query = Query(queues)
        self._known: dict[Membership, list[Replay]] = {}
        # Outcomes that the client has had, if its position is one of this stream.
        self._before: dict[Membership, list[Replay]] = {}
        self._prepared = False
        # How many gaps there had been when the join began.
        self._gaps: int | None = None
        # What was known of a whole queue's stream when the cursor was taken.
        self._recent: RecentEvents | None = None
        self._abandon: Callable[[], None] | None = None
        self._present = 0

    @property
    def size(self) -> int:
        """How many subscriptions it has; a search for queues counts as many."""
        return len(self.members) + (SEARCH_SIZE if self.unknown else 0)

    def add(self, membership: Membership) -> None:
        """Count in a member that has entered its room."""
        self.members.append(membership)
        room = membership.subscription.room
        self.is_early = self.is_early or (room.queue is None and not self._knows_all)
        if room.queue is not None and room.queue not in self._labels:
            self.unknown[room.queue] = None
        else:
            self._query.add(room)

    def found(self) -> None:
        """Queues were looked for: those that are there now are to be looked into."""
        there = {queue for queue in self.unknown if queue in self._labels}
        self.unknown.clear()
        self.is_early = False
        self._query.widen()
        for membership in self.present():
            if membership.subscription.room.queue in there:
                self._query.add(membership.subscription.room)

    @property
    def queues(self) -> Collection[str]:
        """The labels whose streams must be read before the look-up says anything."""
        return self._query.queues

    @property
    def job_ids(self) -> Mapping[str, Collection[str]]:
        """What to look up, by queue; empty if nothing is needed."""
        return self._query.job_ids

    def prepare(self, fanout: Fanout) -> bool:
        """Copy what is known of the jobs' recent events. False: not all streams were read back yet; try again then."""
        if self._gaps is None:
            self._gaps = fanout.counts["gaps"]
        if self._prepared:
            return True
        self._drop_forgotten()
        if self.unknown or self.is_early or not all(fanout.recent.filled(queue) for queue in self.queues):
            return False
        self._prepared = True
        for queue in self.queues:
            self.cursor[queue] = fanout.cursors.get(queue, START)
        known_in = {queue: fanout.recent.of(queue).job_ids for queue in self.queues}
        for membership in self.present():
            membership.prepared = True
            held = {(each.queue, each.stream_id) for each in membership.held or ()}
            room = membership.subscription.room
            if room.job_id is None and room.queue is not None:
                self._recent = fanout.recent.of(room.queue) if room.queue in self.queues else None
            else:
                known = self._known[membership] = self._replays_of(membership, fanout, known_in)
                for each in known if held else ():
                    each.keep((each.queue, stream_id) not in held for stream_id in each.stream_ids)
        return True

    def _drop_forgotten(self) -> None:
        """What was forgotten since has no jobs. No queue that a member names is."""
        for gone in [queue for queue in self.queues if queue not in self._labels]:
            self._query.drop(gone)
            self.cursor.pop(gone, None)
            for known in (*self._known.values(), *self._before.values()):
                known[:] = [each for each in known if each.queue != gone]

    def _replays_of(
        self, membership: Membership, fanout: Fanout, known_in: Mapping[str, Collection[bytes]]
    ) -> list[Replay]:
        subscription = membership.subscription
        job_id = (subscription.room.job_id or "").encode()
        named = subscription.room.queue
        replays = []
        if named is None:
            having = [queue for queue, job_ids in known_in.items() if job_id in job_ids]
        else:
            having = [named] if job_id in known_in.get(named, ()) else []
        for queue in having:
            recent = fanout.recent.of(queue)
            turn = recent.turn(job_id)
            lives = turn is None or turn.kind.life is Life.LIVES
            outcome = turn if turn is not None and turn.kind.life is Life.ENDS else None
            membership.see(queue, None if turn is None or lives else turn.stream_id)
            if subscription.after is not None:
                after = subscription.after.get(queue, START)
                found = Replay(membership, queue, *recent.after(job_id, after))
                if outcome is not None and position(outcome.stream_id) <= position(after):
                    had = Replay(membership, queue, [outcome.stream_id], [outcome.kind])
                    self._before.setdefault(membership, []).append(had)
            elif outcome is not None:
                found = Replay(membership, queue, [outcome.stream_id], [outcome.kind])
            else:
                continue
            if subscription.events is not None:
                found.keep(kind.name.text in subscription.events for kind in found.kinds)
            replays.append(found)
        return replays

    def results(self, look_up: LookUp, fanout: Fanout, now_milliseconds: float) -> list[Result]:
        """The answer, item by item; settles what is replayed, and from where on the client may resume.

        `now_milliseconds` is the time as Redis and the workers tell it.
        """
        self._drop_forgotten()
        results = []
        self._query.take(look_up)
        for member in self.members:
            if isinstance(member, ItemError):
                results.append(Result(error=member))
            elif member.left and not member.replaced:
                results.append(Result(error=UNSUBSCRIBED))
            elif (named := member.subscription.room.queue) is not None and named not in self.queues:
                # Behind its first entry is everything.
                self.cursor[named] = START
                gone = (member.subscription.after or {}).get(named, START) != START
                jobs: list[JobSnapshot] | UnsetType = UNSET if member.subscription.room.job_id is None else []
                results.append(Result(jobs=jobs, gap=gone or UNSET, unknown_queue=True))
            elif member.subscription.room.job_id is None:
                results.append(Result(gap=self._had_gap(member, fanout) or UNSET))
            else:
                results.append(self._result(member, look_up, fanout, now_milliseconds))
        for membership, known in self._known.items():
            if membership.left and not membership.replaced:
                continue
            replays = [each for each in known if each]
            for replay in replays:
                # Also for one that was replaced: its client may come back before it has the second answer.
                self._begin_before(replay.queue, replay.stream_ids[0])
                replay.is_last = replay is replays[-1]
            if not membership.left:
                self.replays += replays
        self._known.clear()
        for unsettled in self.unsettled:
            self.cursor[unsettled.queue] = START
        for held in [held for membership in self.present() for held in membership.held or () if not held.delivered]:
            # What waits may be older than the cursor that was taken: its stream was read again, or it is from the hash.
            begin = START if held.stream_id is None else before(held.stream_id)
            self.cursor[held.queue] = lower(self.cursor.get(held.queue, START), begin)
        return results

    def _result(self, membership: Membership, look_up: LookUp, fanout: Fanout, now: float) -> Result:
        room, after = membership.subscription.room, membership.subscription.after
        found = self._query.found(room, look_up)
        for answer in found:
            if isinstance(answer, ItemError):
                membership.connection.leave(membership)
                return Result(error=answer)
        snapshots = [answer for answer in found if isinstance(answer, JobSnapshot)]
        for snapshot in snapshots:
            membership.see(snapshot.queue)
        oldest = 0.0
        if room.queue is None and after is None and len(membership.lives) > 1:
            oldest = now - AMBIGUOUS_MILLISECONDS
            for known in self._known.get(membership, ()):
                known.keep(position(stream_id)[0] >= oldest for stream_id in known.stream_ids)
        drop_seen(membership, look_up)
        for outcome in self._before.get(membership, ()):
            chosen = membership.subscription.chooses(outcome.kinds[0].name.text)
            if chosen and is_ahead(membership, outcome.queue, look_up):
                self._known[membership].append(outcome)
        replays = sum(map(len, self._known.get(membership, ()))) + sum(
            self._settle(membership, snapshot, look_up, oldest, fanout) for snapshot in snapshots
        )
        # An ack that neither knows the job nor announces an event says that there is no such job.
        replays += sum(not held.delivered for held in membership.held or ())
        gap = after is not None and self._query.may_lack(membership, look_up, fanout.recent)
        return Result(jobs=snapshots, replays=replays or UNSET, gap=gap or UNSET, ambiguous=bool(oldest) or UNSET)

    def _had_gap(self, membership: Membership, fanout: Fanout) -> bool:
        """Whether a gap of its whole queue was told since the cursor was taken: only those heard who were live."""
        queue = membership.subscription.room.queue or ""
        return self._recent is not fanout.recent.of(queue) and fanout.recent.filled(queue)

    def events(self) -> Iterator[tuple[Replay, int]]:
        """The events to be read back, one by one: each is one of its replay's."""
        return ((replay, index) for replay in self.replays for index in range(len(replay)))

    def _settle(
        self, membership: Membership, snapshot: JobSnapshot, look_up: LookUp, oldest: float, fanout: Fanout
    ) -> bool:
        """Whether the hash has an outcome for the member that the stream has not (any more)."""
        queue = snapshot.queue
        end = look_up.moments.get((queue, membership.subscription.room.job_id or ""), START)
        if self._gaps != fanout.counts["gaps"]:
            all_read = position(end) <= position(fanout.cursors.get(queue, START))
            if not lacks(membership, queue, snapshot, end, all_read=all_read):
                return False
        elif snapshot.state not in FINISHED or membership.lives[queue] is not None:
            return False
        after = (membership.subscription.after or {}).get(queue, START)
        finished = 0.0 if snapshot.finished_on is UNSET else snapshot.finished_on
        if finished < oldest or not membership.subscription.chooses(snapshot.state):
            membership.settle(queue, end, snapshot.finished_on)
            return False
        if (
            membership.subscription.after is not None
            and queue not in fanout.without_events
            and not fanout.recent.of(queue).may_lack(after)
            and not is_ahead(membership, queue, look_up)
            and position(end) <= position(fanout.cursors.get(queue, START))
            and finished <= position(after)[0] + SKEW_MILLISECONDS
        ):
            # No outcome came behind that position, so the client had it; unless a hole is found later.
            membership.lives[queue] = ASSUMED
            return False
        self.unsettled.append(Unsettled(membership, queue, end))
        return True

    def _begin_before(self, queue: str, stream_id: bytes) -> None:
        self.cursor[queue] = lower(self.cursor.get(queue, START), before(stream_id))

    def follow(self, abandon: Callable[[], None]) -> None:
        """Call `abandon`, which must not wait, once nobody of it is there any more: nothing need be read back then."""
        present = self.present()
        self._abandon, self._present = abandon, len(present)
        for membership in present:
            membership.on_leave = self._one_left
        if not present:
            abandon()

    def unfollow(self) -> None:
        """Undo `follow`."""
        self._abandon = None
        for member in self.members:
            if isinstance(member, Membership):
                member.on_leave = None

    def _one_left(self) -> None:
        self._present -= 1
        if not self._present and self._abandon is not None:
            self._abandon()

    def present(self) -> list[Membership]:
        """The members that are still there."""
        return [member for member in self.members if isinstance(member, Membership) and not member.left]


UNSUBSCRIBED: Final = ItemError("unsubscribed", "the room was left before the subscription was answered")
