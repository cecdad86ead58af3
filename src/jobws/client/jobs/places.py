"""The places that a connection has for subscriptions. Of more, those that were there longest give theirs away. PURE."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Final

from jobws.client.jobs.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobws.client.frames import JsonObject

# How long a subscription keeps its place while others wait for one.
TURN_SECONDS: Final = 5.0
# How many of one connection may be to one job id (protocol.md, S6).
PER_JOB: Final = 16


class Places:
    """Those of one connection: `most` of them. All times are of one clock that never goes back.

    Attributes:
        taken: By name, the subscriptions that the bridge may hold for us, the oldest first.
        leaving: What the bridge is to be told that we left, as `unsubscribe-job` names it.
    """

    def __init__(self, most: int) -> None:
        self.taken: dict[object, Subscription] = {}
        self.leaving: list[JsonObject] = []
        self._most = most
        self._waiting: dict[Subscription, None] = {}
        self._later: dict[Subscription, float] = {}
        self._changed = False  # since `take`
        self._turn_due = inf  # nobody waits

    def want(self, subscription: Subscription, due: float = -inf) -> None:
        """Have it wait for a place, from then on."""
        if due > -inf:
            self._later[subscription] = due
        else:
            self._waiting[subscription] = None
            self._changed = True

    def drop(self, subscription: Subscription, *, tell: bool) -> None:
        """Take it from its place, or from those that wait; `tell` the bridge, if that may hold it."""
        self._waiting.pop(subscription, None)
        self._later.pop(subscription, None)
        if self.taken.pop(subscription.sub, None) is not None:
            if tell:
                self.leaving.append(subscription.name())
            subscription.release()
            self._changed = True

    def due(self) -> float:
        """When there is something to `take`, or in `leaving`."""
        if self.leaving or (self._waiting and self._changed):
            return -inf
        return min(self._turn_due, *self._later.values(), inf)

    def take(self, names: Iterator[int], now: float) -> list[Subscription]:
        """Give places and names to those whose turn it is; those that lose theirs are in `leaving`."""
        for subscription in [each for each, due in self._later.items() if due <= now]:
            del self._later[subscription]
            self.want(subscription)
        turn = now >= self._turn_due
        if turn:
            self._take_turns()
        # The bridge takes few messages a second, so places that become free are given many together.
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
        # Who waits for a job that has all its places needs one of them; all others need any.
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
