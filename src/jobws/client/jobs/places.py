"""The places for subscriptions on a connection: as many as the bridge allows. Subscriptions take turns. Pure."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Final

from jobws.client.jobs.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobws.client.frames import JsonObject

TURN_SECONDS: Final = 5.0  # how long a subscription keeps its place while other subscriptions wait
PER_JOB: Final = 16  # subscriptions to one job id that a connection may have (protocol.md, S6)


class Places:
    """The `most` places of one connection. Times are seconds on one clock that never goes back; -inf means now.

    Attributes:
        taken: By name, the subscriptions that have a place: `assign` has returned them. The oldest is first.
        to_unsubscribe: The items of the next `unsubscribe-…`. The caller sends and clears them.
        due: When to call `assign` and send `to_unsubscribe`. -inf: now. inf: not until another method was called.
    """

    def __init__(self, most: int) -> None:
        self.taken: dict[object, Subscription] = {}
        self.to_unsubscribe: list[JsonObject] = []
        self.due = inf
        self._most = most
        self._waiting: dict[Subscription, None] = {}
        self._delayed: dict[Subscription, float] = {}
        self._turn_due = inf  # no subscription waits

    def enqueue(self, subscription: Subscription, due: float = -inf) -> None:
        """Free a subscription's place, if any. It waits for a new one, and gets it at the time `due` or later."""
        self.remove(subscription)
        subscription.sub, subscription.acked = None, False
        if due > -inf:
            self._delayed[subscription] = due
        else:
            self._waiting[subscription] = None
        self.due = min(self.due, due)

    def remove(self, subscription: Subscription, *, tell: bool = False) -> None:
        """End a subscription's wait, or free its place and (with `tell`) add the subscription to `to_unsubscribe`."""
        self._waiting.pop(subscription, None)
        self._delayed.pop(subscription, None)
        if self.taken.pop(subscription.sub, None) is not None:
            if tell:
                self.to_unsubscribe.append(subscription.unsubscribe_item())
            if tell or self._waiting:
                self.due = -inf

    def assign(self, names: Iterator[int], now: float) -> list[Subscription]:
        """Give waiting subscriptions places and `names`; return them. `to_unsubscribe` gets those that lose theirs."""
        for subscription in [each for each, due in self._delayed.items() if due <= now]:
            self.enqueue(subscription)
        turn, free = now >= self._turn_due, self._most - len(self.taken)
        # The bridge limits messages per second, so places are given if all that wait get one, or a quarter is free.
        enough = turn or free >= min(len(self._waiting), self._most // 4 + 1)
        chosen = self._choose(turn=turn) if enough else []
        for subscription in chosen:
            del self._waiting[subscription]
            subscription.sub = next(names)
            self.taken[subscription.sub] = subscription
        if not self._waiting:
            self._turn_due = inf
        elif turn or self._turn_due == inf:
            self._turn_due = now + TURN_SECONDS
        self.due = min(self._turn_due, *self._delayed.values(), inf)
        return chosen

    def _choose(self, *, turn: bool) -> list[Subscription]:
        """Return those to give a place. At a `turn`, this frees places for them: of the oldest acknowledged ones."""
        yielding = [each for each in self.taken.values() if turn and each.acked]
        staying = [each for each in self.taken.values() if not (turn and each.acked)]
        crowd, fitting = Counter[object](), dict[Subscription, None]()
        for subscription in (*staying, *self._waiting, *reversed(yielding)):  # the oldest gives up its place first
            job = subscription.room.job_id or subscription.room  # or a whole queue
            if len(fitting) < self._most and crowd[job] < PER_JOB:
                crowd[job] += 1
                fitting[subscription] = None
        for subscription in yielding:
            if subscription not in fitting:
                self.remove(subscription, tell=True)
                self.enqueue(subscription)
        return [each for each in fitting if each.sub is None]
