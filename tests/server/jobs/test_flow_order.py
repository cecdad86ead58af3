"""In which order the outcomes of a flow come when the bridge reads one queue later than another."""

from __future__ import annotations

import trio.testing

from tests.server.jobs.flow_client import Client
from tests.server.jobs.flow_world import Bridge, Redis
from tests.support.sight import EVERYTHING


def test_the_outcome_at_the_top_waits_for_children_of_a_job_that_ended_twice() -> None:
    """The bridge reads one queue later than the other, so that the second life of a job is not known at the look."""
    trio.run(a_job_ends_twice, clock=trio.testing.MockClock())


async def a_job_ends_twice() -> None:
    def choose(limit: int) -> int:
        return min(1, limit - 1)

    redis = Redis(choose, ("http", "sparql"))
    redis.calm = True
    parent = redis.add_below(redis.top)
    redis.finish(parent)
    async with trio.open_nursery() as nursery:
        bridge = Bridge(redis, EVERYTHING, nursery)
        client = Client(redis, bridge, lambda _job: True, until_end=True, beside=None)
        await settle(bridge, *redis.queues)
        redis.retry(parent)
        child = redis.add_below(parent)
        redis.finish(child)
        redis.finish(parent)
        redis.finish(redis.top)
        await settle(bridge, "http")
        await settle(bridge, *redis.queues)
        client.fetch()
        outcomes = [frame["data"]["jobId"] for frame in client.inbox if frame["event"] == "completed"]
        assert outcomes == [parent[1], parent[1], child[1], "top"]
        nursery.cancel_scope.cancel()


async def settle(bridge: Bridge, *queues: str) -> None:
    """Let the bridge read these queues, and do everything that it can do without the others."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    for _ in range(20):
        for queue in queues:
            bridge.check(queue)
            bridge.read(queue, 1000)
        for step in (bridge.look, bridge.answer, bridge.read_back, bridge.let_redis_answer, bridge.tick):
            step()
            await trio.testing.wait_all_tasks_blocked()
        clock.jump(0.1)
