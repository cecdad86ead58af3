"""Builds the ack of `subscribe-job`: the positions that all items have in common, and the result of each item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from jobws.hub.jobs.pending_subscription import now_in
from jobws.protocol.messages import AckData, Cursor, ItemError, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.pending_subscription import PendingSubscription


def answer(pending: PendingSubscription, results: Sequence[Result], fanout: Fanout) -> AckData | ItemError:
    """Return the data of a request's ack, or the error if the request has a single item, not a list, and it is refused.

    Args:
        pending: The request.
        results: The result of each item, in order.
        fanout: Where the positions of the ack come from.
    """
    request, evicted = pending.request, pending.evicted or UNSET
    if request.many:
        common = _common(pending, fanout)
        own = [_without(result, common) for result in results]
        return AckData(request.event, results=own, evicted=evicted, after=common or UNSET)
    (result,) = results
    if isinstance(result.error, ItemError):
        return result.error
    return AckData(
        request.event,
        jobs=result.jobs,
        unknown=result.unknown,
        gap=result.gap,
        ambiguous=result.ambiguous,
        unknown_queue=result.unknown_queue,
        evicted=evicted,
        after=result.after,
    )


def _common(pending: PendingSubscription, fanout: Fanout) -> Cursor:
    """Return the present position of each queue of the items, or no positions if an item names no queue."""
    rooms = [item.key for item in pending.request.items if not isinstance(item, ItemError)]
    if any(room.queue is None for room in rooms):
        return {}
    return {room.queue: now_in(room.queue, fanout) for room in rooms if room.queue is not None}


def _without(result: Result, common: Cursor) -> Result:
    """Return `result` without the positions that equal those of `common`."""
    if result.after is UNSET or not common:
        return result
    own = {queue: at for queue, at in result.after.items() if common.get(queue) != at}
    return structs.replace(result, after=own or UNSET)
