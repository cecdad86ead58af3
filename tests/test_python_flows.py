"""With BullMQ for Python: a flow of three levels over three queues, followed to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from bullmq import FlowProducer, Worker

from tests.support.client import raw_client
from tests.support.flows import FLOW, QUEUES, flow_bridge, told, until_top

if TYPE_CHECKING:
    from bullmq import Job

    from tests.support.redis import Redis


def job(queue: str, job_id: str, *children: dict[str, Any], **opts: Any) -> dict[str, Any]:
    return {
        **{"name": job_id, "queueName": queue, "data": {}, "opts": {"jobId": job_id, **opts}},
        **({"children": [*children]} if children else {}),
    }


def work(redis_url: str) -> None:
    """Add a flow, and work until its first job is done."""

    async def run() -> None:
        done = asyncio.Event()

        async def process(each: Job, _token: str) -> int:
            if each.id == "f":
                raise RuntimeError("no")
            if each.id == "top":
                asyncio.get_running_loop().call_later(0.2, done.set)
            return 1

        flows = FlowProducer(redis_url)
        below = job("sparql", "a", job("techstack", "c"))
        await flows.add(job("http", "top", below, job("techstack", "f", ignoreDependencyOnFailure=True)))
        workers = [Worker(queue, process, {"connection": redis_url}) for queue in QUEUES]
        await asyncio.wait_for(done.wait(), 20)
        for worker in workers:
            await worker.close()
        await flows.close()

    asyncio.run(run())


async def test_a_flow_is_followed_to_its_end(redis: Redis) -> None:
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client, anyio.create_task_group() as tasks:
        await client.ask("subscribe-job", {**FLOW, "until": "end"})
        tasks.start_soon(anyio.to_thread.run_sync, work, redis.url)
        frames = told(await until_top(client))
        assert sorted(frames[:-1]) == [("completed", "a", "top"), ("completed", "c", "a"), ("failed", "f", "top")]
