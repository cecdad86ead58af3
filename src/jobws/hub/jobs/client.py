"""One client of `/ws` in the hub: its protocol session, its subscriptions and its outbox.

All code here is synchronous. What may take long is a generator of short steps, between which events may be published.
A request that needs Redis is returned as a `PendingSubscription`. The caller looks the jobs up, and then calls
`complete` or `fail`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from jobws.hub.client import Client
from jobws.hub.jobs.admission import admit_each, begin_each, no_flows, withdraw
from jobws.hub.jobs.backlog import Backlog
from jobws.hub.jobs.client_subscriptions import ClientSubscriptions
from jobws.hub.jobs.missed import Owed
from jobws.hub.jobs.pending import UNSUBSCRIBED, PendingSubscription, answer
from jobws.hub.jobs.positions import are_outcomes_missed, positions
from jobws.hub.jobs.subscription import Subscription, limiting_sight
from jobws.hub.jobs.subscription_counts import UNLIMITED, SubscriptionCounts
from jobws.protocol.codec import encode
from jobws.protocol.echo import echoed, name_evicted
from jobws.protocol.messages import Ack, AckData, ItemError, Pong, PongData, Result
from jobws.protocol.request_types import Ping, Request, Subscribe, SubscriptionKey, SubscriptionRequest, Unsubscribe
from jobws.protocol.requests import FORBIDDEN, may_subscribe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator

    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.flow import Flow
    from jobws.hub.jobs.missed import Replay
    from jobws.hub.jobs.query import Query
    from jobws.protocol.request_types import Sight
    from jobws.protocol.session import Session


class JobClient(Client[Request, PendingSubscription]):
    """One client of `/ws`.

    Args:
        session: The client's protocol state.
        fanout: Where events come from.
        queues: The labels of all queues that the bridge serves; a live view.
        max_subscriptions: How many subscriptions the client may have.
        outbox_bytes: How many bytes may wait for the client.
        wake: Called when frames wait or the connection is to close. It must not wait.
        read_back: Called when something was added to `backlog`, to have it read from Redis. It must not wait.
        counts: Counts the subscriptions of each payer.
        on_flow: Called with a new flow of the client, and when it has changed; see `Flow`. It must not wait.

    Attributes:
        backlog: What the client missed and must still get. None if there is nothing: `read_later` creates it, and the
            reader that `read_back` started sets it to None when all of it was delivered.
    """

    __slots__ = ("_admitting", "_fanout", "_on_flow", "_pending", "_queues", "_read_back", "_subscriptions", "backlog")

    def __init__(
        self,
        session: Session,
        fanout: Fanout,
        queues: Collection[str],
        max_subscriptions: int,
        outbox_bytes: int,
        wake: Callable[[], None],
        read_back: Callable[[JobClient], None],
        counts: SubscriptionCounts = UNLIMITED,
        on_flow: Callable[[Flow], None] = no_flows,
    ) -> None:
        super().__init__(session, outbox_bytes, wake)
        self.backlog: Backlog | None = None
        self._fanout = fanout
        self._queues = queues
        self._read_back = read_back
        self._on_flow = on_flow
        self._subscriptions = ClientSubscriptions(max_subscriptions, counts)
        self._pending: dict[PendingSubscription, None] = {}
        self._admitting = 0  # for how many requests `admit_each` goes on

    @property
    def keys(self) -> Collection[SubscriptionKey]:
        """The keys of the client's subscriptions, answered or not, oldest first; a live view."""
        return self._subscriptions.keys

    @property
    def catching_up(self) -> bool:
        """Whether a subscription is not answered yet, must still get past events, or waits for log lines."""
        return bool(self._pending or self._admitting or self.backlog or self._fanout.job_logs.draining_of(self))

    @property
    def awaits_missed_outcomes(self) -> bool:
        """Whether an outcome that was missed is owed to an acknowledged subscription, or is still being looked up."""
        return are_outcomes_missed(self._subscriptions, self._fanout)

    def _serve(self, request: Request) -> Generator[None, None, PendingSubscription | None]:
        match request:
            case Ping():
                self._fanout.send_held_progress(self._subscriptions)
                self._answer(Pong(PongData(positions(self._subscriptions, self._fanout)), echoed(request.ref)))
            case Unsubscribe():
                yield from self._unsubscribe(request)
            case Subscribe():
                return (yield from self._subscribe(request))
            case _:
                assert_never(request)
        return None

    def charge_to(self, payer: Hashable) -> None:
        """Count the client and its subscriptions for `payer` from now on; see `Client.charge_to`."""
        super().charge_to(payer)
        self._subscriptions.charge_to(payer)

    def end(self, subscription: Subscription) -> None:
        """End one subscription, answered or not, without telling the client. Does nothing if it has ended already."""
        if subscription.ended:
            return
        subscription.ended = True
        self._subscriptions.remove(subscription)
        for each in subscription.held or ():
            self.outbox.release(each.tail)
        subscription.held = None
        if subscription.in_room:
            self._fanout.rooms.leave(subscription)
            if subscription.request.logs is not None:
                self._fanout.job_logs.leave(subscription)
        if subscription.flow is not None:
            subscription.flow.leave(subscription)

    def end_all(self) -> None:
        """End all subscriptions. Frames in the outbox can still be sent; see `Client.end_all`."""
        for subscription in list(self._subscriptions):
            self.end(subscription)
        self._pending.clear()
        self.outbox.abandon()

    # ---- subscribing ----

    def _subscribe(self, request: Subscribe) -> Generator[None, None, PendingSubscription | None]:
        pending = PendingSubscription(request, self._queues)
        self._pending[pending] = None
        evictable = self._subscriptions.evictable()
        left, sight = False, self.session.sight
        for item in request.items:
            if isinstance(item, ItemError):
                pending.subscriptions.append(item)
            elif self.session.sight is not sight and not may_subscribe(self.session.sight, item):
                pending.subscriptions.append(FORBIDDEN)  # the client got other rights between two steps
            else:
                if (old := self._subscriptions.get(item.key)) is not None:
                    self.end(old)
                    left = True
                pending.subscriptions.append(self._enter(item, pending, evictable))
            yield
            if pending not in self._pending:  # the connection is closing
                return None
        if left:
            self._answer_abandoned()
        return pending

    def _enter(
        self, request: SubscriptionRequest, pending: PendingSubscription, evictable: Iterator[Subscription]
    ) -> Subscription | ItemError:
        subscriptions = self._subscriptions
        if (full := subscriptions.too_many()) is not None:
            if (evicted := next(evictable, None)) is None:
                return subscriptions.refused(full)
            self.end(evicted)
            pending.evicted.append(name_evicted(evicted.request.key))
        if (crowded := subscriptions.too_alike(request.key)) is not None:
            return crowded
        subscription = Subscription(self, request, self._fanout.rooms, self.session.sight)
        subscriptions.add(subscription)
        return subscription

    def complete(
        self, pending: PendingSubscription, query: Query, now_milliseconds: float
    ) -> Generator[None, None, None]:
        """Answer a request to subscribe, let its subscriptions into their rooms, and have past events read and sent.

        This is a generator of short steps, which the caller must exhaust. Nothing happens if the request was answered
        already. If a subscription must wait, the client is told nothing, and `pending.is_begun` is false.

        Args:
            pending: The request.
            query: The result of the look-up.
            now_milliseconds: The present time on the bridge's clock, in milliseconds since 1970. If several queues have
                the job id, it decides which outcomes are too old to be sent.
        """
        is_begun = yield from begin_each(pending, query, self._fanout, now_milliseconds)
        if not is_begun or pending not in self._pending:
            withdraw(pending, self._fanout)  # what has begun holds events, and the wait may last for seconds
            return
        self._tell(pending, answer(pending, self._fanout) if pending.flow is None else UNSUBSCRIBED)
        del self._pending[pending]
        self._admitting += 1
        try:
            yield from admit_each(self, pending.begun, self._fanout, self._on_flow)
        finally:
            self._admitting -= 1
            self.outbox.wake()  # a long poll waits for the end of `catching_up`, even if there is no frame

    def _tell(self, pending: PendingSubscription, data: AckData | ItemError) -> None:
        if pending.flow is not None:
            pending.flow.change()
        elif isinstance(data, ItemError):
            self.refuse(data, pending.request.event, pending.request.ref)
        else:
            self._answer(Ack(data, echoed(pending.request.ref)))

    def read_later(self, items: Iterable[Replay | Owed]) -> None:
        """Have these items read from Redis and sent."""
        if self.backlog is None:
            self.backlog = Backlog()
        self.backlog.add(items)
        self._read_back(self)

    def owe(self, subscription: Subscription, queue: str) -> None:
        """Have an outcome made from the job's hash and sent to this subscription, unless that is already on its way.

        Until then, the subscription's frames of this queue have no position, except those of other outcomes.
        """
        if subscription.owed is None:
            subscription.owed = {}
        if queue not in subscription.owed:
            owed = subscription.owed[queue] = Owed(subscription, queue)
            self.read_later([owed])

    def fail(self, pending: PendingSubscription, error: ItemError) -> None:
        """Refuse a request to subscribe, and end its subscriptions. Nothing happens if it was answered already.

        If the bridge made the request for a flow, the client is told nothing, and the flow goes on.
        """
        if pending not in self._pending:
            return
        del self._pending[pending]
        for each in pending.present:
            self.end(each)
        self._tell(pending, error)
        self.outbox.wake()  # as in `complete`

    # ---- unsubscribing ----

    def _unsubscribe(self, request: Unsubscribe) -> Iterator[None]:
        results = []
        for item in request.items:
            if isinstance(item, ItemError):
                results.append(Result(error=item))
            else:
                if (subscription := self._subscriptions.get(item)) is not None:
                    self.end(subscription)
                results.append(Result(left=subscription is not None))
            yield
            if self.closing is not None:
                return
        self._answer_abandoned()
        data = AckData(request.event, results=results) if request.many else AckData(request.event, left=results[0].left)
        self._answer(Ack(data, echoed(request.ref)))

    def _answer_abandoned(self) -> None:
        """Refuse each request of one item, not a list, whose subscription has ended. Later answers come after it."""
        for pending in list(self._pending):
            if pending.request.many or not pending.subscriptions:
                continue
            (subscription,) = pending.subscriptions
            if isinstance(subscription, Subscription) and subscription.ended:
                del self._pending[pending]
                self.refuse(UNSUBSCRIBED, pending.request.event, pending.request.ref)

    # ---- rights ----

    def may_name_children(self, queue: str, job_id: str) -> bool:
        """Whether the client may learn which child of this job has failed."""
        return self.session.sight.reads_children(queue, job_id)

    def examine(self, sight: Sight) -> None:
        """Ask `sight` for every right that the subscriptions need, and ignore the answers; see `Client.examine`."""
        for subscription in self._subscriptions:
            may_subscribe(sight, subscription.request)

    def _apply_rights(self) -> None:
        sight = self.session.sight
        for pending in self._pending:
            withdraw(pending, self._fanout)
        for subscription in list(self._subscriptions):
            key = subscription.request.key
            if subscription.ended:  # with the flow that it belonged to
                continue
            if not may_subscribe(sight, subscription.request):
                if subscription.acked and subscription.request.child_of is None:
                    self._tell_end(key)
                self.end(subscription)
            else:
                self._fanout.limit(subscription, limiting_sight(key, sight))
        for pending in self._pending:
            pending.limit(sight)

    def _answer(self, message: Ack | Pong) -> None:
        self.outbox.append(encode(message))
