"""Adds jobs with BullMQ's own Python package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.bullmq.keys import Queue
    from jobws.bullmq.package import Package


class Submitter:
    """Adds jobs to queues.

    Args:
        package: BullMQ's package.
    """

    def __init__(self, package: Package) -> None:
        self._package = package

    async def add(self, queue: Queue, name: str, data: object, job_id: str, opts: Mapping[str, object]) -> None:
        """Add a job. If the queue has a job with this id, BullMQ adds nothing, so a repeated call is harmless.

        Cancelling returns immediately, but the job may still be added. Also after a RedisUnavailableError, the job may
        have been added.

        Args:
            queue: The queue.
            name: The job's name, which workers see.
            data: The job's data, a JSON value, or JSON text as `msgspec.Raw`, which is stored as it is.
            job_id: The job's id.
            opts: BullMQ's options for the job, such as `delay`.

        Raises:
            MissingExtraError: BullMQ's package is not installed.
            RedisUnavailableError: Redis did not answer in time, or refused the job.
        """

        async def add(bullmq_queue: Any) -> None:
            if isinstance(data, Raw):
                _store_texts(bullmq_queue.scripts)
            await bullmq_queue.add(name, data, {**opts, "jobId": job_id})

        await self._package.call(queue, add, what="the job", purpose="adding jobs")


def _store_texts(scripts: Any) -> None:
    """Let one `Scripts` object of BullMQ's package store data that is `msgspec.Raw` as it is. Idempotent.

    The package encodes data itself. A megabyte takes up to 40 ms, in which the GIL lets no other thread run.
    """
    if "addJobArgs" in vars(scripts):
        return
    arguments = scripts.addJobArgs

    def with_text(job: Any) -> list[Any]:
        if not isinstance(job.data, Raw):
            return list(arguments(job))
        text, job.data = bytes(job.data), None
        first, _, *others = arguments(job)
        return [first, text, *others]

    scripts.addJobArgs = with_text
