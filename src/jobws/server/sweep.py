"""Ends that no event tells of: watched jobs are read again, now and then, and after every hole in a stream.

Draining, obliterating, cleaning and auto-removal emit nothing; an event may have been trimmed before it was read; and
a queue with `maxLen: 0` keeps no events at all, so it is swept every second.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from jobws.bullmq.turn import Turn
from jobws.errors import RedisUnavailableError
from jobws.hub.lacking import Unsettled, lacks
from jobws.protocol.identifiers import START, position
from jobws.protocol.messages import ItemError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.abc import TaskGroup

    from jobws.bullmq.store import Store
    from jobws.hub.fanout import Fanout
    from jobws.hub.membership import Member, Membership
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
        # By client and queue, what it is to be told, the next after those that it is being told: sweeping on until a
        # slow one has taken it would ask Redis for everything each second.
        self._lacking: dict[tuple[Member, str], dict[Membership, Unsettled]] = {}
        fanout.on_gap = self._soon

    def _soon(self, queue: str) -> None:
        self._holed.add(queue)
        self._asked.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        rooms, labels = self._fanout.rooms, self._queues.by_label.keys()
        everything_at = anyio.current_time() + self._seconds
        async with anyio.create_task_group() as tasks:
            while True:
                with anyio.move_on_after(min(TICK_SECONDS, self._seconds)):
                    await self._asked.wait()
                self._asked = anyio.Event()
                self._holed &= labels
                holed = self._holed | (self._fanout.without_events & labels)
                for queue in holed:
                    await self._sweep_hole(queue, tasks)
                if anyio.current_time() >= everything_at:
                    for queue in (rooms.heard & labels) - holed:
                        await self._sweep(queue, rooms.unsettled(queue), tasks)
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

    async def _sweep(self, queue: str, job_ids: Iterator[bytes | None], tasks: TaskGroup) -> bool:
        """Read these jobs again. False: it must be done again soon, for Redis is away or has more than was read."""
        complete = True
        while some := await _portion(job_ids):
            try:
                look_up = await self._store.look_up({queue: some})
            except RedisUnavailableError as error:
                _log.debug("the sweep waits: %s", error)
                return False
            await self._queues.passed(look_up.ends)
            # A hash that vanished says nothing as long as the event that tells why may be unread.
            end = look_up.ends[queue]
            all_read = position(self._fanout.cursors.get(queue, START)) >= position(end)
            complete = complete and all_read
            turn = Turn()
            for job_id in some:
                snapshot, end = look_up.found.get((queue, job_id)), look_up.moments[queue, job_id]
                if isinstance(snapshot, ItemError):
                    continue
                for membership in self._fanout.rooms.of_job(queue, job_id):
                    # The hash has an outcome that the client has not got, or it vanished without one.
                    if not membership.left and lacks(membership, queue, snapshot, end, all_read=all_read):
                        self._tell(Unsettled(membership, queue, end), tasks)
                    await turn.pause()
        return complete

    def _tell(self, item: Unsettled, tasks: TaskGroup) -> None:
        member, queue = item.membership.connection, item.queue
        if (member, queue) not in self._lacking:
            self._lacking[member, queue] = {}
            member.untold.add(queue)
            tasks.start_soon(self._tell_on, member, queue)
        self._lacking[member, queue][item.membership] = item

    async def _tell_on(self, member: Member, queue: str) -> None:
        """Tell a client the outcomes that it has not got, until it has them all."""
        lacking = self._lacking[member, queue]
        try:
            while lacking:
                items = list(lacking.values())
                lacking.clear()
                await self._joins.settle(member, items)
        finally:
            del self._lacking[member, queue]
            member.untold.discard(queue)


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
