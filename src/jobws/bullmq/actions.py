"""Retries, promotes and removes jobs, and pauses and resumes queues, with BullMQ's own Python package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from jobws.bullmq.family import descendants, watched_descendants
from jobws.bullmq.scripts import run_script
from jobws.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobws.bullmq.keys import Queue
    from jobws.bullmq.package import Answer, Package, Task

# How many jobs one script retries. Redis serves nobody else meanwhile, for some 10 ms.
BATCH: Final = 1000
# Later than the end of every job, as in the package's own `promoteJobs`. By default the package takes the time of this
# machine, and leaves out jobs of workers whose clock is ahead.
_END_OF_TIME: Final = 1.7976931348623157e308
# Answers of removeJob-2.lua.
_LOCKED: Final = 0
_OF_SCHEDULER: Final = -8


class Actions:
    """Acts on jobs and queues.

    All methods raise RedisUnavailableError if Redis does not answer in time, or refuses; the action may have been done
    then. They raise MissingExtraError if BullMQ's Python package is not installed.

    Args:
        package: Calls BullMQ's Python package, which it imports at its first call.
    """

    def __init__(self, package: Package) -> None:
        self._package = package

    async def retry(self, queue: Queue, job_id: str) -> None:
        """Let a failed job wait for another run.

        Raises:
            RequestError: `unknown-job`, or `bad-state-for-action`.
        """

        async def retry(bullmq_queue: Any) -> int:
            import bullmq

            get = ("HGET", bullmq_queue.toKey(job_id), "opts")
            try:
                opts = json.loads(await bullmq_queue.client.execute_command(*get, NEVER_DECODE=True) or b"{}")
            except (ValueError, RecursionError):
                opts = None
            # The script takes two things of this object: the job's id, and whether the job is to be the next one.
            lifo = isinstance(opts, dict) and opts.get("lifo")
            job = bullmq.Job(bullmq_queue, "", None, {"lifo": lifo}, job_id)
            return await _run(bullmq_queue, queue, job_id, lambda scripts: scripts.reprocessJob(job, "failed"))

        if await self._call(queue, retry) < 0:
            raise _bad_state("the job has not failed, so it cannot be retried")

    async def promote(self, queue: Queue, job_id: str) -> None:
        """Let a delayed job wait for a worker now.

        Raises:
            RequestError: `unknown-job`, or `bad-state-for-action`.
        """

        async def promote(bullmq_queue: Any) -> int:
            return await _run(bullmq_queue, queue, job_id, lambda scripts: scripts.promote(job_id))

        if await self._call(queue, promote) < 0:
            raise _bad_state("the job is not delayed, so it cannot be promoted")

    async def remove(self, queue: Queue, job_id: str) -> None:
        """Remove a job, and leave its children as they are.

        Raises:
            RequestError: `unknown-job`; `locked`: a worker has the job; or `bad-state-for-action`: the job is the next
                one of a job scheduler.
        """

        async def remove(bullmq_queue: Any) -> int:
            return await _run(bullmq_queue, queue, job_id, lambda scripts: scripts.remove(job_id, False))

        _check_removed(await self._call(queue, remove))

    async def descendants(self, queue: Queue, job_id: str) -> frozenset[bytes]:
        """Return the keys of all jobs below a job in its flow, also of those that have ended. Empty for an unknown job.

        Raises:
            RequestError: `too-many`: there are more than `family.MAX_REMOVED` of them.
        """

        async def read(bullmq_queue: Any) -> frozenset[bytes]:
            return await descendants(bullmq_queue, queue.key(job_id))

        return await self._call(queue, read)

    async def remove_flow(self, queue: Queue, job_id: str, expected: frozenset[bytes]) -> bool:
        """Remove a job and all jobs below it, if the jobs below it are the expected ones.

        Args:
            queue: The queue of the job.
            job_id: The id of the job.
            expected: The keys of the jobs below it, without its own, as `descendants` returned them.

        Returns:
            Whether the jobs below it were the expected ones. If not, nothing was removed.

        Raises:
            RequestError: `unknown-job` or `bad-state-for-action`, as for `remove`; `locked`: a worker has the job, or a
                job below it, and nothing was removed; or `too-many`.
        """

        async def remove(bullmq_queue: Any) -> int | None:
            from redis import WatchError

            async with bullmq_queue.client.pipeline(transaction=True) as transaction:
                try:
                    if await watched_descendants(transaction, queue.key(job_id)) != expected:
                        return None
                    transaction.multi()
                    return await run_script(
                        bullmq_queue, transaction, queue, job_id, lambda scripts: scripts.remove(job_id, True)
                    )
                except WatchError:
                    return None

        answer = await self._call(queue, remove)
        if answer is not None:
            _check_removed(answer)
        return answer is not None

    async def pause(self, queue: Queue) -> None:
        """Let no worker take a job of the queue. Jobs that run go on."""

        async def pause(bullmq_queue: Any) -> None:
            await bullmq_queue.pause()

        await self._call(queue, pause)

    async def resume(self, queue: Queue) -> None:
        """Let workers take jobs of the queue again."""

        async def resume(bullmq_queue: Any) -> None:
            # BullMQ 5 moved the jobs of a paused queue to another list. A call moves back up to 7,000 of them, and
            # returns how many are left (pause-7.lua).
            while await bullmq_queue.resume():
                pass

        await self._call(queue, resume)

    async def failed(self, queue: Queue) -> int:
        """Return how many failed jobs the queue has."""

        async def failed(bullmq_queue: Any) -> int:
            count: int = await bullmq_queue.getFailedCount()
            return count

        return await self._call(queue, failed)

    async def retry_failed(self, queue: Queue, count: int) -> bool:
        """Let the jobs that failed first wait for another run: `count` of them, at most `BATCH`.

        Returns:
            Whether the queue may have more failed jobs.
        """

        async def retry(bullmq_queue: Any) -> bool:
            return bool(await bullmq_queue.backend.retryJobs("failed", min(count, BATCH), _END_OF_TIME))

        return await self._call(queue, retry)

    async def _call(self, queue: Queue, task: Task[Answer]) -> Answer:
        return await self._package.call(queue, task, what="the action", purpose="acting on jobs and queues")


async def _run(bullmq_queue: Any, queue: Queue, job_id: str, call: Callable[[Any], Awaitable[object]]) -> int:
    async with bullmq_queue.client.pipeline(transaction=True) as transaction:
        return await run_script(bullmq_queue, transaction, queue, job_id, call)


def _check_removed(answer: int) -> None:
    if answer == _LOCKED:
        raise RequestError("locked", "a worker has the job, or a job below it, so nothing was removed")
    if answer == _OF_SCHEDULER:
        raise _bad_state("the job is the next one of a job scheduler; remove the scheduler instead")


def _bad_state(message: str) -> RequestError:
    return RequestError("bad-state-for-action", message)
