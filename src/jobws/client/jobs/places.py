"""The places that a connection has for subscriptions. Of more, those that were there longest give theirs away. PURE."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Final

from jobws.client.jobs.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobws.client.frames import JsonObject

# How long a subscription keeps its place while others wait for one.
TURN_SECONDS: Final = 5.0
# While some wait, places that become free are gathered: the bridge takes few messages a second.
GATHER_SECONDS: Final = 0.1
# How many of one connection may be to one job id (protocol.md, S6).
PER_JOB: Final = 16


class Places:
    """Those of a connection that begins `now`: `most` of them. All times are of one clock that never goes back.

    Attributes:
        taken: By name, the subscriptions that the bridge may hold for us, the oldest first.
        leaving: What the bridge is to be told that we left, as `unsubscribe-job` names it.
    """

    def __init__(self, most: int, now: float) -> None:
        self.taken: dict[object, Subscription] = {}
        self.leaving: list[JsonObject] = []
        self._most = most
        self._waiting: dict[Subscription, None] = {}
        self._later: dict[Subscription, float] = {}
        self._changed = False  # since places were given
        self._turn_due, self._gather_due = now + TURN_SECONDS, now

    def want(self, subscription: Subscription) -> None:
        """Have it wait for a place."""
        self._waiting[subscription] = None
        self._changed = True

    def want_at(self, subscription: Subscription, due: float) -> None:
        """Have it wait for a place from then on."""
        self._later[subscription] = due

    def drop(self, subscription: Subscription, *, tell: bool) -> None:
        """Take it from its place, or from those that wait; `tell` the bridge, if that may hold it."""
        self._waiting.pop(subscription, None)
        self._later.pop(subscription, None)
        if self.taken.pop(subscription.sub, None) is not None:
            if tell:
                self.leaving.append(subscription.name())
            subscription.sub, subscription.acked = None, False
            self._changed = True

    def due(self) -> float:
        """When there is something to `take`, or in `leaving`."""
        if self.leaving:
            return -inf
        due = min(self._later.values(), default=inf)
        if self._waiting and self._changed and self._free:
            due = min(due, -inf if self._is_worth_a_message else self._gather_due)
        return min(due, self._turn_due) if self._waiting else due

    def take(self, names: Iterator[int], now: float) -> list[Subscription]:
        """Give places and names to those whose turn it is; those that lose theirs are in `leaving`."""
        for subscription in [each for each, due in self._later.items() if due <= now]:
            del self._later[subscription]
            self.want(subscription)
        if now >= self._turn_due:
            self._turn_due = now + TURN_SECONDS
            self._take_turns()
        if not self._waiting or not (self._is_worth_a_message or now >= self._gather_due):
            return []
        self._changed = False
        crowd, chosen = self._crowd(), list[Subscription]()
        for subscription in list(self._waiting):
            if self._free and crowd[subscription.room.job_id] < PER_JOB:
                crowd[subscription.room.job_id] += 1
                del self._waiting[subscription]
                subscription.sub = next(names)
                self.taken[subscription.sub] = subscription
                chosen.append(subscription)
                self._gather_due = now + GATHER_SECONDS
        return chosen

    @property
    def _free(self) -> int:
        return max(0, self._most - len(self.taken))

    @property
    def _is_worth_a_message(self) -> bool:
        return self._free >= min(len(self._waiting), self._most // 4 + 1)

    def _crowd(self) -> Counter[str | None]:
        return Counter(each.room.job_id for each in self.taken.values())

    def _take_turns(self) -> None:
        crowd, line = self._crowd(), Counter(each.room.job_id for each in self._waiting)
        lacking = sum(count for job_id, count in line.items() if crowd[job_id] < PER_JOB) - self._free
        for subscription in [each for each in self.taken.values() if each.acked]:
            job_id = subscription.room.job_id
            if crowd[job_id] >= PER_JOB and line[job_id] > 0:
                line[job_id] -= 1
            elif lacking > 0:
                lacking -= 1
            else:
                continue
            self.drop(subscription, tell=True)
            self.want(subscription)
