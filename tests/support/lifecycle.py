"""What tests/node/lifecycle.mjs does, with BullMQ for Python: a worker's events, and those of the queue's own calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from bullmq import FlowProducer, Queue, QueueEventsProducer, Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bullmq import Job

FAST = {"concurrency": 2, "stalledInterval": 100, "lockDuration": 5000, "drainDelay": 1}


def live_through(redis_url: str, name: str) -> None:
    """Let every event happen in a queue."""
    asyncio.run(_Lifecycle(redis_url, name).run())


class _Lifecycle:
    def __init__(self, redis_url: str, name: str) -> None:
        self._options = {"connection": redis_url}
        self._queue = Queue(name, self._options)
        self._runs: Counter[str] = Counter()

    async def run(self) -> None:
        await self._work()
        await self._queue_calls()
        await self._publish()
        await self._queue.close()

    async def _add(self, job_id: str, data: dict[str, Any], **opts: Any) -> None:
        await self._queue.add(f"näme of {job_id}", data, {"jobId": job_id, **opts})

    async def _process(self, job: Job, _token: str) -> Any:
        self._runs[job.id] += 1
        data: Any = job.data
        for step in data.get("steps", ()):
            await job.updateProgress(step)
        if data.get("stalls") and self._runs[job.id] == 1:
            # Without its lock the job is taken for one of a dead worker.
            await self._queue.client.delete(f"bull:{self._queue.name}:{job.id}:lock")
            await _until(lambda: self._is(self._runs[job.id] == 2))
        if self._runs[job.id] <= data.get("failing", 0):
            raise ValueError(data["reason"])
        return data.get("result")

    @staticmethod
    async def _is(value: bool) -> bool:
        return value

    async def _work(self) -> None:
        await self._add("p-success", {"steps": [0, 1.5, {"at": "é"}, "so", None], "result": {"ok": [None, "💥"]}})
        await self._add("p-exhausted", {"failing": 9, "reason": "échec\n2"}, attempts=2)
        await self._add("p-backed-off", {"failing": 1}, attempts=2, backoff={"type": "fixed", "delay": 30})
        await self._add("p-later", {"result": "late"}, delay=50)
        await self._add("p-urgent", {"result": 1}, priority=5)
        await self._add("p-gone", {"result": "only in the stream"}, removeOnComplete=True)
        await self._add("p-stalls", {"stalls": True})
        flows = FlowProducer(self._options["connection"])
        child = {"name": "child", "queueName": self._queue.name, "data": {}, "opts": {"jobId": "p-child"}}
        parent = {"name": "parent", "queueName": self._queue.name, "data": {}, "opts": {"jobId": "p-parent"}}
        await flows.add({**parent, "children": [child]})
        await flows.close()
        await self._until_idle()
        job = await self._queue.getJob("p-exhausted")
        await job.retry()
        await self._until_idle()
        await (await self._queue.getJob("p-later")).remove()
        await (await self._queue.getJob("p-success")).updateProgress(100)

    async def _until_idle(self) -> None:
        """Let a worker work until nothing is left to do."""
        worker = Worker(self._queue.name, self._process, {**self._options, **FAST})
        worker.on("error", lambda *_: None)  # the first run of a stalled job has lost its lock

        async def is_idle() -> bool:
            counts = await self._queue.getJobCounts("wait", "active", "delayed", "prioritized", "waiting-children")
            return not any(counts.values())

        await _until(is_idle)
        await worker.close()

    async def _queue_calls(self) -> None:
        await self._queue.pause()
        await self._add("p-waits", {})
        await self._add("p-delayed", {}, delay=600_000)
        await self._add("p-delayed", {})
        await (await self._queue.getJob("p-delayed")).promote()
        await self._queue.resume()
        await self._add("p-first", {}, deduplication={"id": "p-one"})
        await self._add("p-second", {}, deduplication={"id": "p-one"})
        await self._queue.drain()
        await self._queue.clean(0, 1, "completed")
        await self._queue.clean(0, 100, "failed")

    async def _publish(self) -> None:
        producer = QueueEventsProducer(self._queue.name, self._options)
        for event in (
            {"eventName": "mine", "jobId": "7", "text": "naïve", "number": 5},
            {"eventName": "mine", "text": "without a job"},
            {"eventName": "delayed", "delay": 1.5},
        ):
            await producer.publishEvent(event, 100_000)
        await producer.close()


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.01)
