"""Ends that no event tells of: watched jobs are read again, now and then, and after every hole in a stream.

Draining, obliterating, cleaning and auto-removal emit nothing; an event may have been trimmed before it was read; and
a queue with `maxLen: 0` keeps no events at all, so it is swept every second.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from jobws.errors import RedisUnavailableError
from jobws.hub.jobs.replay import look_again
from jobws.server.auto_reset_event import AutoResetEvent
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobws.bullmq.store import Store
    from jobws.hub.jobs.fanout import Fanout
    from jobws.server.jobs.queue_readers import Queues

# Jobs in one look-up, so that others' questions come in between.
JOBS_AT_ONCE: Final = 1000

_log: Final = logging.getLogger(__name__)


class Holes:
    """The queues whose events may have been missed, until they are swept.

    Attributes:
        queues: Their labels.
    """

    def __init__(self) -> None:
        self.queues: set[str] = set()
        self._noted = AutoResetEvent()

    def note(self, queue: str) -> None:
        """Have a queue swept soon. Never waits."""
        self.queues.add(queue)
        self._noted.set()

    async def noted(self) -> None:
        """Wait until there is another one."""
        await self._noted.wait()


class Sweeper:
    """Finds outcomes that no event told of.

    Args:
        fanout: Who watches what.
        queues: Which queues there are.
        store: Answers the look-ups.
        holes: The queues to sweep immediately.
        seconds: Between two sweeps of everything.
        hole_seconds: Between two sweeps of queues whose events were missed, or are not written.
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
        """Sweep until cancelled."""
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
                for queue in (rooms.heard & labels) - holed:
                    await self._sweep(queue, rooms.unsettled(queue))
                everything_at = anyio.current_time() + self._seconds

    async def _sweep_hole(self, queue: str) -> None:
        """Sweep a queue whose events were missed, or are not written; again soon if that did not succeed."""
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
        """Read these jobs again. False: it must be done again soon, for Redis is away or has more than was read."""
        complete = True
        while some := await _portion(job_ids):
            known = {queue: self._fanout.known(queue)}
            try:
                look_up = await self._store.look_up({queue: some})
            except RedisUnavailableError as error:
                _log.debug("the sweep waits: %s", error)
                return False
            await self._queues.passed(look_up.ends, known)
            turn = Turn()
            for all_read in look_again(self._fanout, queue, some, look_up):
                complete = complete and all_read
                await turn.pause()
        return complete


async def _portion(job_ids: Iterator[bytes | None]) -> list[str]:
    """The next jobs to look up together; none: there are no more."""
    some: list[str] = []
    turn = Turn()
    for job_id in job_ids:
        if job_id is not None:
            some.append(job_id.decode())
            if len(some) == JOBS_AT_ONCE:
                break
        await turn.pause()
    return some
