"""Calls of BullMQ's package that end early."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from jobws.bullmq.keys import Queue
from jobws.bullmq.package import Package
from jobws.errors import RedisUnavailableError
from jobws.redis.connection import RedisTarget

if TYPE_CHECKING:
    from tests.support.redis import Redis

QUEUE = Queue("http", "bull", "http")


class Hanging:
    """A task that does not end by itself."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()

    async def __call__(self, _queue: Any) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_a_call_that_the_end_cuts_off_says_so(redis: Redis) -> None:
    package, task, sentences = Package(RedisTarget(redis.url)), Hanging(), []

    async def call() -> None:
        with pytest.raises(RedisUnavailableError) as raised:
            await package.call(QUEUE, task, what="the action", purpose="acting")
        sentences.append(str(raised.value))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.to_thread.run_sync(task.began.wait)
        await package.close()
    assert sentences == ["the bridge ended before Redis took the action"]


async def test_a_call_that_nobody_waits_for_is_cancelled(redis: Redis) -> None:
    package, task = Package(RedisTarget(redis.url)), Hanging()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(package.call, QUEUE, task, what="the action", purpose="acting"))
        await anyio.to_thread.run_sync(task.began.wait)
        tasks.cancel_scope.cancel()
    await anyio.to_thread.run_sync(task.ended.wait)
    await package.close()
