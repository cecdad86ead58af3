"""Outcomes of hashes, while a stream is read late or goes back. The test decides what Redis answers, and when."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from jobws.bullmq.keys import Queue
from jobws.bullmq.snapshot import LookUp
from jobws.server.jobs.queue_readers import Queues
from jobws.server.jobs.reading_back import ReadingBack
from tests.hub.one_bridge import Bridge, Client, hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jobws.bullmq.snapshot import Job
    from jobws.protocol.messages import JobSnapshot
    from tests.hub.one_bridge import Found

LABELS = ("http", "analyzer")


@pytest.fixture(autouse=True)
def _not_for_ever() -> Iterator[None]:
    """End a test whose event loop stands still, which no timeout of the loop itself can do."""

    def fail(*_: object) -> None:
        raise AssertionError("the event loop stands still")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


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

    async def read(self, stream_id: str, queue: str) -> None:
        self.bridge.read_to(stream_id, queue)
        self.queues._streams[queue].moved()


def waits(world: World) -> bool:
    return world.client.hub_client.awaits_missed_outcomes


def received(world: World) -> list[tuple[str, str, str]]:
    return [(each["data"]["queue"], each["event"], each["id"]) for each in world.client.frames()]


def test_an_outcome_of_a_queue_that_is_read_late_comes_as_soon_as_that_is_read_and_others_do_not_wait() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(nursery, ends={"http": "5-0", "analyzer": "9-0"})
            world.owe()
            await trio.sleep(6)
            assert received(world) == [("http", "completed", "5-0~5")]
            assert waits(world)
            # Later look-ups would find that still more was not read.
            world.ends = {"http": "5-0", "analyzer": "99-0"}
            world.found["analyzer", "1"] = None
            await trio.sleep(60)
            await world.read("9-0", "analyzer")
            await trio.sleep(6)
            assert received(world) == [("analyzer", "completed", "9-0~5")]
            assert world.look_ups == 1
            assert not waits(world)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_an_outcome_is_looked_up_again_when_its_stream_has_gone_back() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(nursery, ends={"http": "0-0", "analyzer": "0-0"})

            def go_back() -> None:
                world.bridge.fanout.cursors.update(dict.fromkeys(LABELS, "0-0"))

            world.during = go_back
            world.owe()
            await trio.sleep(6)
            assert received(world) == [(queue, "completed", "0-0~5") for queue in LABELS]
            assert world.look_ups == 2
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_late_outcomes_of_a_client_that_is_gone_are_dropped() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(nursery, ends={"http": "9-0", "analyzer": "9-0"})
            world.owe()
            await trio.sleep(6)
            world.client.hub_client.leave()
            await trio.sleep(6)
            assert not nursery.child_tasks

    trio.run(main, clock=MockClock(autojump_threshold=0))
