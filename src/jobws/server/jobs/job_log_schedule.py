"""Decides when each job's log lines are read, and how long subscriptions may wait for lines."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from jobws.bullmq.snapshot import Job
    from jobws.hub.jobs.subscription import Subscription

# The pause between two reads of a job's lines. It is short after new lines or an event of the job, and then grows by
# half each time.
FAST_SECONDS: Final = 0.1
SLOW_SECONDS: Final = 1.0
SLOWER: Final = 1.5
# An event of a job makes its lines due immediately, but not more often than this: there may be a thousand events a
# second.
SPACING_SECONDS: Final = 0.05
# How long an outcome waits for its job's last lines at most, while Redis is still sending lines of other jobs. This
# takes long after a subscription to a thousand jobs with a quarter of a megabyte each.
MAX_HOLD_SECONDS: Final = 10.0


class ReadTimes:
    """When one job's lines are read. Times are in seconds on anyio's clock.

    Attributes:
        asked: When the last read of the lines began; -inf means that there was none.
        due: When the lines are to be read next; inf means that no read is planned, or that one is under way.
        pause: The seconds from the end of a read to the next one.
        urgent: Whether an outcome waits for the lines.
    """

    __slots__ = ("asked", "due", "pause", "urgent")

    def __init__(self) -> None:
        self.asked = -inf
        self.due = inf
        self.pause = FAST_SECONDS
        self.urgent = False

    def slow_down(self, now: float) -> None:
        """Note that a read has ended at `now`. The next one is due after `pause`, and later pauses are longer.

        If news came during the read, the next one may be due earlier.
        """
        self.due = min(self.due, now + self.pause)
        self.pause = min(self.pause * SLOWER, SLOW_SECONDS)


class JobLogSchedule:
    """When the lines of each followed job are read next, and until when subscriptions wait for lines.

    A subscription that waits for lines holds back the outcome of its job.

    Args:
        hold_seconds: How long an outcome waits for the last lines if Redis answers no read of lines meanwhile.

    Attributes:
        hold_seconds: The argument.
        read_times: The read times of each job whose lines are followed.
        deadlines: For each subscription that waits for lines: when to decide whether it waits longer, and when the wait
            ends even if Redis still sends lines, in seconds on anyio's clock. `set_deadlines` moves both.
    """

    def __init__(self, hold_seconds: float) -> None:
        self.hold_seconds = hold_seconds
        self.read_times: dict[Job, ReadTimes] = {}
        self.deadlines: dict[Subscription, tuple[float, float]] = {}
        self._due = anyio.Event()
        self._sleeping_until = -inf
        self._waiting = anyio.Event()

    def make_due(self, job: Job, urgent: bool) -> None:
        """Have the lines of a job read soon, since it may have new ones. Never waits.

        `urgent` says whether an outcome waits for the lines. Then they are due immediately; otherwise at most once in
        SPACING_SECONDS.
        """
        now = anyio.current_time()
        times = self.read_times.setdefault(job, ReadTimes())
        times.pause = FAST_SECONDS
        times.urgent = times.urgent or urgent
        times.due = min(times.due, now if urgent else max(now, times.asked + SPACING_SECONDS))
        if times.due < self._sleeping_until:
            self._due.set()

    def set_deadlines(self, subscription: Subscription) -> None:
        """Let a subscription wait for lines, from now on for the whole of both times; see `deadlines`. Never waits.

        If it has waited already, that time no longer counts.
        """
        now = anyio.current_time()
        self.deadlines[subscription] = now + self.hold_seconds, now + MAX_HOLD_SECONDS
        self._waiting.set()

    async def due(self) -> list[Job]:
        """Wait until some jobs' log lines are due to be read, and return these jobs.

        The jobs stay due until the caller changes their `ReadTimes.due`.

        Jobs whose outcome is held back until their last lines are read come first. Otherwise those come first that have
        been due for longest.
        """
        while True:
            now = anyio.current_time()
            due = sorted(
                (not times.urgent, times.due, job) for job, times in self.read_times.items() if times.due <= now
            )
            if due:
                return [job for _, _, job in due]
            self._due = anyio.Event()
            self._sleeping_until = min((times.due for times in self.read_times.values()), default=inf)
            with anyio.move_on_after(self._sleeping_until - now):
                await self._due.wait()
            self._sleeping_until = -inf

    async def deadline(self) -> None:
        """Wait until the first deadline of a subscription, or until another subscription begins to wait."""
        self._waiting = anyio.Event()
        first = min((due for due, _ in self.deadlines.values()), default=inf)
        with anyio.move_on_after(first - anyio.current_time()):
            await self._waiting.wait()
