"""Retries all failed jobs of a queue, some at a time, after the request for it was answered."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from jobws.bullmq.actions import BATCH
from jobws.errors import RedisUnavailableError

if TYPE_CHECKING:
    from jobws.bullmq.actions import Actions
    from jobws.bullmq.keys import Queue
    from jobws.server.tasks import Tasks

_log: Final = logging.getLogger(__name__)


class FailedJobs:
    """Retries the failed jobs of queues, each queue in a task of its own.

    Args:
        actions: Retries some of a queue's failed jobs.
        tasks: The tasks of the bridge.
    """

    def __init__(self, actions: Actions, tasks: Tasks) -> None:
        self._actions = actions
        self._tasks = tasks
        self._retried: set[Queue] = set()

    async def retry(self, queue: Queue) -> int:
        """Begin to retry the jobs that have failed by now, and return their number.

        Jobs that fail meanwhile are not retried, or a job that always fails would be retried for ever. While the jobs
        of an earlier call are still being retried, a call begins nothing, and also returns how many jobs have failed.

        Raises:
            MissingExtraError: BullMQ's package is not installed.
            RedisUnavailableError: Redis did not answer in time.
        """
        count = await self._actions.failed(queue)
        if count and queue not in self._retried:
            self._retried.add(queue)
            self._tasks.spawn(self._run, queue, count)
        return count

    async def _run(self, queue: Queue, count: int) -> None:
        left, why = count, "the bridge ended"
        try:
            # Those that failed first are retried first, so those that fail again come after all others.
            while left > 0 and await self._actions.retry_failed(queue, left):
                left -= BATCH
            left = 0
        except RedisUnavailableError as error:
            why = str(error)
        finally:
            self._retried.discard(queue)
            if left:
                sentence = 'queue "%s": about %d of %d failed jobs were retried; ask again for the others: %s'
                _log.warning(sentence, queue.label, count - left, count, why)
