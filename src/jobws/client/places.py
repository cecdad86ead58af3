"""The places that one connection has for subscriptions, and who waits for one. PURE.

Of more subscriptions than there are places, those that were there longest give theirs to those that wait. One that was
left loses nothing: it comes back with its position. All that are to one job have few places for themselves.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobws.client.subscription import Subscription
    from jobws.protocol.messages import Sub

# How long a subscription keeps its place while others wait for one.
TURN_SECONDS: Final = 5.0
# While some wait, places that become free are gathered: the bridge takes few messages a second.
GATHER_SECONDS: Final = 0.1
# Subscriptions of one connection to one job id (protocol.md, S6).
PER_JOB: Final = 16


class Places:
    """Those of one connection.

    Args:
        most: How many the bridge gives.
        now: The time. All times are of one clock that never goes back.

    Attributes:
        taken: By name, the subscriptions that the bridge may hold for us, the oldest first.
        leaving: What `unsubscribe-job` is to name.
    """

    def __init__(self, most: int, now: float) -> None:
        self.taken: dict[Sub | None, Subscription] = {}
        self.leaving: list[bytes] = []
        self._most = most
        self._waiting: dict[Subscription, None] = {}
        self._later: dict[Subscription, float] = {}
        # By job: how many are in `taken` or `_waiting`, and those that are too many.
        self._of_job: Counter[str | None] = Counter()
        self._crowded: dict[str | None, dict[Subscription, None]] = {}
        self._turn_due = now + TURN_SECONDS
        self._gather_due = now

    def want(self, subscription: Subscription) -> None:
        """Have it wait for a place."""
        job_id = subscription.room.job_id
        if self._of_job[job_id] < PER_JOB:
            self._of_job[job_id] += 1
            self._waiting[subscription] = None
        else:
            self._crowded.setdefault(job_id, {})[subscription] = None

    def want_at(self, subscription: Subscription, due: float) -> None:
        """Have it wait for a place from then on."""
        self._later[subscription] = due

    def drop(self, subscription: Subscription, *, tell: bool) -> None:
        """Take it from its place, or from those that wait; `tell` the bridge, if that may hold it."""
        job_id = subscription.room.job_id
        if subscription.sub is not None:
            if tell:
                self.leaving.append(subscription.name())
            del self.taken[subscription.sub]
            subscription.sub, subscription.acked = None, False
        elif subscription in self._waiting:
            del self._waiting[subscription]
        else:
            self._later.pop(subscription, None)
            self._leave_crowd(subscription)
            return
        self._of_job[job_id] -= 1
        if not self._of_job[job_id]:
            del self._of_job[job_id]
        if job_id in self._crowded:
            first = next(iter(self._crowded[job_id]))
            self._leave_crowd(first)
            self.want(first)

    def _leave_crowd(self, subscription: Subscription) -> None:
        job_id = subscription.room.job_id
        line = self._crowded.get(job_id, {})
        line.pop(subscription, None)
        if not line:
            self._crowded.pop(job_id, None)

    def due(self) -> float:
        """When `take` or `leaving` has something."""
        if self.leaving or (self._waiting and self._worth_a_message()):
            return -inf
        due = min(self._later.values(), default=inf)
        if self._waiting and self._free:
            due = min(due, self._gather_due)
        return min(due, self._turn_due) if self._waiting or self._crowded else due

    def take(self, names: Iterator[int], now: float) -> list[Subscription]:
        """Give places and names to those whose turn it is; those that lose theirs are in `leaving`."""
        for subscription in [each for each, due in self._later.items() if due <= now]:
            del self._later[subscription]
            self.want(subscription)
        self._take_turns(now)
        if not self._waiting or not (self._worth_a_message() or now >= self._gather_due):
            return []
        chosen = list(islice(self._waiting, self._free))
        for subscription in chosen:
            del self._waiting[subscription]
            subscription.sub = next(names)
            self.taken[subscription.sub] = subscription
        if chosen:
            self._gather_due = now + GATHER_SECONDS
        return chosen

    @property
    def _free(self) -> int:
        return max(0, self._most - len(self.taken))

    def _worth_a_message(self) -> bool:
        return self._free >= min(len(self._waiting), self._most // 4 + 1)

    def _take_turns(self, now: float) -> None:
        if now < self._turn_due:
            return
        self._turn_due = now + TURN_SECONDS
        lacking = len(self._waiting) - self._free
        crowds = {job_id: len(line) for job_id, line in self._crowded.items()}
        for subscription in [each for each in self.taken.values() if each.acked]:
            job_id = subscription.room.job_id
            if crowds.get(job_id, 0) > 0:
                crowds[job_id] -= 1
            elif lacking > 0:
                lacking -= 1
            else:
                continue
            self.drop(subscription, tell=True)
            self.want(subscription)
