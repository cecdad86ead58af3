"""Calls BullMQ's own Python package. The package needs asyncio, so it runs in a thread of its own.

jobws itself may run on trio.
"""

from __future__ import annotations

import concurrent.futures
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread

from jobws.errors import MissingExtraError, RedisRefusedError, RedisUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from anyio.from_thread import BlockingPortal

    from jobws.bullmq.keys import Queue
    from jobws.redis.connection import RedisTarget

# redis-py retries for as long as Redis does not answer. A caller waits no longer than this.
TIMEOUT_SECONDS: Final = 20.0
# How many calls may be sent to Redis at the same time. A thread waits for each of them, and further calls wait for one.
MAX_CALLS: Final = 64
# How soon a thread notices that its caller is gone, or that Redis has another master.
POLL_SECONDS: Final = 0.5
# Closing a TLS connection waits for the peer's answer, and a lost master never answers.
CLOSE_SECONDS: Final = 1.0

Answer = TypeVar("Answer")
Task: TypeAlias = "Callable[[Any], Awaitable[Answer]]"
"""An async function that takes the package's `Queue` object, and runs in the event loop of the package's thread."""


class Package:
    """BullMQ's package, with a `Queue` object for each queue. The first call starts its thread, and `close` ends it.

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

    async def call(self, queue: Queue, task: Task[Answer], *, what: str, purpose: str) -> Answer:
        """Run `task` with the package's `Queue` object of a queue, and return its result.

        If the Sentinels report another master meanwhile, the task runs there, too. So its effect must be one that does
        no harm if it comes twice. Cancelling returns immediately, but the effect may still come. Also after a
        RedisUnavailableError it may have come.

        Args:
            queue: The queue.
            task: What to do. What it raises is raised here; errors of redis-py become RedisUnavailableError.
            what: What Redis is to take, for error messages, for instance `the job`.
            purpose: What needs the package, for error messages, for instance `adding jobs`.

        Raises:
            MissingExtraError: BullMQ's package is not installed.
            RedisUnavailableError: Redis did not answer in time, or refused.
        """
        if self._limiter is None:
            # Not anyio's default limiter: while Redis takes no jobs, there must be threads left to connect to Redis.
            self._limiter = anyio.CapacityLimiter(MAX_CALLS)
        call = partial(self._call, queue, task, what, purpose, given_up := threading.Event())
        try:
            with anyio.fail_after(TIMEOUT_SECONDS):
                if self._target.master is None:
                    await self._target.locate()
                return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)
        except RedisRefusedError as error:
            raise RedisUnavailableError(str(error)) from None
        except TimeoutError:
            raise RedisUnavailableError(f"Redis did not take {what} within {TIMEOUT_SECONDS:g} s") from None
        finally:
            given_up.set()

    async def close(self) -> None:
        """Close BullMQ's connections and end the thread. Idempotent."""
        await anyio.to_thread.run_sync(self._close, abandon_on_cancel=True)

    def _call(self, queue: Queue, task: Task[Answer], what: str, purpose: str, given_up: threading.Event) -> Answer:
        """Run the task, block until it has ended, and return its result.

        If `given_up` is set before that, the task is cancelled, and RedisUnavailableError is raised.
        """
        while True:
            master = self._target.master
            portal = self._started(purpose)
            running = portal.start_task_soon(self._run, self._target.url_at(master), queue, task, what)
            try:
                while not given_up.is_set() and self._target.master == master:
                    try:
                        return running.result(POLL_SECONDS)
                    except concurrent.futures.TimeoutError:
                        continue
                    except concurrent.futures.CancelledError:
                        raise RedisUnavailableError(f"the bridge ended before Redis took {what}") from None
            except RedisUnavailableError:
                if given_up.is_set() or self._target.master == master:
                    raise
            running.cancel()
            if given_up.is_set():
                raise RedisUnavailableError(f"nobody waits any more until Redis takes {what}")

    def _started(self, purpose: str) -> BlockingPortal:
        try:
            import bullmq  # noqa: F401 - a missing package is reported before a thread is started for it
        except ModuleNotFoundError as error:
            raise MissingExtraError("submit", purpose, on_bridge=True) from error
        with self._lock:
            if self._portal is None:
                self._context = anyio.from_thread.start_blocking_portal("asyncio")
                self._portal = self._context.__enter__()
            return self._portal

    async def _run(self, url: str, queue: Queue, task: Task[Answer], what: str) -> Answer:
        """Run the task. Runs in the thread of `_portal`, which has an asyncio event loop."""
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
            return await task(known)
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(f"Redis did not take {what}: {error}") from None

    def _close(self) -> None:
        with self._lock:
            context, portal, self._context, self._portal = self._context, self._portal, None, None
        if portal is not None and context is not None:
            portal.call(self._close_queues)
            # Calls that still wait for Redis are cancelled, since their callers are gone.
            portal.call(partial(portal.stop, cancel_remaining=True))
            context.__exit__(None, None, None)

    async def _close_queues(self) -> None:
        for _, queue in self._queues.values():
            await queue.close()
        self._queues.clear()
