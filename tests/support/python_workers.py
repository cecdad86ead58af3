"""What tests/node/actions.mjs does, with BullMQ for Python: python -m tests.support.python_workers URL QUEUE…

Says "ready", then answers each line of standard input, a method of `Answers` with its arguments, with a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from bullmq import FlowProducer, Queue, Worker

if TYPE_CHECKING:
    from bullmq import Job


class Answers:
    def __init__(self, url: str, queues: list[str]) -> None:
        self._queues = {name: Queue(name, {"connection": url}) for name in queues}
        self._flows = FlowProducer(url)
        self._held: list[asyncio.Event] = []

    async def process(self, job: Job, _token: str) -> Any:
        data: Any = job.data
        if data["do"] in ("hold", "holdAndFail"):
            self._held.append(released := asyncio.Event())
            await released.wait()
            if data["do"] == "holdAndFail":
                raise RuntimeError("no")
            return "released"
        return data.get("result")

    async def add(self, queue: str, job_id: str, data: object, opts: dict[str, Any]) -> str:
        return str((await self._queues[queue].add("test", data, {**opts, "jobId": job_id})).id)

    async def flow(self, tree: dict[str, Any]) -> str:
        added = await self._flows.add(tree)
        assert added is not None
        return str(added["job"].id)

    async def state(self, queue: str, job_id: str) -> str:
        return str(await self._queues[queue].getJobState(job_id))

    async def release(self) -> int:
        held, self._held = self._held, []
        for each in held:
            each.set()
        return len(held)


async def run(url: str, *queues: str) -> None:
    answers = Answers(url, [*queues])
    workers = [Worker(queue, answers.process, {"connection": url}) for queue in queues]
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        method, *arguments = json.loads(line)
        print(json.dumps(await getattr(answers, method)(*arguments)), flush=True)
    for worker in workers:
        await worker.close(force=True)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
