"""Ends that no event tells of: watched jobs are read again, now and then, and after every hole in a stream.

Draining, obliterating, cleaning and auto-removal emit nothing; an event may have been trimmed before it was read; and
a queue with `maxLen: 0` keeps no events at all, so it is swept every second.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from jobws.errors import RedisUnavailableError
from jobws.hub.lacking import Unsettled, lacks
from jobws.protocol.identifiers import START, position
from jobws.protocol.messages import ItemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import TaskGroup

    from jobws.bullmq.snapshot import LookUp
    from jobws.bullmq.store import Store
    from jobws.hub.fanout import Fanout
    from jobws.hub.rooms import Member
    from jobws.server.joins import Joins
    from jobws.server.queues import Queues

TICK_SECONDS: Final = 1.0
# Jobs in one look-up, so that others' questions come in between.
JOBS_AT_ONCE: Final = 1000

_log: Final = logging.getLogger(__name__)


class Sweeper:
    """Finds outcomes that no event told of.

    Args:
        fanout: Who watches what. Its gaps are swept at once.
        queues: Which queues there are.
        store: Answers the look-ups.
        joins: Delivers what is found.
        seconds: Between two sweeps of everything.
    """

    def __init__(self, fanout: Fanout, queues: Queues, store: Store, joins: Joins, seconds: float) -> None:
        self._fanout = fanout
        self._queues = queues
        self._store = store
        self._joins = joins
        self._seconds = seconds
        self._holed: set[str] = set()
        self._asked = anyio.Event()
        # Clients that are to be told more once they were told what was found before: sweeping on until a slow one has
        # taken it would ask Redis for everything each second.
        self._again: set[tuple[Member, str]] = set()
        fanout.on_gap = self._soon

    def _soon(self, queue: str) -> None:
        self._holed.add(queue)
        self._asked.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        everything_at = anyio.current_time() + self._seconds
        async with anyio.create_task_group() as tasks:
            while True:
                with anyio.move_on_after(min(TICK_SECONDS, self._seconds)):
                    await self._asked.wait()
                self._asked = anyio.Event()
                holed = (self._holed | self._fanout.without_events) & self._queues.by_label.keys()
                for queue in holed:
                    await self._sweep_hole(queue, tasks)
                if anyio.current_time() >= everything_at:
                    for queue in self._queues.by_label.keys() - holed:
                        await self._sweep(queue, self._fanout.rooms.unsettled(queue), tasks)
                    everything_at = anyio.current_time() + self._seconds

    async def _sweep_hole(self, queue: str, tasks: TaskGroup) -> None:
        """Sweep a queue whose events were missed, or are not written; again soon if that did not succeed."""
        self._holed.discard(queue)
        complete = False
        try:
            complete = await self._sweep(queue, self._fanout.rooms.watched(queue), tasks)
        finally:
            if not complete:
                self._holed.add(queue)
            elif queue not in self._holed:
                self._fanout.untold.discard(queue)

    async def _sweep(self, queue: str, job_ids: Sequence[str], tasks: TaskGroup) -> bool:
        """Read these jobs again. False: it must be done again soon, for Redis is away or has more than was read."""
        complete = True
        for start in range(0, len(job_ids), JOBS_AT_ONCE):
            some = job_ids[start : start + JOBS_AT_ONCE]
            try:
                look_up = await self._store.look_up([(queue, job_id) for job_id in some])
            except RedisUnavailableError as error:
                _log.debug("the sweep waits: %s", error)
                return False
            await self._queues.passed(look_up.ends)
            # A hash that vanished says nothing as long as the event that tells why may be unread.
            end = look_up.ends[queue]
            all_read = position(self._fanout.cursors.get(queue, START)) >= position(end)
            complete = complete and all_read
            for member, items in self._found(queue, some, look_up, all_read=all_read).items():
                if queue in member.untold:
                    self._again.add((member, queue))
                    continue
                member.untold.add(queue)
                tasks.start_soon(self._tell, member, queue, items)
        return complete

    def _found(
        self, queue: str, job_ids: Sequence[str], look_up: LookUp, *, all_read: bool
    ) -> dict[Member, list[Unsettled]]:
        """The outcomes that clients lack: the hash has them, or it vanished without one."""
        found: dict[Member, list[Unsettled]] = {}
        for job_id in job_ids:
            snapshot, end = look_up.found[queue, job_id], look_up.moments[queue, job_id]
            if isinstance(snapshot, ItemError):
                continue
            for membership in self._fanout.rooms.of_job(queue, job_id):
                if lacks(membership, queue, snapshot, end, all_read=all_read):
                    found.setdefault(membership.connection, []).append(Unsettled(membership, queue, end))
        return found

    async def _tell(self, member: Member, queue: str, items: list[Unsettled]) -> None:
        try:
            await self._joins.settle(member, items)
        finally:
            member.untold.discard(queue)
            if (member, queue) in self._again:
                self._again.discard((member, queue))
                self._fanout.untold.add(queue)
                self._soon(queue)
