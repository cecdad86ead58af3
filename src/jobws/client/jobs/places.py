"""The places for subscriptions on a connection. If there are more subscriptions, they take turns. PURE."""

from __future__ import annotations

from collections import Counter
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
        taken: By name, the subscriptions that have a place, which the bridge may know. The oldest is first.
        leaving: The items of the next `unsubscribe-job`.
    """

    def __init__(self, most: int) -> None:
        self.taken: dict[object, Subscription] = {}
        self.leaving: list[JsonObject] = []
        self._most = most
        self._waiting: dict[Subscription, None] = {}
        self._later: dict[Subscription, float] = {}
        self._changed = False  # whether a place or a waiting subscription changed since `take`
        self._turn_due = inf  # no subscription waits

    def want(self, subscription: Subscription, due: float = -inf) -> None:
        """Let a subscription wait for a place, from the time `due` on."""
        if due > -inf:
            self._later[subscription] = due
        else:
            self._waiting[subscription] = None
            self._changed = True

    def drop(self, subscription: Subscription, *, tell: bool) -> None:
        """Remove a subscription. With `tell`, unsubscribe it at the bridge if it has a place."""
        self._waiting.pop(subscription, None)
        self._later.pop(subscription, None)
        if self.taken.pop(subscription.sub, None) is not None:
            if tell:
                self.leaving.append(subscription.name())
            subscription.release()
            self._changed = True

    def due(self) -> float:
        """Return when `take` may give places, or -inf if `leaving` is not empty."""
        if self.leaving or (self._waiting and self._changed):
            return -inf
        return min(self._turn_due, *self._later.values(), inf)

    def take(self, names: Iterator[int], now: float) -> list[Subscription]:
        """Give places and names to waiting subscriptions, and return them. Add those that lose a place to `leaving`."""
        for subscription in [each for each, due in self._later.items() if due <= now]:
            del self._later[subscription]
            self.want(subscription)
        turn = now >= self._turn_due
        if turn:
            self._take_turns()
        # The bridge limits messages per second, so many free places are given together.
        chosen = self._give(names) if turn or self._free >= min(len(self._waiting), self._most // 4 + 1) else []
        self._changed = False
        if not self._waiting:
            self._turn_due = inf
        elif turn or self._turn_due == inf:
            self._turn_due = now + TURN_SECONDS
        return chosen

    @property
    def _free(self) -> int:
        return self._most - len(self.taken)

    def _give(self, names: Iterator[int]) -> list[Subscription]:
        crowd, chosen = _by_job(self.taken.values()), list[Subscription]()
        for subscription in list(self._waiting):
            if self._free > 0 and crowd[subscription.room.job_id] < PER_JOB:
                crowd[subscription.room.job_id] += 1
                del self._waiting[subscription]
                subscription.sub = next(names)
                self.taken[subscription.sub] = subscription
                chosen.append(subscription)
        return chosen

    def _take_turns(self) -> None:
        # A subscription to a job that already has PER_JOB places needs one of these. All others need any place.
        crowd, line = _by_job(self.taken.values()), _by_job(self._waiting)
        crowded = {job_id for job_id in line if crowd[job_id] >= PER_JOB}
        needed = Counter({job_id: line[job_id] for job_id in crowded})
        needed[None] = len(self._waiting) - needed.total() - self._free
        for subscription in [each for each in self.taken.values() if each.acked]:
            job_id = subscription.room.job_id if subscription.room.job_id in crowded else None
            if needed[job_id] > 0:
                needed[job_id] -= 1
                self.drop(subscription, tell=True)
                self.want(subscription)


def _by_job(subscriptions: Iterable[Subscription]) -> Counter[str | None]:
    return Counter(each.room.job_id for each in subscriptions)
