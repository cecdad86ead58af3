"""Counts the subscriptions of each payer over all of its connections: the holder of a token, or an address."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Final

from jobws.protocol.messages import ItemError

if TYPE_CHECKING:
    from collections.abc import Hashable


class SubscriptionCounts:
    """Says when a payer has as many subscriptions as it may have. The payer None is not limited.

    Args:
        limit: How many subscriptions each payer may have.
        refused: How many subscriptions were refused, by the name of the setting with the limit. Only `note_refused`
            adds to it: `too_many` does not.
    """

    def __init__(self, limit: float, refused: Counter[str]) -> None:
        self._limit = limit
        self._refused = refused
        self._counts: Counter[Hashable] = Counter()

    def too_many(self, payer: Hashable) -> ItemError | None:
        """Return the error with which a further subscription is refused, or None if there is room for it."""
        if self._counts[payer] < self._limit:
            return None
        limit = f"there may be {self._limit} subscriptions by one holder or address (max_subscriptions_per_identity)"
        return ItemError("too-many-subscriptions", limit)

    def add(self, payer: Hashable, change: int) -> None:
        """Add `change` to the number of a payer's subscriptions. For the payer None, nothing is counted."""
        if payer is not None:
            self._counts[payer] += change
            if not self._counts[payer]:
                del self._counts[payer]

    def note_refused(self, setting: str) -> None:
        """Count a subscription that was refused. `setting` is the name of the setting with the limit."""
        self._refused[setting] += 1


UNLIMITED: Final = SubscriptionCounts(inf, Counter())
"""For clients whose subscriptions are not counted together."""
