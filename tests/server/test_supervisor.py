"""A supervised task starts again after a crash, and its health shows this for a minute."""

from __future__ import annotations

import anyio
import pytest

from jobws.server.supervisor import Health, supervise
from jobws.server.websocket.rate_limit import TokenBucket


async def test_a_crash_is_followed_by_another_start() -> None:
    health = Health()
    starts = 0
    well = anyio.Event()

    async def run() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise ValueError("first")
        if starts == 2:
            return
        if starts == 3:
            async with anyio.create_task_group():
                raise ValueError("in a group")
        well.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, "it", run, health)
        await well.wait()
        now = anyio.current_time()
        assert health.crashes == 3
        assert (health.problem(now) or "").startswith("ExceptionGroup")
        assert health.problem(now + 61) is None
        tasks.cancel_scope.cancel()


async def test_what_is_no_ordinary_error_comes_out() -> None:
    async def run() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await supervise("it", run, Health())


def test_a_bucket_allows_a_burst_and_then_a_rate() -> None:
    bucket = TokenBucket(3, 2.0, 0.0)
    assert [bucket.take(0.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    assert bucket.take(10.0) == 0


def test_what_is_taken_only_if_it_is_free_costs_nothing_otherwise() -> None:
    bucket = TokenBucket(2, 2.0, 0.0)
    assert [bucket.take_if_free(0.0) for _ in range(4)] == [0, 0, 0.5, 0.5]
    assert bucket.take_if_free(0.5) == 0
