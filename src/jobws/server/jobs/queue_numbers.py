"""Reads the numbers of queues from Redis: counts, the age of the oldest waiting job, rates, and workers."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

import anyio

from jobws.bullmq.job_times import AddedAt
from jobws.bullmq.overview import Overview, QueueOverview
from jobws.bullmq.workers import AskForWorkers
from jobws.protocol.identifiers import position
from jobws.protocol.queue_stats import QueueStats

if TYPE_CHECKING:
    from jobws.bullmq.keys import Queue
    from jobws.bullmq.store import Store
    from jobws.bullmq.workers import Workers
    from jobws.hub.jobs.fanout import Fanout


class Numbers(NamedTuple):
    """What Redis holds of a queue, and the numbers that clients get.

    Attributes:
        overview: What Redis holds: the counts by state, and the state of the event stream.
        stats: The numbers: the counts, too, and what is computed, such as rates and the age of the oldest waiting job.
    """

    overview: QueueOverview
    stats: QueueStats


class QueueNumbers:
    """Reads the numbers of queues.

    Args:
        fanout: Has the recent events of each queue.
        store: Asks Redis.
        db: The number of the queues' database. Workers of another one are not counted.
        workers_seconds: The shortest time between two readings of the list of Redis's clients, for all queues together.
    """

    def __init__(self, fanout: Fanout, store: Store, db: int, workers_seconds: float) -> None:
        self._fanout = fanout
        self._store = store
        self._db = db
        self._workers_seconds = workers_seconds
        self._workers: Workers | None = None
        self._workers_at = -inf
        self._one_at_a_time = anyio.Lock()

    async def of(self, queue: Queue) -> Numbers:
        """Return the numbers of a queue.

        Raises RedisUnavailableError.
        """
        overview = await self._store.ask(Overview(queue))
        ends = self._fanout.ends_until(queue.label, overview.now_milliseconds)
        stats = QueueStats(
            queue=queue.label,
            paused=overview.paused,
            counts=overview.counts,
            oldest_waiting_seconds=await self._oldest_seconds(queue, overview),
            completed_per_minute=None if ends is None else ends.completed,
            failed_per_minute=None if ends is None else ends.failed,
            workers=await self._count_workers(queue, overview.counts["active"]),
        )
        return Numbers(overview, stats)

    async def _oldest_seconds(self, queue: Queue, overview: QueueOverview) -> float | None:
        """Return for how many seconds the job has been waiting that waits for longest; None if none waits.

        Only a few jobs are looked at (`overview.ends_of_wait`). A job waits since its last event `waiting`, or, if the
        history does not have that, since it was added.
        """
        history = self._fanout.history.of(queue.label)
        last = {job_id: history.last(job_id, "waiting") for job_id in overview.ends_of_wait}
        since = [position(stream_id)[0] for stream_id in last.values() if stream_id is not None]
        others = tuple(job_id for job_id, stream_id in last.items() if stream_id is None)
        if others:
            since += await self._store.ask(AddedAt(queue, others))
        return max(overview.now_milliseconds - min(since), 0) / 1000 if since else None

    async def _count_workers(self, queue: Queue, active: int) -> int | None:
        async with self._one_at_a_time:
            now = anyio.current_time()
            if now - self._workers_at >= self._workers_seconds:
                self._workers = await self._store.ask(AskForWorkers(self._db))
                self._workers_at = now
        count = None if self._workers is None else self._workers.of(queue)
        # A job that is active has a worker, even if its connections have no name.
        return None if active and not count else count
