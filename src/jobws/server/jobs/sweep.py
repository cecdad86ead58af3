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
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobws.bullmq.store import Store
    from jobws.hub.jobs.fanout import Fanout
    from jobws.server.jobs.queue_readers import Queues

TICK_SECONDS: Final = 1.0
# Jobs in one look-up, so that others' questions come in between.
JOBS_AT_ONCE: Final = 1000

_log: Final = logging.getLogger(__name__)


class Sweeper:
    """Finds outcomes that no event told of.

    Args:
        fanout: Who watches what. Its gaps are swept immediately.
        queues: Which queues there are.
        store: Answers the look-ups.
        seconds: Between two sweeps of everything.
    """

    def __init__(self, fanout: Fanout, queues: Queues, store: Store, seconds: float) -> None:
        self._fanout = fanout
        self._queues = queues
        self._store = store
        self._seconds = seconds
        self._holed: set[str] = set()
        self._asked = anyio.Event()
        fanout.on_gap = self._soon

    def _soon(self, queue: str) -> None:
        self._holed.add(queue)
        self._asked.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        rooms, labels = self._fanout.rooms, self._queues.by_label.keys()
        everything_at = anyio.current_time() + self._seconds
        while True:
            with anyio.move_on_after(min(TICK_SECONDS, self._seconds)):
                await self._asked.wait()
            self._asked = anyio.Event()
            self._holed &= labels
            holed = self._holed | (self._fanout.without_events & labels)
            for queue in holed:
                await self._sweep_hole(queue)
            if anyio.current_time() >= everything_at:
                for queue in (rooms.heard & labels) - holed:
                    await self._sweep(queue, rooms.unsettled(queue))
                everything_at = anyio.current_time() + self._seconds

    async def _sweep_hole(self, queue: str) -> None:
        """Sweep a queue whose events were missed, or are not written; again soon if that did not succeed."""
        self._holed.discard(queue)
        complete = False
        try:
            complete = await self._sweep(queue, self._fanout.rooms.watched(queue))
        finally:
            if not complete:
                self._holed.add(queue)
            elif queue not in self._holed:
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
