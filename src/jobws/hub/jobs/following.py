"""A client of `/ws` that may follow flows: the bridge subscribes it to the jobs below those that it asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.pending import PendingSubscription
from jobws.hub.jobs.positions import positions
from jobws.hub.jobs.subscription import Subscription
from jobws.protocol.messages import ItemError, Pong, PongData
from jobws.protocol.request_types import Room, Subscribe
from jobws.protocol.requests import may_subscribe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobws.hub.jobs.flow import Flow
    from jobws.protocol.messages import Cursor

TOO_LARGE: Final = ItemError("too-many", "the flow has more jobs than a connection may have subscriptions")


class FollowingClient(JobClient):
    """A client of `/ws` with its flows; see `JobClient`."""

    __slots__ = ()

    def follow(self, flow: Flow, found: Iterable[tuple[Room, Room]]) -> PendingSubscription:
        """Subscribe to jobs below in a flow: pairs of the job and the job above it. Return what is to be looked up.

        Jobs that the client may not read are left out. If one of the others exceeds the limit of the connection, the
        whole flow ends. What is returned may have no subscriptions that are `present`.
        """
        pending = PendingSubscription(Subscribe("subscribe-job", (), many=True, ref=None), self._queues)
        pending.flow = flow
        self._pending[pending] = None
        subscriptions = self._subscriptions
        for request in flow.requests(found):
            if subscriptions.get(request.key) is not None or not may_subscribe(self.session.sight, request):
                continue
            full = subscriptions.too_many() or subscriptions.too_alike(request.key)
            if full is not None:
                self.end_flow(flow, TOO_LARGE)
                break
            subscription = Subscription(self, request, self._fanout.rooms, self.session.sight)
            subscriptions.add(subscription)
            flow.join(subscription)
            pending.subscriptions.append(subscription)
        return pending

    def end_flow(self, flow: Flow, why: ItemError) -> None:
        """End a flow, and tell the client why. Does nothing if it has ended."""
        if not flow.top.ended:
            self._tell_end(flow.top.request.key, why)
            self.end(flow.top)
            self.outbox.flush()

    def note_look(self, flow: Flow, reached: Cursor) -> None:
        """Note that a look at the jobs below has ended, and send the client the positions that it has not got yet.

        `reached` is explained at `Flow.note_look`.
        """
        flow.note_look(reached)
        if flow.has_unsent_positions:
            self._fanout.send_held_progress(self._subscriptions)
        after = positions(self._subscriptions, self._fanout)
        if flow.note_positions(after):
            self._answer(Pong(PongData(after)))
        self.outbox.flush()
