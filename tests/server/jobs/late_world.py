"""A client, a Redis whose answers the test decides, and queues that are read as far as the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from jobws.bullmq.keys import Queue
from jobws.bullmq.snapshot import LookUp
from jobws.server.jobs.queue_readers import Queues
from jobws.server.jobs.reading_back import ReadingBack
from tests.hub.one_bridge import Bridge, Client, hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobws.bullmq.snapshot import Job
    from jobws.protocol.messages import JobSnapshot
    from tests.hub.one_bridge import Found

LABELS = ("http", "analyzer")


class World:
    """A client with a subscription to job 1 in each queue, which are read up to 5-0. Both jobs have completed."""

    def __init__(self, nursery: trio.Nursery, *, ends: Mapping[str, str]) -> None:
        self.bridge = Bridge()
        self.ends = ends
        self.look_ups = 0
        self.during: Callable[[], None] = lambda: None
        self.found: dict[Job, JobSnapshot | None] = {(queue, "1"): hash_of(queue=queue) for queue in LABELS}
        unused: Any = None
        queues = [Queue(label, "bull", label) for label in LABELS]
        self.queues = Queues(unused, queues, unused, 1, 1, self.bridge.fanout, unused)
        for stream in self.queues._streams.values():
            stream.ready.set()
        for queue in LABELS:
            self.bridge.read_to("5-0", queue)
        self.client = Client(self.bridge)
        for queue in LABELS:
            active: Found = {(queue, "1"): hash_of("active", queue=queue)}
            self.client.subscribe({"jobId": "1", "queue": queue}, active, "5-0")
        store: Any = self
        self.reading_back = ReadingBack(self.bridge.fanout, self.queues, store, nursery.start_soon)

    async def look_up(self, jobs: Mapping[str, Sequence[str]]) -> LookUp:
        self.look_ups += 1
        await trio.sleep(0.01)
        self.during()
        looked_up = {(queue, job_id) for queue in jobs for job_id in jobs[queue]}
        return LookUp(
            {job: self.found[job] for job in looked_up},
            {(queue, _): self.ends[queue] for queue, _ in looked_up},
            dict(self.ends),
        )

    def owe(self) -> None:
        for subscription in self.client.hub_client._subscriptions:
            self.client.hub_client.owe(subscription, str(subscription.request.key.queue))
        self.reading_back.start(self.client.hub_client)

    def read(self, stream_id: str, queue: str) -> None:
        self.bridge.read_to(stream_id, queue)
        self.queues._streams[queue].moved()
