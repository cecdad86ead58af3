"""Finds the positions for a `pong`, and where subscriptions begin.

A `pong` has positions only in queues of the client's subscriptions, since there may be thousands of queues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.protocol.identifiers import START, lower

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.flow import Flow
    from jobws.hub.jobs.subscription import Subscription
    from jobws.protocol.messages import Cursor


def positions(subscriptions: Iterable[Subscription], fanout: Fanout) -> Cursor:
    """Return by queue the position up to which every event of the acknowledged subscriptions was certainly sent.

    A queue is absent while events of it are held back, outcomes must still be sent, or events may be missing, and if it
    keeps no events. While the client follows flows, positions reach only as far as all jobs of these are known.
    """
    after: Cursor = {}
    unknown = fanout.without_position | fanout.without_events
    verified = fanout.verified
    flows: dict[Flow, None] = {}
    for subscription in subscriptions:
        if not subscription.acked:
            continue
        if subscription.request.children and subscription.flow is None:
            return {}  # no job below it is known
        if subscription.flow is not None:
            flows[subscription.flow] = None
        queues = subscription.queues(verified)
        if subscription.held is not None:
            unknown.update(queues)
        elif subscription.owed:
            unknown.update(subscription.owed)
        for queue in queues:
            if queue in verified:
                after[queue] = verified[queue]
    for queue in unknown:
        after.pop(queue, None)
    for flow in flows:
        after = {queue: lower(at, flow.reached[queue]) for queue, at in after.items() if queue in flow.reached}
    return after


def are_outcomes_missed(subscriptions: Iterable[Subscription], fanout: Fanout) -> bool:
    """Whether an outcome is owed to an acknowledged subscription, or is still looked up in one of its queues."""
    unknown = fanout.without_position
    return any(
        each.acked and (each.owed or (unknown and not unknown.isdisjoint(each.queues(unknown))))
        for each in subscriptions
    )


def now_in(queue: str, fanout: Fanout) -> str:
    """Return the position in a queue up to which entries were published. A subscription that begins now begins there.

    This is `0-0` for a queue that keeps no events, or that does not exist.
    """
    return START if queue in fanout.without_events else fanout.cursors.get(queue, START)
