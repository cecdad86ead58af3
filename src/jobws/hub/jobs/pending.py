"""A request to subscribe that is not answered yet, and how its ack is made from the results of its items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

from jobws.hub.client import SEARCH_SIZE
from jobws.hub.jobs.positions import now_in
from jobws.protocol.messages import AckData, Cursor, ItemError, Result
from jobws.protocol.request_types import Room
from jobws.protocol.requests import FORBIDDEN, may_subscribe

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.flow import Flow
    from jobws.hub.jobs.missed import Beginning
    from jobws.hub.jobs.subscription import Subscription
    from jobws.protocol.messages import Evicted, Tree
    from jobws.protocol.request_types import Sight, Subscribe, SubscriptionKey, SubscriptionRequest

UNSUBSCRIBED: Final = ItemError("unsubscribed", "the subscription was left before it was answered")
UNAVAILABLE: Final = ItemError("unavailable", "Redis does not answer; subscribe again later")


REPLAY_SIZE: Final = 50
"""How much reading back a whole queue adds to `PendingSubscription.size`: the history of 10,000 events is searched."""


class PendingSubscription:
    """A request to subscribe that waits until its jobs were looked up in Redis.

    Args:
        request: The request.
        labels: The labels of all queues that the bridge serves; a live view.

    Attributes:
        subscriptions: The subscription of each item of the request, in order, or the error of the item. With a `flow`,
            the request has no items, and these are the subscriptions to the jobs that were found.
        flow: The flow for whose jobs the bridge itself makes the request, which then gets no answer; otherwise None.
        begun: By subscription that has begun, what it begins with; see `admission.begin_each`. One whose look-up failed
            has begun, too, and has ended.
        evicted: The older subscriptions that were ended to make room.
        trees: How many jobs are below each of the jobs `tops`, those whose flows the request wants to follow. The
            endpoint fills this in before the request is answered, and `answer` puts the numbers into the snapshots. A
            job that could not be counted is absent.
    """

    __slots__ = ("_labels", "begun", "evicted", "flow", "request", "subscriptions", "trees")

    def __init__(self, request: Subscribe, labels: Collection[str]) -> None:
        self.request = request
        self.subscriptions: list[Subscription | ItemError] = []
        self.begun: dict[Subscription, Beginning] = {}
        self.evicted: list[Evicted] = []
        self.flow: Flow | None = None
        self.trees: dict[Room, Tree] = {}
        self._labels = labels

    @property
    def size(self) -> int:
        """How much work the request is.

        This is the number of subscriptions, REPLAY_SIZE more for each whole queue that is read back, and SEARCH_SIZE
        more if the request names an unknown queue.
        """
        replays = sum(len(each.after) for each in self.present if each.request.key.job_id is None)
        unknown = any(queue is not None and queue not in self._labels for queue in self.queues)
        return len(self.subscriptions) + REPLAY_SIZE * replays + (SEARCH_SIZE if unknown else 0)

    def limit(self, sight: Sight) -> None:
        """Replace by FORBIDDEN each subscription of this request that the client's new rights `sight` do not allow.

        `trees` becomes a new, empty dictionary, since it may count jobs that these rights do not allow.
        """
        self.trees = {}
        self.subscriptions = [
            each if isinstance(each, ItemError) or may_subscribe(sight, each.request) else FORBIDDEN
            for each in self.subscriptions
        ]

    @property
    def present(self) -> list[Subscription]:
        """The subscriptions that have not ended."""
        return [
            subscription
            for subscription in self.subscriptions
            if not isinstance(subscription, ItemError) and not subscription.ended
        ]

    @property
    def waiting(self) -> list[Subscription]:
        """The `present` subscriptions that have not begun."""
        return [
            each
            for each in self.subscriptions
            if not isinstance(each, ItemError) and not each.ended and each not in self.begun
        ]

    @property
    def is_begun(self) -> bool:
        """Whether all `present` subscriptions have begun."""
        return not self.waiting

    @property
    def tops(self) -> list[Room]:
        """The jobs of the `present` subscriptions that are to follow flows."""
        keys = [each.request.key for each in self.present if each.request.children]
        return [Room(key.queue, key.job_id) for key in keys]

    @property
    def queues(self) -> set[str | None]:
        """The queues that the `present` subscriptions name; `None` stands for one that names no queue."""
        return {room.queue for room in self.keys}

    @property
    def keys(self) -> list[SubscriptionKey]:
        """The keys of the `present` subscriptions, one for each. A key is a room, with the subscription's `sub`."""
        return [subscription.request.key for subscription in self.present]


def answer(pending: PendingSubscription, fanout: Fanout) -> AckData | ItemError:
    """Return the data of a request's ack, or the error if the request has one item, not a list, and is refused.

    Args:
        pending: The request. All its subscriptions have begun, or have ended.
        fanout: Where the positions of the ack come from.
    """
    request, evicted = pending.request, pending.evicted or UNSET
    results = [_result_of(each, pending) for each in pending.subscriptions]
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


def _result_of(subscription: Subscription | ItemError, pending: PendingSubscription) -> Result:
    if isinstance(subscription, ItemError):
        return Result(error=subscription)
    found = pending.begun.get(subscription)
    if found is not None and found.result.error is not UNSET:
        return found.result
    if found is None or subscription.ended:
        return Result(error=UNSUBSCRIBED)
    return _with_tree(found.result, subscription.request, pending.trees) if pending.trees else found.result


def _with_tree(result: Result, request: SubscriptionRequest, trees: Mapping[Room, Tree]) -> Result:
    """Return the result of a request with `tree` in its snapshots, if the request wants `children`.

    If `trees` does not have the job, the snapshots have no `tree`. A result without snapshots is returned as it is.
    """
    if not request.children or result.jobs is UNSET:
        return result
    tree = trees.get(Room(request.key.queue, request.key.job_id), UNSET)
    return structs.replace(result, jobs=[structs.replace(job, tree=tree) for job in result.jobs])


def _common(pending: PendingSubscription, fanout: Fanout) -> Cursor:
    """Return the present position of each queue of the subscriptions.

    Empty if one of them names no queue, or wants `children`, which may be in any queue.
    """
    requests = [each.request for each in pending.subscriptions if not isinstance(each, ItemError)]
    if any(each.key.queue is None or each.children for each in requests):
        return {}
    queues = dict.fromkeys(each.key.queue for each in requests)
    return {queue: now_in(queue, fanout) for queue in queues if queue is not None}


def _without(result: Result, common: Cursor) -> Result:
    """Return `result` without the positions that equal those of `common`."""
    if result.after is UNSET or not common:
        return result
    if result.after == common:  # the usual case, of a list with one queue
        return structs.replace(result, after=UNSET)
    own = {queue: at for queue, at in result.after.items() if common.get(queue) != at}
    return structs.replace(result, after=own or UNSET)
