"""The subscriptions of one client, by their keys. Limits how many there are, and how many get the events of one job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.hub.jobs.matching import MAX_MATCHING, Matching
from jobws.protocol.messages import ItemError

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator

    from jobws.hub.jobs.subscription import Subscription
    from jobws.hub.jobs.subscription_counts import SubscriptionCounts
    from jobws.protocol.request_types import SubscriptionKey


class ClientSubscriptions:
    """The subscriptions of one client, answered or not, oldest first.

    Args:
        limit: How many subscriptions there may be.
        counts: Counts the subscriptions of each payer.
    """

    __slots__ = ("_by_key", "_counts", "_limit", "_matching", "_payer")

    def __init__(self, limit: int, counts: SubscriptionCounts) -> None:
        self._limit = limit
        self._counts = counts
        self._payer: Hashable = None
        self._by_key: dict[SubscriptionKey, Subscription] = {}
        self._matching: Matching | None = None

    @property
    def keys(self) -> Collection[SubscriptionKey]:
        """The keys; a live view."""
        return self._by_key.keys()

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_key.values())

    def get(self, key: SubscriptionKey) -> Subscription | None:
        """Return the subscription with this key, or None."""
        return self._by_key.get(key)

    def too_many(self) -> ItemError | None:
        """Return the error with which a further subscription is refused, or None if there is room for it."""
        if len(self._by_key) < self._limit:
            return self._counts.too_many(self._payer)
        return ItemError("too-many-subscriptions", f"a connection may have {self._limit} subscriptions")

    def refused(self, error: ItemError) -> ItemError:
        """Count a subscription as refused with `error`, which `too_many` returned. Return `error`."""
        is_full = len(self._by_key) >= self._limit
        self._counts.note_refused("max_subscriptions" if is_full else "max_subscriptions_per_identity")
        return error

    def charge_to(self, payer: Hashable) -> None:
        """Count the subscriptions for `payer` from now on, even if `payer` then has more than its limit."""
        self._counts.add(self._payer, -len(self._by_key))
        self._payer = payer
        self._counts.add(payer, len(self._by_key))

    def too_alike(self, key: SubscriptionKey) -> ItemError | None:
        """Return the error with which a subscription with this key is refused, or None if it may be added.

        It is refused if it wants the events of a job that MAX_MATCHING subscriptions of the client get already.
        """
        if len(self._by_key) >= MAX_MATCHING and self._matching is None:
            self._matching = Matching(self._by_key)
        if self._matching is None or not self._matching.has(MAX_MATCHING, key):
            return None
        limit = f"a connection may have {MAX_MATCHING} subscriptions that match one job"
        return ItemError("too-many-subscriptions", limit)

    def add(self, subscription: Subscription) -> None:
        """Add a subscription. There must be none with its key."""
        key = subscription.request.key
        self._by_key[key] = subscription
        self._counts.add(self._payer, 1)
        if self._matching is not None:
            self._matching.add(key)

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription."""
        key = subscription.request.key
        del self._by_key[key]
        self._counts.add(self._payer, -1)
        if self._matching is not None:
            self._matching.remove(key)

    def evictable(self) -> Iterator[Subscription]:
        """Yield the subscriptions that may be ended to make room: those whose outcome was sent, oldest first.

        The caller may end each one, and add others, between two steps.
        """
        for subscription in list(self._by_key.values()):
            if not subscription.ended and subscription.has_outcome:
                yield subscription
