"""Lets subscriptions into their rooms, and has them get first what they missed, and then new events.

A request may have a thousand subscriptions, so this is done in short steps. First each subscription begins: what it
missed is decided, it enters its room, and it holds back the events that happen from then on. After the ack of the
request, each gets what it missed, and then what it holds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from jobws.hub.jobs.beginning import begin
from jobws.hub.jobs.flow import Flow
from jobws.hub.jobs.subscription import ALIVE
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.session import Close

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from jobws.hub.jobs.client import JobClient
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.missed import Beginning
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.hub.jobs.query import Query
    from jobws.hub.jobs.subscription import Subscription


FAILED: Final = Close(CloseCode.INTERNAL_ERROR, "the bridge failed to begin a subscription")


def no_flows(_flow: Flow) -> None:
    """Take a flow, and do nothing: nobody looks at the jobs below."""


def begin_each(
    pending: PendingSubscription, query: Query, fanout: Fanout, now_milliseconds: float
) -> Generator[None, None, bool]:
    """Have the subscriptions of a request begin, and let them into their rooms. One whose look-up failed ends.

    This is a generator of short steps: it yields after each subscription. It returns True if all have begun, and False
    as soon as one must wait. The other arguments are those of `begin`.
    """
    while waiting := pending.waiting:
        for subscription in waiting:
            if subscription.ended or subscription in pending.begun:
                continue
            if query.must_wait_for(subscription):
                return False
            found = pending.begun[subscription] = begin(subscription, query, fanout, now_milliseconds)
            if found.result.error is UNSET:
                subscription.held = []
                fanout.join(subscription)
            else:
                subscription.client.end(subscription)
            yield
    return True


def withdraw(pending: PendingSubscription, fanout: Fanout) -> None:
    """Undo `begin_each`, so that all subscriptions of a request that have not ended begin again later.

    This is needed if one of them must wait, and if the client has other rights: what was decided may name queues that
    these exclude.
    """
    for subscription in list(pending.begun):
        if not subscription.ended:
            del pending.begun[subscription]
            fanout.rooms.leave(subscription)
            subscription.in_room = False
            for each in subscription.held or ():
                subscription.client.outbox.release(each.tail)
            subscription.held = subscription.delivered = subscription.owed = subscription.ahead = None
            subscription.job_states = {}


def admit_each(
    client: JobClient,
    begun: Mapping[Subscription, Beginning],
    fanout: Fanout,
    on_flow: Callable[[Flow], None],
) -> Iterator[None]:
    """Have the subscriptions of an answered request get what they missed, and then events as they happen.

    One with `children` gets nothing until the client was sent what it missed of the jobs below. `on_flow` becomes the
    `on_change` of its flow, and is first called here. This is a generator of short steps, which the caller must
    exhaust: it yields after each subscription.
    """
    for subscription in begun:
        subscription.acked = True
    since = dict(fanout.cursors) if any(each.request.children for each in begun) else {}
    for subscription, beginning in begun.items():
        if not subscription.ended:
            catch_up = partial(_catch_up, client, subscription, beginning, fanout)
            try:
                if subscription.request.children:
                    subscription.flow = Flow(subscription, catch_up, since, fanout, on_flow)
                    subscription.flow.change()
                else:
                    catch_up()
            except Exception:  # otherwise this subscription and the next ones would hold their events for ever
                client.close(FAILED)
                raise
        client.outbox.flush()
        yield


def _catch_up(client: JobClient, subscription: Subscription, beginning: Beginning, fanout: Fanout) -> None:
    if beginning.replays:
        read_later = partial(client.read_later, beginning.replays)
        if subscription.request.logs is None:
            read_later()
        else:  # the lines that are there come before the outcome
            fanout.job_logs.drain(subscription, subscription.job_states, read_later)
    for queue in beginning.owed:
        if subscription.job_states.get(queue) is ALIVE:  # otherwise the outcome came since, and is held
            client.owe(subscription, queue)
    for queue in beginning.stale:
        if queue in fanout.cursors:  # otherwise it was forgotten since
            fanout.doubt(queue)
    if not beginning.replays:  # last, since what is held is sent without a position if an outcome is owed or doubted
        fanout.go_live(subscription)
