"""What an ack says of all subscriptions of a request: what they have in common, and what each has of its own."""

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
    """The data of the ack of a request whose items have these results; or why its only item is refused."""
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
    """The positions of what happens from now on, if every item names a queue."""
    rooms = [item.room for item in pending.request.items if not isinstance(item, ItemError)]
    if any(room.queue is None for room in rooms):
        return {}
    return {room.queue: now_in(room.queue, fanout) for room in rooms if room.queue is not None}


def _without(result: Result, common: Cursor) -> Result:
    """A result without the positions that its list has in common."""
    if result.after is UNSET or not common:
        return result
    own = {queue: at for queue, at in result.after.items() if common.get(queue) != at}
    return structs.replace(result, after=own or UNSET)
