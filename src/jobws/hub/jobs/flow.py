"""A flow that a client follows: one job, and subscriptions to all jobs below it, which the bridge makes.

The lists of a job's children are in Redis, and no event tells of a child. So the caller looks at these lists again and
again (`Flow.is_due`), has the new children subscribed to, and then calls `note_look`. An event may have happened before
events that were sent, although its job is found only by the next look. So frames of a flow have no positions. After a
look that found all jobs up to a position, the client gets that position in a `pong`, without asking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.protocol.identifiers import START, position
from jobws.protocol.request_types import ChildOf, Room, SubscriptionKey, SubscriptionRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jobws.bullmq.events import Kind
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.subscription import Subscription
    from jobws.protocol.messages import Cursor

WAITING_CHILDREN: Final = "waiting-children"


class Flow:
    """The flow of one subscription with `children`.

    Args:
        top: The subscription that the client asked for.
        begin: Sends what `top` missed. Called once, after the client was sent what it missed of the jobs below.
        since: How far each queue's stream was published when the client's request was answered.
        fanout: Sends what was held of `top` until a look.
        on_change: Called when `is_due`, `is_caught_up` or `top.ended` may have changed. It must not wait.

    Attributes:
        top: The subscription that the client asked for.
        below: The subscriptions to the jobs below, by their rooms.
        is_due: Whether the lists of children must be looked at now. The caller sets it to False before it looks.
        was_looked_at: Whether a look has ended: whether `note_look` was called.
        reached: By queue, the position up to which every job below was known at the last look.
    """

    __slots__ = (
        "_begin",
        "_fanout",
        "_is_live",
        "_keeps",
        "_on_change",
        "_since",
        "_unsent",
        "below",
        "is_due",
        "reached",
        "top",
        "was_looked_at",
    )

    def __init__(
        self,
        top: Subscription,
        begin: Callable[[], None],
        since: Cursor,
        fanout: Fanout,
        on_change: Callable[[Flow], None],
    ) -> None:
        self.top = top
        self.below: dict[Room, Subscription] = {}
        self.is_due = True
        self.was_looked_at = False
        self.reached: Cursor = {}
        self._begin = begin
        self._since = since
        self._fanout = fanout
        self._on_change = on_change
        # Whether `top` has got what it missed; and whether an outcome of it waits for the next look.
        self._is_live = False
        self._keeps = False
        # By queue, the id of the last event that was sent and that no `pong` has covered yet.
        self._unsent: Cursor = {}

    def change(self) -> None:
        """Note that something has changed; see `on_change`."""
        self._on_change(self)

    def _look_again(self) -> None:
        self.is_due = True
        self.change()

    # ---- what is sent ----

    def note(self, subscription: Subscription, kind: Kind) -> None:
        """Note an event of a job of the flow, before it is sent.

        An outcome of the job at the top is held back until the next look, so that the jobs below come first. Then
        `is_due` becomes true. So it does if a job of the flow begins to wait for children, since these may be new.
        """
        if kind.is_outcome and subscription is self.top:
            subscription.held = [] if subscription.held is None else subscription.held
            self._keeps = True
            self._look_again()
        elif kind.name.text == WAITING_CHILDREN:
            self._look_again()

    def go_live(self, subscription: Subscription) -> bool:
        """Note that a subscription of the flow has got what it missed. Return whether it may now send what it holds."""
        if subscription is not self.top:
            self.change()
            return True
        self._is_live = True
        if self._keeps:
            self._look_again()
        return not self._keeps

    def note_sent(self, queue: str, at: bytes | None) -> None:
        """Note that an event with the position `at` is sent without it. A later `pong` must reach this position.

        If `at` is None, the event has no position, and nothing is noted. A part of `at` after `~` is left out.
        """
        if at is not None:
            self._unsent[queue] = at.partition(b"~")[0].decode()

    @property
    def has_unsent_positions(self) -> bool:
        """Whether something was sent whose position the client does not have yet."""
        return bool(self._unsent)

    def note_positions(self, after: Mapping[str, str]) -> bool:
        """Return whether `after`, the positions for a `pong`, reach an unsent one. These then count as sent."""
        covered = [queue for queue, at in self._unsent.items() if position(after.get(queue, START)) >= position(at)]
        for queue in covered:
            del self._unsent[queue]
        return bool(covered)

    # ---- the jobs below ----

    def join(self, subscription: Subscription) -> None:
        """Add the subscription to a job below."""
        subscription.flow = self
        key = subscription.request.key
        self.below[Room(key.queue, key.job_id)] = subscription

    def leave(self, subscription: Subscription) -> None:
        """Remove a subscription that has ended. With that of the job at the top, all others end."""
        key = subscription.request.key
        self.below.pop(Room(key.queue, key.job_id), None)
        if subscription is self.top:
            for each in list(self.below.values()):
                each.client.end(each)
        self.change()

    @property
    def is_caught_up(self) -> bool:
        """Whether the client was sent what it missed of every job in `below`: of those that were found so far."""
        return all(each.acked and each.held is None and not each.owed for each in self.below.values())

    @property
    def has_ended(self) -> bool:
        """Whether the job at the top and all in `below` have ended. Their outcomes may not be sent yet."""
        return all(each.has_ended for each in (self.top, *self.below.values()))

    def requests(self, found: Iterable[tuple[Room, Room]]) -> list[SubscriptionRequest]:
        """Return a request for each of the jobs that were found below: pairs of the job and the job above it.

        Until the first look has ended, a request begins as that of the job at the top: with the events since that was
        answered, or since the client's positions. If the client returned with positions, but has none in the job's
        queue, it gets all events of the job. After the first look, it gets all events of the job in any case.
        """
        request, top = self.top.request, self.top.request.key
        requests = []
        for room, parent in found:
            queue = room.queue or ""
            key, after, sent = SubscriptionKey(room.queue, room.job_id, top.sub), request.after, None
            if after is not None and not self.was_looked_at:
                sent = {queue: request.sent[queue]} if request.sent and queue in request.sent else None
                after = {queue: after.get(queue, START)}
            elif self.was_looked_at:
                after = {queue: START}
            since = self._since.get(queue, START) if after is None else None
            child_of = ChildOf(parent, Room(top.queue, top.job_id), since)
            requests.append(SubscriptionRequest(key, request.events, False, after, sent, child_of=child_of))
        return requests

    def note_look(self, reached: Cursor) -> None:
        """Note that a look has ended. The caller has waited until `is_caught_up`.

        The first time, `top` gets what it missed; later, an outcome of `top` that was held. `reached` is how far each
        queue's stream was published, without a hole, when the look began.
        """
        self.reached = reached
        if not self.was_looked_at:
            self.was_looked_at = True
            self._since = {}  # there may be ten thousand queues
            self._begin()
        elif self._keeps and self._is_live:
            self._keeps = False
            self._fanout.release(self.top)
