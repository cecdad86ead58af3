"""Reads the log lines of followed jobs. A job is followed if a subscription asked for its lines.

BullMQ keeps a job's lines in a list and writes no event for a line, so the lists are polled: soon after an event or new
lines, less often when nothing happens. The lists of several jobs are read together. While a client's outbox is more
than half full, no lines are read for this client; they stay in Redis.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Final

import anyio

from jobws.bullmq.job_log import JobLogSlice, JobLogSlices
from jobws.errors import RedisUnavailableError
from jobws.hub.job_log.reader import ReadLines
from jobws.redis.batch_size import batch_size
from jobws.server.jobs.job_log_schedule import FAST_SECONDS
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.bullmq.keys import Queue
    from jobws.bullmq.snapshot import Job
    from jobws.bullmq.store import Store
    from jobws.hub.job_log.followers import Group, JobLogs
    from jobws.privacy.rules import Privacy
    from jobws.server.jobs.job_log_schedule import JobLogSchedule

# How many jobs are read together, at least and at most. Most have no new lines, and some have a quarter of a megabyte.
MIN_JOBS: Final = 2
MAX_JOBS: Final = 200
# How many of these may be jobs that were never read before. The size of their lines is unknown, and 16 lines of each
# are read: with lines of a megabyte, this is 16 MB per job.
MAX_NEW_JOBS: Final = 8
# How many bytes of lines are read together, about. The next number of jobs follows from the bytes of the last read.
LOOK_BYTES: Final = 2 * 1024 * 1024

_log: Final = logging.getLogger(__name__)


class JobLogPoller:
    """Reads log lines for the subscriptions that follow them.

    Args:
        lines: The subscriptions that follow log lines, and how far each one has got them.
        queues: The queues by label; a live view.
        privacy: Says whose lines are not shown.
        store: Reads the lists from Redis.
        schedule: Decides when each job's lines are read.
    """

    def __init__(
        self,
        lines: JobLogs,
        queues: Mapping[str, Queue],
        privacy: Privacy,
        store: Store,
        schedule: JobLogSchedule,
    ) -> None:
        self._lines = lines
        self._queues = queues
        self._privacy = privacy
        self._store = store
        self._schedule = schedule
        self._read_times = schedule.read_times
        self._at_once = MAX_JOBS
        self._answered = -inf

    async def run(self) -> None:
        """Read the lines of followed jobs when they are due, until cancelled."""
        while True:
            await self._look(self._first(await self._schedule.due()))

    def _first(self, due: list[Job]) -> list[Job]:
        """Return those of the jobs `due` whose lines are read now, together: at least one, since `due` is not empty.

        Of the jobs that were never read before, all but the first MAX_NEW_JOBS are passed over. Of the rest, the first
        ones are read; how many at most follows from the bytes of the last read. The others stay due.
        """
        new = [job for job in due if self._read_times[job].asked == -inf]
        waiting = set(new[MAX_NEW_JOBS:])
        return [job for job in due if job not in waiting][: self._at_once]

    async def give_up(self) -> None:
        """Run until cancelled. Send the outcome that a subscription holds back, if its lines do not come in time.

        A subscription waits for lines until Redis has answered no read of any job's lines for `hold_seconds`, and for
        MAX_HOLD_SECONDS at most. Both times begin again whenever the lines are to be read and the client's outbox has
        no room for them. So with a client that reads slowly, the wait may be longer.
        """
        schedule, draining = self._schedule, self._lines.draining
        while True:
            now = anyio.current_time()
            for subscription, (due, last) in list(schedule.deadlines.items()):
                if due > now and subscription in draining:
                    continue
                answered = now - self._answered < schedule.hold_seconds and now < last
                if subscription in draining and answered:
                    schedule.deadlines[subscription] = now + schedule.hold_seconds, last
                    continue
                del schedule.deadlines[subscription]
                self._lines.give_up(subscription)
            await schedule.deadline()

    async def _look(self, jobs: list[Job]) -> None:
        groups: list[Group] = []
        now = anyio.current_time()
        for job in jobs:
            found, full = self._lines.groups(job)
            if full:
                self._read_times[job].pause = FAST_SECONDS
                for subscription in full:
                    if subscription in self._schedule.deadlines:  # its client reads slowly, so it may wait longer
                        self._schedule.set_deadlines(subscription)
            elif not found:
                del self._read_times[job]
                continue
            times = self._read_times[job]
            times.due, times.urgent = inf, False
            # If no follower has room, the lines are not read, and the job may stay one that was never read.
            if found:
                times.asked = now
            groups += found
        try:
            again = await self._send(groups)
        except RedisUnavailableError as error:
            _log.debug("lines of jobs' logs wait: %s", error)
            again = set()
        finally:
            now = anyio.current_time()
            for times in [self._read_times[job] for job in jobs if job in self._read_times]:
                times.slow_down(now)
        for job in again:
            self._read_times[job].due = now

    async def _send(self, groups: list[Group]) -> set[Job]:
        """Read the lines for these groups of followers from Redis, and send them.

        Returns the jobs to be read again immediately: there may be more lines for a group, and the outboxes of its
        members have room.
        """
        groups = [group for group in groups if group.job[0] in self._queues]  # the other queues are forgotten by now
        asked = [self._slice(group) for group in groups]
        slices = tuple(dict.fromkeys(asked))
        if not slices:
            return set()
        answers = dict(zip(slices, await self._store.ask(JobLogSlices(slices)), strict=True))
        received = [answer for answer in answers.values() if answer is not None]
        if received:
            self._answered = anyio.current_time()
        size = sum(len(line) for lines, _ in received for line in lines)
        most = max(MIN_JOBS, min(MAX_JOBS, 4 * len(slices)))
        self._at_once = batch_size(len(slices), size, wanted_bytes=LOOK_BYTES, most=most, least=MIN_JOBS)
        again: set[Job] = set()
        turn = Turn()
        for group, each in zip(groups, asked, strict=True):
            answer = answers[each]
            if answer is None:
                continue
            result = group.reader.result_of(ReadLines(*answer))
            all_sent = self._lines.send(group, result)
            if result.batch is not None:
                self._read_times[group.job].pause = FAST_SECONDS
            if result.again and all_sent:
                again.add(group.job)
            await turn.pause()  # a line of a megabyte takes a millisecond
        return again

    def _slice(self, group: Group) -> JobLogSlice:
        queue, job_id = group.job
        start, limit = group.reader.slice
        return JobLogSlice(self._queues[queue], job_id, start, limit, self._privacy.hides_lines(queue))
