"""When the lines of which job's log are looked at, and how long what waits for lines may wait."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from jobws.bullmq.snapshot import Job
    from jobws.hub.jobs.subscription import Subscription

# After lines or an event of the job; then each pause is 1.5 times the one before.
FAST_SECONDS: Final = 0.1
SLOW_SECONDS: Final = 1.0
SLOWER: Final = 1.5
# Events of one job make it due immediately, but not more often than this: there may be a thousand a second.
SPACING_SECONDS: Final = 0.05
# How long an outcome waits for the last lines while Redis tells those of others, as after a subscription to a thousand
# jobs that each have a quarter of a megabyte.
MAX_HOLD_SECONDS: Final = 10.0


class Pace:
    """When one job's lines are looked at.

    Attributes:
        asked: When they were looked at last, in seconds on anyio's clock; -inf: never.
        due: When they are to be looked at next.
        pause: How long after one look the next one follows, in seconds.
        urgent: Whether an outcome waits for them.
    """

    __slots__ = ("asked", "due", "pause", "urgent")

    def __init__(self) -> None:
        self.asked = -inf
        self.due = inf
        self.pause = FAST_SECONDS
        self.urgent = False

    def slow_down(self, now: float) -> None:
        """A look has ended: the next one comes after the pause, and the pause after that is longer."""
        self.due = min(self.due, now + self.pause)
        self.pause = min(self.pause * SLOWER, SLOW_SECONDS)


class JobLogSchedule:
    """What is due when.

    Args:
        hold_seconds: How long an outcome waits for the last lines while Redis tells no lines at all.

    Attributes:
        hold_seconds: See above.
        paces: Of each job whose lines are followed.
        deadlines: By subscription that waits for lines: when it is asked whether to wait on, and from when on not any
            more.
    """

    def __init__(self, hold_seconds: float) -> None:
        self.hold_seconds = hold_seconds
        self.paces: dict[Job, Pace] = {}
        self.deadlines: dict[Subscription, tuple[float, float]] = {}
        self._due = anyio.Event()
        self._sleeping_until = -inf
        self._waiting = anyio.Event()

    def note_news(self, job: Job, urgent: bool) -> None:
        """A job may have new lines; `urgent`: an outcome waits for them. Never waits."""
        now = anyio.current_time()
        pace = self.paces.setdefault(job, Pace())
        pace.pause = FAST_SECONDS
        pace.urgent = pace.urgent or urgent
        pace.due = min(pace.due, now if urgent else max(now, pace.asked + SPACING_SECONDS))
        if pace.due < self._sleeping_until:
            self._due.set()

    def note_waiting(self, subscription: Subscription) -> None:
        """A subscription waits for lines from now on. Never waits itself."""
        now = anyio.current_time()
        self.deadlines[subscription] = now + self.hold_seconds, now + MAX_HOLD_SECONDS
        self._waiting.set()

    async def due(self) -> list[Job]:
        """Wait until lines of jobs are due, and return these jobs: those for whom an outcome waits come first."""
        while True:
            now = anyio.current_time()
            due = sorted((not pace.urgent, pace.due, job) for job, pace in self.paces.items() if pace.due <= now)
            if due:
                return [job for _, _, job in due]
            self._due = anyio.Event()
            self._sleeping_until = min((pace.due for pace in self.paces.values()), default=inf)
            with anyio.move_on_after(self._sleeping_until - now):
                await self._due.wait()
            self._sleeping_until = -inf

    async def deadline(self) -> None:
        """Wait until a subscription's time is over, or one more begins to wait."""
        self._waiting = anyio.Event()
        first = min((due for due, _ in self.deadlines.values()), default=inf)
        with anyio.move_on_after(first - anyio.current_time()):
            await self._waiting.wait()
