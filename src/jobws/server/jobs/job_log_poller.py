"""Looks at the log lines of followed jobs: soon after activity, slower when it is quiet, never if nobody follows.

BullMQ tells of no line, so their lists are read, those of all jobs that are due in one conversation. A client that has
not taken what waits for it is left out: its lines stay in Redis until it has.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from jobws.bullmq.job_log import JobLineSlice, JobLineSlices
from jobws.errors import RedisUnavailableError
from jobws.hub.job_log.reader import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.bullmq.keys import Queue
    from jobws.bullmq.snapshot import Job
    from jobws.bullmq.store import Store
    from jobws.hub.job_log.followers import Group, JobLines
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
# Jobs in one look: most have no news, and some have a quarter of a megabyte for a client that must take it first.
MIN_JOBS: Final = 2
MAX_JOBS: Final = 200
# What those have that were never looked at nobody knows: lines of a megabyte are 16 MB each.
MAX_NEW_JOBS: Final = 8
LOOK_BYTES: Final = 2 * 1024 * 1024
# Then job events have their turn: a line of a megabyte takes a millisecond.
TURN_SECONDS: Final = 0.0005

_log: Final = logging.getLogger(__name__)


class _Pace:
    """When a job's lines are looked at."""

    __slots__ = ("asked", "due", "pause", "urgent")

    def __init__(self) -> None:
        self.asked = -inf
        self.due = inf
        self.pause = FAST_SECONDS
        self.urgent = False


class JobLinePolls:
    """Reads log lines for their followers.

    Args:
        lines: Who follows what.
        queues: The queues by label; a live view.
        store: Answers the looks.
        hold_seconds: How long an outcome waits for the last lines while Redis tells no lines at all.
    """

    def __init__(self, lines: JobLines, queues: Mapping[str, Queue], store: Store, hold_seconds: float) -> None:
        self._lines = lines
        self._queues = queues
        self._store = store
        self._hold_seconds = hold_seconds
        self._paces: dict[Job, _Pace] = {}
        self._woken = anyio.Event()
        self._sleeping_until = -inf
        self._at_once = MAX_JOBS
        # When it is asked whether to wait on, and from when on not any more.
        self._deadlines: dict[Subscription, tuple[float, float]] = {}
        self._answered = -inf
        self._begun = anyio.Event()
        lines.on_news = self._news
        lines.on_drain = self._begin

    def _news(self, job: Job, urgent: bool) -> None:
        now = anyio.current_time()
        pace = self._paces.setdefault(job, _Pace())
        pace.pause = FAST_SECONDS
        pace.urgent = pace.urgent or urgent
        pace.due = min(pace.due, now if urgent else max(now, pace.asked + SPACING_SECONDS))
        if pace.due < self._sleeping_until:
            self._woken.set()

    def _begin(self, subscription: Subscription) -> None:
        now = anyio.current_time()
        self._deadlines[subscription] = now + self._hold_seconds, now + MAX_HOLD_SECONDS
        self._begun.set()

    async def run(self) -> None:
        """Look at the lines of followed jobs until cancelled."""
        while True:
            now = anyio.current_time()
            # Those for whom an outcome waits go first.
            due = sorted((not pace.urgent, pace.due, job) for job, pace in self._paces.items() if pace.due <= now)
            if due:
                await self._look(self._first([job for _, _, job in due]))
                continue
            self._woken = anyio.Event()
            self._sleeping_until = min((pace.due for pace in self._paces.values()), default=inf)
            with anyio.move_on_after(self._sleeping_until - now):
                await self._woken.wait()
            self._sleeping_until = -inf

    def _first(self, due: list[Job]) -> list[Job]:
        """The jobs to look at together; at least one."""
        new = [job for job in due if self._paces[job].asked == -inf]
        waiting = set(new[MAX_NEW_JOBS:])
        return [job for job in due if job not in waiting][: self._at_once]

    async def give_up(self) -> None:
        """Let subscriptions go on, until cancelled, that have waited too long for lines."""
        while True:
            now = anyio.current_time()
            for subscription, (due, last) in list(self._deadlines.items()):
                if due > now and subscription in self._lines.draining:
                    continue
                answered = now - self._answered < self._hold_seconds and now < last
                if subscription in self._lines.draining and answered:
                    self._deadlines[subscription] = now + self._hold_seconds, last
                    continue
                del self._deadlines[subscription]
                self._lines.give_up(subscription)
            self._begun = anyio.Event()
            with anyio.move_on_after(min((due for due, _ in self._deadlines.values()), default=inf) - now):
                await self._begun.wait()

    async def _look(self, jobs: list[Job]) -> None:
        groups: list[Group] = []
        now = anyio.current_time()
        for job in jobs:
            found, full = self._lines.groups(job)
            if full:
                self._paces[job].pause = FAST_SECONDS
                for subscription in full:
                    if subscription in self._deadlines:  # it waits for its own client
                        self._begin(subscription)
            elif not found:
                del self._paces[job]
                continue
            pace = self._paces[job]
            pace.due, pace.urgent = inf, False
            # Without anybody to tell them to, its lines are not read: it stays one that was never looked at.
            if found:
                pace.asked = now
            groups += found
        try:
            again = await self._tell(groups)
        except RedisUnavailableError as error:
            _log.debug("lines of jobs' logs wait: %s", error)
            again = set()
        finally:
            now = anyio.current_time()
            for pace in [self._paces[job] for job in jobs if job in self._paces]:
                pace.due = min(pace.due, now + pace.pause)
                pace.pause = min(pace.pause * SLOWER, SLOW_SECONDS)
        for job in again:
            self._paces[job].due = now

    async def _tell(self, groups: list[Group]) -> set[Job]:
        """Ask for the groups' lines and tell them. Returns the jobs that have more."""
        groups = [group for group in groups if group.job[0] in self._queues]  # the others were forgotten
        asked = [self._slice(group) for group in groups]
        slices = tuple(dict.fromkeys(asked))
        if not slices:
            return set()
        answers = dict(zip(slices, await self._store.ask(JobLineSlices(slices)), strict=True))
        told = [answer for answer in answers.values() if answer is not None]
        if told:
            self._answered = anyio.current_time()
        size = sum(len(line) for lines, _ in told for line in lines)
        self._at_once = max(MIN_JOBS, min(MAX_JOBS, LOOK_BYTES * len(slices) // max(size, 1), 4 * len(slices)))
        again: set[Job] = set()
        turn_ends = anyio.current_time() + TURN_SECONDS
        for group, each in zip(groups, asked, strict=True):
            answer = answers[each]
            if answer is None:
                continue
            step = group.reader.step(Seen(*answer))
            all_told = self._lines.tell(group, step)
            if step.batch is not None:
                self._paces[group.job].pause = FAST_SECONDS
            if step.again and all_told:
                again.add(group.job)
            if anyio.current_time() > turn_ends:
                await anyio.lowlevel.checkpoint()
                turn_ends = anyio.current_time() + TURN_SECONDS
        return again

    def _slice(self, group: Group) -> JobLineSlice:
        queue, job_id = group.job
        start, limit = group.reader.slice
        return JobLineSlice(self._queues[queue], job_id, start, limit)
