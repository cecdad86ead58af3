"""One client as the hub sees it: its protocol session, its memberships and its outbox.

Everything here is synchronous. What needs Redis leaves as a `Join`, and comes back through `complete` or `fail`: a
subscription is pending from the moment it was asked for, so no event can fall between looking and listening.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from msgspec import UNSET

from jobws.hub.joining import UNSUBSCRIBED, Join
from jobws.hub.membership import Membership
from jobws.hub.peer import Peer
from jobws.hub.positions import Positions
from jobws.hub.replaying import go_live
from jobws.protocol.codec import encode
from jobws.protocol.identifiers import before, lower
from jobws.protocol.messages import (
    Ack,
    AckData,
    Cursor,
    ItemError,
    Ping,
    Pong,
    PongData,
    Request,
    Result,
    Room,
    Subscribe,
    Subscription,
    Unsubscribe,
    echoed,
    name_room,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from jobws.bullmq.snapshot import LookUp
    from jobws.hub.fanout import Fanout
    from jobws.protocol.codec import Frame
    from jobws.protocol.session import Session

UNAVAILABLE = ItemError("unavailable", "Redis does not answer; subscribe again later")


class Connection(Peer[Request, Join]):
    """One client.

    Args:
        session: Its protocol state.
        fanout: Where events come from.
        queues: The labels that exist; a live view.
        max_subscriptions: How many rooms it may be in.
        outbox_bytes: How much may wait for it.
        wake: Told when frames wait or the connection is to close; must not wait.

    Attributes:
        untold: The queues of which outcomes are to be told from the hash, which were missed in the stream.
    """

    __slots__ = (
        *("_fanout", "_max_subscriptions", "_memberships", "_pending", "_positions", "_queues", "_replaying"),
        "untold",
    )

    def __init__(
        self,
        session: Session,
        fanout: Fanout,
        queues: Collection[str],
        max_subscriptions: int,
        outbox_bytes: int,
        wake: Callable[[], None],
    ) -> None:
        super().__init__(session, outbox_bytes, wake)
        self.untold: set[str] = set()
        self._fanout = fanout
        self._queues = queues
        self._max_subscriptions = max_subscriptions
        self._memberships: dict[Room, Membership] = {}
        self._pending: list[Join] = []
        self._replaying: list[Join] = []
        self._positions = Positions(fanout.verified, queues)

    @property
    def rooms(self) -> Collection[Room]:
        """The rooms it is in, oldest first."""
        return self._memberships.keys()

    @property
    def catching_up(self) -> bool:
        """Whether a subscription is not answered yet, or something is still to be read back for one."""
        return bool(self._pending or self._replaying or self._draining)

    @property
    def _draining(self) -> Collection[Membership]:
        """Those of its memberships for which the last log lines are still to be read."""
        return self._fanout.job_lines.draining_of(self)

    def _serve(self, request: Request) -> Join | None:
        match request:
            case Ping():
                self._answer(Pong(PongData(self._pong()), echoed(request.ref)))
            case Unsubscribe():
                self._unsubscribe(request)
            case Subscribe():
                return self._join(request)
            case _:
                assert_never(request)
        return None

    def leave(self, membership: Membership) -> None:
        """End one membership, pending or live."""
        if membership.left:
            return
        membership.left = True
        del self._memberships[membership.subscription.room]
        self._fanout.rooms.leave(membership)
        for held in membership.held or ():
            held.sharers -= 1
            if not held.sharers and not held.delivered:
                self.outbox.release(len(held.frame))
        if membership.subscription.logs is not None:
            self._fanout.job_lines.leave(membership)
        if membership.on_leave is not None:
            membership.on_leave()

    def leave_all(self) -> None:
        """End every membership: the client is gone."""
        for membership in list(self._memberships.values()):
            self.leave(membership)
        self._pending.clear()
        self._replaying.clear()
        self.outbox.abandon()

    # ---- subscribing ----

    def _join(self, request: Subscribe) -> Join:
        join = Join(request, self._queues, knows_all=self._fanout.knows_all)
        evictable = self._evictable()
        for item in request.items:
            membership = item if isinstance(item, ItemError) else self._enter(item, join, evictable)
            if isinstance(membership, ItemError):
                join.members.append(membership)
            else:
                join.add(membership)
        join.prepare(self._fanout)
        self._pending.append(join)
        return join

    def _enter(self, subscription: Subscription, join: Join, evictable: Iterator[Membership]) -> Membership | ItemError:
        room = subscription.room
        old = self._memberships.get(room)
        if old is None and len(self._memberships) >= self._max_subscriptions:
            evicted = next(evictable, None)
            if evicted is None:
                limit = f"a connection may have {self._max_subscriptions} subscriptions"
                return ItemError("too-many-subscriptions", limit)
            self.leave(evicted)
            join.evicted.append(name_room(evicted.subscription.room))
        membership = Membership(self, subscription, self._fanout.rooms)
        self._fanout.rooms.join(membership)
        if old is not None:
            self._replace(old, membership)
            join.replaces = True
        self._memberships[room] = membership
        return membership

    def _replace(self, old: Membership, new: Membership) -> None:
        """A second subscription to a room takes over what the first one still holds."""
        new.held = [held for held in old.held or () if new.subscription.chooses(held.event)]
        for held in new.held:
            held.sharers += 1
        # An outcome that was still to be read back for the first one is not told by what is held.
        told = {(held.queue, held.stream_id) for held in new.held}
        for queue, end in old.lives.items():
            if told & {(queue, end), (queue, None)}:
                new.see(queue, end)
        old.replaced = True
        self.leave(old)

    def _evictable(self) -> Iterator[Membership]:
        """Its rooms whose outcome was delivered, oldest first. One pass serves a whole request."""
        for membership in list(self._memberships.values()):
            if not membership.left and membership.ended and membership.held is None:
                yield membership

    def complete(self, join: Join, look_up: LookUp, now_milliseconds: float) -> None:
        """Answer a subscription: the ack precedes every event (G1).

        Members for which nothing is to be read back are live after it; the others once `replay` had their last event.
        `now_milliseconds` is the time as Redis and the workers tell it.
        """
        if join not in self._pending:
            return
        self._pending.remove(join)
        join.prepare(self._fanout)
        results = join.results(look_up, self._fanout, now_milliseconds)
        request, evicted, cursor = (
            join.request,
            join.evicted or UNSET,
            self._positions.ack(join.cursor, _heard(join.present())),
        )
        if request.many:
            data = AckData(request.event, results=results, evicted=evicted, cursor=cursor)
            self._answer(Ack(data, echoed(request.ref)))
        elif isinstance(error := results[0].error, ItemError):
            self._refuse(join, error)
        else:
            (result,) = results
            data = AckData(
                request.event,
                jobs=result.jobs,
                replays=result.replays,
                gap=result.gap,
                ambiguous=result.ambiguous,
                unknown_queue=result.unknown_queue,
                evicted=evicted,
                cursor=cursor,
            )
            self._answer(Ack(data, echoed(request.ref)))
        waiting = {replay.membership for replay in join.replays}
        for member in join.present():
            if member not in waiting:
                go_live(self._fanout, member)
        if join.replays or join.unsettled:
            self._replaying.append(join)
        self.outbox.flush()

    def fail(self, join: Join, error: ItemError) -> None:
        """Refuse a subscription as a whole; its rooms are left."""
        if join not in self._pending:
            return
        self._pending.remove(join)
        for member in join.present():
            self.leave(member)
        self._refuse(join, error)
        self.outbox.flush()

    def caught_up(self, join: Join) -> None:
        """Nothing of `join` is to be read back any more."""
        join.unfollow()
        if join in self._replaying:
            self._replaying.remove(join)
            self.outbox.wake()  # some wait for that

    def tell_gap(self, gap: Frame, queue: str, position: str) -> None:
        """Put a `gap` of that queue, which names that position, behind what waits."""
        self.outbox.append(gap)
        self._positions.name(queue, position)

    def _pong(self) -> Cursor:
        """How far everything was surely sent that is acknowledged. It lacks queues of which that cannot be said."""
        unknown = self._fanout.untold | self.untold
        for join in self._pending:
            if join.replaces:  # what was acknowledged is held for the second answer
                unknown.update(join.queues)
        limits: Cursor = {}
        for join in self._replaying:
            for queue, begin in join.cursor.items():
                limits[queue] = lower(begin, limits.get(queue, begin))
        for held in (held for membership in self._draining for held in membership.held or ()):
            if held.stream_id is not None:
                end = before(held.stream_id)
                limits[held.queue] = lower(end, limits.get(held.queue, end))
        return self._positions.pong(_heard(self._memberships.values()), unknown, limits)

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
        """Answer the joins of which nothing is left now, so that their answers do not follow the leaving's ack."""
        for join in list(self._pending):
            if not join.request.many and isinstance(member := join.members[0], Membership) and member.left:
                room = member.subscription.room
                if room not in self._memberships:
                    self._pending.remove(join)
                    self._refuse(join, UNSUBSCRIBED)

    # ---- answers ----

    def _refuse(self, join: Join, error: ItemError) -> None:
        self.refuse(error, join.request.event, join.request.ref)

    def _answer(self, message: Ack | Pong) -> None:
        self.outbox.append(encode(message))


def _heard(memberships: Iterable[Membership]) -> set[str]:
    return {queue for membership in memberships for queue in membership.queues}
