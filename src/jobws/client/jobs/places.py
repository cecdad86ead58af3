"""The places for subscriptions on a connection: as many as the bridge allows. Subscriptions take turns. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Final

from jobws.client.jobs.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobws.client.frames import JsonObject

# How long a subscription keeps its place while other subscriptions wait.
TURN_SECONDS: Final = 5.0
# How many subscriptions to one job id a connection may have (protocol.md, S6).
PER_JOB: Final = 16


class Places:
    """The `most` places of one connection. All times are seconds of one clock that never goes back.

    Attributes:
        taken: By name, the subscriptions that have a place: `take` has returned them. The oldest is first.
        leaving: The items of the next `unsubscribe-job`. The caller sends and clears them.
    """

    def __init__(self, most: int) -> None:
        self.taken: dict[object, Subscription] = {}
        self.leaving: list[JsonObject] = []
        self._most = most
        self._waiting: dict[Subscription, None] = {}
        self._later: dict[Subscription, float] = {}
        self._changed = False  # whether a place became free, or a subscription began to wait, since the last `take`
        self._turn_due = inf  # no subscription waits

    def want(self, subscription: Subscription, due: float = -inf) -> None:
        """Let a subscription wait for a place. It gets none before the time `due`."""
        if due > -inf:
            self._later[subscription] = due
        else:
            self._waiting[subscription] = None
            self._changed = True

    def drop(self, subscription: Subscription, *, tell: bool) -> None:
        """Remove a subscription, and release its name. With `tell`, add it to `leaving` if it had a place."""
        self._waiting.pop(subscription, None)
        self._later.pop(subscription, None)
        if self.taken.pop(subscription.sub, None) is not None:
            if tell:
                self.leaving.append(subscription.name())
            subscription.release()
            self._changed = True

    def due(self) -> float:
        """Return when `take` may give places. -inf: now, or `leaving` has items. inf: not until something changes."""
        if self.leaving or (self._waiting and self._changed):
            return -inf
        return min(self._turn_due, *self._later.values(), inf)

    def take(self, names: Iterator[int], now: float) -> list[Subscription]:
        """Give waiting subscriptions a place and a name; return them. Older ones may lose theirs: see `leaving`."""
        for subscription in [each for each, due in self._later.items() if due <= now]:
            del self._later[subscription]
            self.want(subscription)
        if turn := now >= self._turn_due:
            self._take_turns()
        # The bridge limits messages per second, so places are given if they are enough for all, or a quarter of all.
        free = self._most - len(self.taken)
        chosen = self._give(names) if turn or free >= min(len(self._waiting), self._most // 4 + 1) else []
        self._changed = False
        if not self._waiting:
            self._turn_due = inf
        elif turn or self._turn_due == inf:
            self._turn_due = now + TURN_SECONDS
        return chosen

    def _give(self, names: Iterator[int]) -> list[Subscription]:
        chosen = [each for each in self._fitting(self.taken.values(), self._waiting) if each.sub is None]
        for subscription in chosen:
            del self._waiting[subscription]
            subscription.sub = next(names)
            self.taken[subscription.sub] = subscription
        return chosen

    def _take_turns(self) -> None:
        # Unanswered subscriptions keep their places. The waiting ones come next, then the latest of the answered ones.
        answered = [each for each in self.taken.values() if each.acked]
        unanswered = (each for each in self.taken.values() if not each.acked)
        staying = set(self._fitting(unanswered, self._waiting, reversed(answered)))
        for subscription in answered:
            if subscription not in staying:
                self.drop(subscription, tell=True)
                self.want(subscription)

    def _fitting(self, *lines: Iterable[Subscription]) -> list[Subscription]:
        """Return the subscriptions that get a place if places are given to all `lines` in order, up to both limits."""
        crowd, fitting = Counter[str | None](), list[Subscription]()
        for subscription in chain(*lines):
            if len(fitting) < self._most and crowd[subscription.room.job_id] < PER_JOB:
                crowd[subscription.room.job_id] += 1
                fitting.append(subscription)
        return fitting
