"""Adds jobs with BullMQ's own Python package. The package needs asyncio, so it runs in a thread of its own.

jobws itself may run on trio.
"""

from __future__ import annotations

import concurrent.futures
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.from_thread
import anyio.to_thread

from jobws.errors import MissingExtraError, RedisRefusedError, RedisUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from anyio.from_thread import BlockingPortal

    from jobws.bullmq.keys import Queue
    from jobws.redis.connection import RedisTarget

# redis-py retries for as long as Redis does not answer. A caller waits no longer than this.
TIMEOUT_SECONDS: Final = 20.0
# How many jobs may be sent to Redis at the same time. A thread waits for each of them; further jobs wait for a thread.
MAX_CALLS: Final = 64
# How soon a thread notices that its caller is gone, or that Redis has another master.
POLL_SECONDS: Final = 0.5
# Closing a TLS connection waits for the peer's answer, and a lost master never answers.
CLOSE_SECONDS: Final = 1.0


class Submitter:
    """Adds jobs to queues. The first job starts the thread of BullMQ's package, and `close` ends this thread.

    Args:
        target: Where Redis is.
    """

    def __init__(self, target: RedisTarget) -> None:
        self._target = target
        self._limiter: anyio.CapacityLimiter | None = None
        self._lock = threading.Lock()
        self._context: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._queues: dict[Queue, tuple[str, Any]] = {}

    async def add(self, queue: Queue, name: str, data: object, job_id: str, opts: Mapping[str, object]) -> None:
        """Add a job. If the queue has a job with this id, BullMQ adds nothing, so a repeated call is harmless.

        Cancelling returns immediately, but the job may still be added. Also after a RedisUnavailableError, the job may
        have been added.

        Args:
            queue: The queue.
            name: The job's name, which workers see.
            data: The job's data, a JSON value.
            job_id: The job's id.
            opts: BullMQ's options for the job, such as `delay`.

        Raises:
            MissingExtraError: BullMQ's package is not installed.
            RedisUnavailableError: Redis did not answer in time, or refused the job.
        """
        if self._limiter is None:
            # Not anyio's default limiter: while Redis takes no jobs, there must be threads left to connect to Redis.
            self._limiter = anyio.CapacityLimiter(MAX_CALLS)
        call = partial(self._call, queue, name, data, {**opts, "jobId": job_id}, given_up := threading.Event())
        try:
            with anyio.fail_after(TIMEOUT_SECONDS):
                if self._target.master is None:
                    await self._target.locate()
                await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)
        except RedisRefusedError as error:
            raise RedisUnavailableError(str(error)) from None
        except TimeoutError:
            raise RedisUnavailableError(f"Redis did not take the job within {TIMEOUT_SECONDS:g} s") from None
        finally:
            given_up.set()

    async def close(self) -> None:
        """Close BullMQ's connections and end the thread. Idempotent."""
        await anyio.to_thread.run_sync(self._close, abandon_on_cancel=True)

    def _call(
        self, queue: Queue, name: str, data: object, opts: Mapping[str, object], given_up: threading.Event
    ) -> None:
        """Add the job, and block until Redis has added it or `given_up` is set.

        If the Sentinels report another master meanwhile, add the job there, too. No master adds an id twice.
        """
        while True:
            master = self._target.master
            adding = self._started().start_task_soon(self._add, self._target.url_at(master), queue, name, data, opts)
            try:
                while not given_up.is_set() and self._target.master == master:
                    try:
                        adding.result(POLL_SECONDS)
                    except concurrent.futures.TimeoutError:
                        continue
                    return
            except RedisUnavailableError:
                if given_up.is_set() or self._target.master == master:
                    raise
            adding.cancel()
            if given_up.is_set():
                return

    def _started(self) -> BlockingPortal:
        try:
            import bullmq  # noqa: F401 - a missing package is reported before a thread is started for it
        except ModuleNotFoundError as error:
            raise MissingExtraError("submit", "adding jobs") from error
        with self._lock:
            if self._portal is None:
                self._context = anyio.from_thread.start_blocking_portal("asyncio")
                self._portal = self._context.__enter__()
            return self._portal

    async def _add(self, url: str, queue: Queue, name: str, data: object, opts: Mapping[str, object]) -> None:
        """Add the job with BullMQ's package. Runs in the thread of `_portal`, which has an asyncio event loop."""
        import bullmq
        from redis import RedisError

        known_url, known = self._queues.get(queue, ("", None))
        if known_url != url:
            moved, known = known, bullmq.Queue(queue.name, {"connection": url, "prefix": queue.prefix})
            self._queues[queue] = url, known
            if moved is not None:
                with anyio.move_on_after(CLOSE_SECONDS):
                    await moved.close()
        try:
            await known.add(name, data, dict(opts))
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(f"Redis did not take the job: {error}") from None

    def _close(self) -> None:
        with self._lock:
            context, portal, self._context, self._portal = self._context, self._portal, None, None
        if portal is not None and context is not None:
            portal.call(self._close_queues)
            # Jobs that still wait for Redis are cancelled, since their callers are gone.
            portal.call(partial(portal.stop, cancel_remaining=True))
            context.__exit__(None, None, None)

    async def _close_queues(self) -> None:
        for _, queue in self._queues.values():
            await queue.close()
        self._queues.clear()
