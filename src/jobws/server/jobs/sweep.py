"""The sweep: looks up once more the jobs that have subscribers, to find outcomes that no event told of.

Such outcomes exist since BullMQ writes no event when it drains, obliterates or cleans a queue, or when a finished job
is removed. An event may also be trimmed before it is read, so a queue is swept after every hole in its stream. A queue
with `maxLen: 0` keeps no events, so it is swept every second.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from jobws.errors import RedisUnavailableError
from jobws.hub.jobs.replay import find_missed_outcomes
from jobws.server.auto_reset_event import AutoResetEvent
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobws.bullmq.store import Store
    from jobws.hub.jobs.fanout import Fanout
    from jobws.server.jobs.queue_readers import Queues

# How many jobs one look-up reads. There is a limit so that other queries to Redis come in between.
JOBS_AT_ONCE: Final = 1000

_log: Final = logging.getLogger(__name__)


class Holes:
    """The queues whose events may have been missed and that are to be swept.

    Attributes:
        queues: The labels of these queues.
    """

    def __init__(self) -> None:
        self.queues: set[str] = set()
        self._noted = AutoResetEvent()

    def note(self, queue: str) -> None:
        """Note that a queue is to be swept soon. Never waits."""
        self.queues.add(queue)
        self._noted.set()

    async def noted(self) -> None:
        """Wait until `note` is called, or return immediately if it was called since the last return."""
        await self._noted.wait()


class Sweeper:
    """Finds outcomes that have no event, and has them delivered.

    Args:
        fanout: Passes events on to the clients.
        queues: The queues that are read.
        store: Reads jobs from Redis.
        holes: The queues to sweep immediately.
        seconds: The time between two sweeps of all queues.
        hole_seconds: The time between two sweeps of a queue that keeps no events, or whose last sweep was not complete.
    """

    def __init__(
        self, fanout: Fanout, queues: Queues, store: Store, holes: Holes, seconds: float, hole_seconds: float
    ) -> None:
        self._fanout = fanout
        self._queues = queues
        self._store = store
        self._seconds = seconds
        self._hole_seconds = hole_seconds
        self._holes = holes

    async def run(self) -> None:
        """Sweep queues with holes immediately, and all queues with subscribers at intervals, until cancelled."""
        rooms, labels = self._fanout.rooms, self._queues.by_label.keys()
        everything_at = anyio.current_time() + self._seconds
        while True:
            with anyio.move_on_after(min(self._hole_seconds, self._seconds)):
                await self._holes.noted()
            self._holes.queues &= labels
            holed = self._holes.queues | (self._fanout.without_events & labels)
            for queue in holed:
                await self._sweep_hole(queue)
            if anyio.current_time() >= everything_at:
                for queue in (rooms.named_queues & labels) - holed:
                    await self._sweep(queue, rooms.awaiting_outcome(queue))
                everything_at = anyio.current_time() + self._seconds

    async def _sweep_hole(self, queue: str) -> None:
        """Sweep a queue whose events were missed, or that keeps none. If this does not succeed, it is repeated soon.

        If it succeeds, frames of the queue have positions again (see `PublishedStreams.resolve`).
        """
        self._holes.queues.discard(queue)
        complete = False
        try:
            complete = await self._sweep(queue, self._fanout.rooms.watched(queue))
        finally:
            if not complete:
                self._holes.queues.add(queue)
            elif queue not in self._holes.queues:
                self._fanout.resolve(queue)

    async def _sweep(self, queue: str, job_ids: Iterator[bytes | None]) -> bool:
        """Look up the jobs `job_ids` once more, and have outcomes delivered that no event told of.

        An item of `job_ids` that is None stands for no job. Returns False if the sweep must be repeated soon: Redis was
        unavailable, or the stream was not read to its end.
        """
        complete = True
        while some := await _portion(job_ids):
            known = {queue: self._fanout.known(queue)}
            try:
                look_up = await self._store.look_up({queue: some})
            except RedisUnavailableError as error:
                _log.debug("the sweep waits: %s", error)
                return False
            await self._queues.wait_until_published({queue: look_up.ends[queue]}, known)
            turn = Turn()
            for all_read in find_missed_outcomes(self._fanout, queue, some, look_up):
                complete = complete and all_read
                await turn.pause()
        return complete


async def _portion(job_ids: Iterator[bytes | None]) -> list[str]:
    """Take the next jobs to look up together, at most JOBS_AT_ONCE. The list is empty if there are no more."""
    some: list[str] = []
    turn = Turn()
    for job_id in job_ids:
        if job_id is not None:
            some.append(job_id.decode())
            if len(some) == JOBS_AT_ONCE:
                break
        await turn.pause()
    return some
