"""One client as the hub sees it: its protocol session, its subscriptions and its outbox.

Everything here is synchronous. What needs Redis leaves as a `Join`, and comes back through `complete` or `fail`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, assert_never

from msgspec import UNSET

from jobws.hub.client import Peer
from jobws.hub.jobs.answer import answer
from jobws.hub.jobs.backlog import Backlog
from jobws.hub.jobs.matching import MAX_MATCHING, Matching
from jobws.hub.jobs.missed import Owed
from jobws.hub.jobs.pending_subscription import UNSUBSCRIBED, Begun, Join, begin
from jobws.hub.jobs.positions import positions
from jobws.hub.jobs.replay import go_live
from jobws.hub.jobs.subscription import Membership
from jobws.protocol.codec import encode
from jobws.protocol.echo import echoed, name_evicted
from jobws.protocol.messages import Ack, AckData, ItemError, Pong, PongData, Result
from jobws.protocol.request_types import Identity, Ping, Request, Subscribe, Subscription, Unsubscribe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.missed import Replay
    from jobws.hub.jobs.query import Query
    from jobws.protocol.session import Session

UNAVAILABLE = ItemError("unavailable", "Redis does not answer; subscribe again later")


class Connection(Peer[Request, Join]):
    """One client.

    Args:
        session: Its protocol state.
        fanout: Where events come from.
        queues: The labels that exist; a live view.
        max_subscriptions: How many subscriptions it may have.
        outbox_bytes: How much may wait for it.
        wake: Told when frames wait or the connection is to close; must not wait.
        read_back: Told when `backlog` holds something; must not wait.

    Attributes:
        backlog: What is to be read back for it.
    """

    __slots__ = (
        *("_fanout", "_matching", "_max_subscriptions", "_memberships", "_pending", "_queues", "_read_back", "backlog"),
    )

    def __init__(
        self,
        session: Session,
        fanout: Fanout,
        queues: Collection[str],
        max_subscriptions: int,
        outbox_bytes: int,
        wake: Callable[[], None],
        read_back: Callable[[Connection], None],
    ) -> None:
        super().__init__(session, outbox_bytes, wake)
        self.backlog: Backlog | None = None
        self._fanout = fanout
        self._queues = queues
        self._max_subscriptions = max_subscriptions
        self._read_back = read_back
        self._memberships: dict[Identity, Membership] = {}
        self._matching: Matching | None = None
        self._pending: list[Join] = []

    @property
    def rooms(self) -> Collection[Identity]:
        """The names of the client's subscriptions, oldest first."""
        return self._memberships.keys()

    @property
    def catching_up(self) -> bool:
        """Whether a subscription is not answered yet, or something is still to be read back for one."""
        return bool(self._pending or self.backlog or self._fanout.job_lines.draining_of(self))

    @property
    def is_owed(self) -> bool:
        """Whether an outcome is to come that the stream does not have, or may be: a hole was just found."""
        untold = self._fanout.untold
        return bool(untold) and any(
            membership.acked
            and (room.queue in untold or (room.queue is None and not untold.isdisjoint(membership.lives)))
            for room, membership in self._memberships.items()
        )

    def _serve(self, request: Request) -> Join | None:
        match request:
            case Ping():
                self._answer(Pong(PongData(positions(self._memberships.values(), self._fanout)), echoed(request.ref)))
            case Unsubscribe():
                self._unsubscribe(request)
            case Subscribe():
                return self._join(request)
            case _:
                assert_never(request)
        return None

    def leave(self, membership: Membership) -> None:
        """End one subscription, answered or not."""
        if membership.left:
            return
        membership.left = True
        room = membership.subscription.room
        del self._memberships[room]
        if self._matching is not None:
            self._matching.remove(room)
        held, membership.held = membership.held, None
        for each in held or ():
            self.outbox.release(each.tail)
        if membership.acked:
            self._fanout.rooms.leave(membership)
            if membership.subscription.logs is not None:
                self._fanout.job_lines.leave(membership)

    def leave_all(self) -> None:
        """End every subscription: the client is gone."""
        for membership in list(self._memberships.values()):
            self.leave(membership)
        self._pending.clear()
        self.outbox.abandon()

    # ---- subscribing ----

    def _join(self, request: Subscribe) -> Join:
        join = Join(request, self._queues)
        self._pending.append(join)
        evictable = self._evictable()
        left = False
        for item in request.items:
            if not isinstance(item, ItemError) and (old := self._memberships.get(item.room)) is not None:
                self.leave(old)
                left = True
            join.members.append(item if isinstance(item, ItemError) else self._enter(item, join, evictable))
        if left:
            self._answer_abandoned()
        return join

    def _enter(self, subscription: Subscription, join: Join, evictable: Iterator[Membership]) -> Membership | ItemError:
        room = subscription.room
        if len(self._memberships) >= self._max_subscriptions:
            evicted = next(evictable, None)
            if evicted is None:
                limit = f"a connection may have {self._max_subscriptions} subscriptions"
                return ItemError("too-many-subscriptions", limit)
            self.leave(evicted)
            join.evicted.append(name_evicted(evicted.subscription.room))
        if len(self._memberships) >= MAX_MATCHING and self._matching is None:
            self._matching = Matching(self._memberships)
        if self._matching is not None and self._matching.most(room) >= MAX_MATCHING:
            limit = f"a connection may have {MAX_MATCHING} subscriptions that match one job"
            return ItemError("too-many-subscriptions", limit)
        membership = self._memberships[room] = Membership(self, subscription, self._fanout.rooms)
        if self._matching is not None:
            self._matching.add(room)
        return membership

    def _evictable(self) -> Iterator[Membership]:
        """The client's subscriptions whose outcome was delivered, oldest first. One pass serves a whole request."""
        for membership in list(self._memberships.values()):
            if not membership.left and membership.delivered:
                yield membership

    def complete(self, join: Join, query: Query, now_milliseconds: float) -> None:
        """Answer a subscription. From now on it is in its rooms, and what `begin` found for it is to be read back.

        Args:
            join: What waits for it.
            query: What Redis said.
            now_milliseconds: The time as Redis tells it.
        """
        if join not in self._pending:
            return
        self._pending.remove(join)
        begun: dict[Membership, Begun] = {}
        results = []
        for member in join.members:
            if isinstance(member, ItemError):
                results.append(Result(error=member))
            elif member.left:
                results.append(Result(error=UNSUBSCRIBED))
            else:
                found = begin(member, query, self._fanout, now_milliseconds)
                results.append(found.result)
                if found.result.error is UNSET:
                    begun[member] = found
                else:
                    self.leave(member)
        data = answer(join, results, self._fanout)
        if isinstance(data, ItemError):
            self._refuse(join, data)
        else:
            self._answer(Ack(data, echoed(join.request.ref)))
        for member, found in begun.items():
            self._admit(member, found)
        if begun and self.backlog:
            self._read_back(self)
        self.outbox.flush()

    def _admit(self, member: Membership, begun: Begun) -> None:
        """Let an answered subscription into its room, and read back what it misses before it is live."""
        member.acked = True
        self._fanout.rooms.join(member)
        if begun.replays:
            member.held = []
            if member.subscription.logs is None:
                self._add(begun.replays)
            else:  # an outcome comes after the lines
                self._fanout.job_lines.drain(member, member.lives, partial(self._read_later, begun.replays))
        else:
            go_live(self._fanout, member)
        for queue in begun.owed:
            self.owe(member, queue)
        for queue in begun.stale:
            self._fanout.doubt(queue)

    def _read_later(self, items: Iterable[Replay | Owed]) -> None:
        self._add(items)
        self._read_back(self)

    def _add(self, items: Iterable[Replay | Owed]) -> None:
        if self.backlog is None:
            self.backlog = Backlog()
        self.backlog.add(items)

    def owe(self, membership: Membership, queue: str) -> None:
        """An outcome is to be sent that the stream does not have. Until then no position in that queue is told."""
        if membership.owed is None:
            membership.owed = set()
        if queue not in membership.owed:
            membership.owed.add(queue)
            self._read_later([Owed(membership, queue)])

    def fail(self, join: Join, error: ItemError) -> None:
        """Refuse a subscription as a whole."""
        if join not in self._pending:
            return
        self._pending.remove(join)
        for member in join.present:
            self.leave(member)
        self._refuse(join, error)
        self.outbox.flush()

    # ---- unsubscribing ----

    def _unsubscribe(self, request: Unsubscribe) -> None:
        results = []
        for item in request.items:
            if isinstance(item, ItemError):
                results.append(Result(error=item))
                continue
            membership = self._memberships.get(item)
            if membership is not None:
                self.leave(membership)
            results.append(Result(left=membership is not None))
        self._answer_abandoned()
        data = AckData(request.event, results=results) if request.many else AckData(request.event, left=results[0].left)
        self._answer(Ack(data, echoed(request.ref)))

    def _answer_abandoned(self) -> None:
        """Answer single subscriptions that were left before, so that their answers follow nothing that comes later."""
        for join in list(self._pending):
            if join.request.many or not join.members:
                continue
            (member,) = join.members
            if isinstance(member, Membership) and member.left:
                self._pending.remove(join)
                self._refuse(join, UNSUBSCRIBED)

    # ---- answers ----

    def _refuse(self, join: Join, error: ItemError) -> None:
        self.refuse(error, join.request.event, join.request.ref)

    def _answer(self, message: Ack | Pong) -> None:
        self.outbox.append(encode(message))
