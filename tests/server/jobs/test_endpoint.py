"""How requests that come together are divided into look-ups, and which of them wait for a queue that is read late."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from jobws.bullmq.snapshot import LookUp
from jobws.server.fair_turns import FairTurns
from jobws.server.jobs.endpoint import SUBSCRIPTIONS_PER_LOOK_UP, JobEndpoint, divide
from tests.hub.one_bridge import Bridge, Client

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MOST = SUBSCRIPTIONS_PER_LOOK_UP


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([1], [[1]]),
        ([MOST], [[MOST]]),
        ([MOST - 1, 1], [[MOST - 1, 1]]),
        ([MOST, 1], [[MOST], [1]]),
        ([1, MOST, 1], [[1], [MOST], [1]]),
        # No request is divided.
        ([5 * MOST, 1, 1], [[5 * MOST], [1, 1]]),
    ],
)
def test_a_look_up_has_two_hundred_subscriptions_or_one_request(sizes: list[int], parts: list[list[int]]) -> None:
    rest: Any = [(None, SimpleNamespace(subscriptions=[None] * size)) for size in sizes]
    found = []
    while rest:
        part, rest = divide(rest)
        found.append([len(pending.subscriptions) for _, pending in part])
    assert found == parts


class World:
    """An endpoint, and a Redis that takes 10 ms to answer. `late` says after how many seconds queues are published."""

    def __init__(self, nursery: trio.Nursery, **late: float) -> None:
        self.bridge = Bridge()
        self.late = {queue: trio.current_time() + seconds for queue, seconds in late.items()}
        self.look_ups: list[Mapping[str, Collection[str]]] = []
        self.by_label = self.nameable = self.bridge.queues
        tasks: Any = SimpleNamespace(are_running=True, spawn=nursery.start_soon)
        settings: Any = SimpleNamespace(join_seconds=10)
        unused: Any = None
        turns = FairTurns(lambda: 0.0)  # no work takes long, even on a busy machine
        world: Any = self
        self.endpoint = JobEndpoint(
            *(settings, self.bridge.fanout, world, world, unused, 1.0, unused, tasks, unused, turns)
        )

    async def look_up(self, job_ids: Mapping[str, Collection[str]], sought: Collection[str]) -> LookUp:
        self.look_ups.append(job_ids)
        await trio.sleep(0.01)
        ends = dict.fromkeys(job_ids, "0-0")
        return LookUp({}, {(queue, job_id): "0-0" for queue in job_ids for job_id in job_ids[queue]}, ends)

    def must_wait_for(self, queue: str) -> bool:
        return False

    async def wait_until_read(self, queues: Collection[str]) -> None:
        pass

    async def scanned(self) -> None:
        pass

    async def wait_until_published(self, ends: Mapping[str, str], known: object, seconds: float = 5.0) -> set[str]:
        late = {queue: at for queue, at in self.late.items() if queue in ends}
        with trio.move_on_after(seconds):
            await trio.sleep_until(max(late.values(), default=0.0))
        return {queue for queue, at in late.items() if trio.current_time() < at}

    async def answered_after(self, **data: Any) -> float:
        """Subscribe, and return the seconds until the answer."""
        client = Client(self.bridge)
        began = trio.current_time()
        self.endpoint.look_up(client.hub_client, client.begin({"jobId": "1", **data}))
        while not client.frames():
            await trio.sleep(0.001)
        return trio.current_time() - began


def test_requests_that_come_while_others_are_looked_up_share_one_look_up() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(nursery)
            for number in range(10):
                nursery.start_soon(lambda: world.answered_after(queue="http"))
                await trio.sleep(0 if number else 0.001)
        assert len(world.look_ups) == 2

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        ({"analyzer": 3.0}, {"http": 0.1, "analyzer": 3.0, "any": 3.0}),
        ({"analyzer": 3.0, "http": 0.5}, {"http": 0.5, "analyzer": 3.0, "any": 3.0}),
    ],
)
def test_a_queue_that_is_read_late_holds_up_no_request_about_another_one(
    late: dict[str, float], expected: dict[str, float]
) -> None:
    took: dict[str, float] = {}

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(nursery, **late)

            async def ask(name: str, **data: Any) -> None:
                took[name] = await world.answered_after(**data)

            nursery.start_soon(lambda: ask("analyzer", queue="analyzer"))
            nursery.start_soon(lambda: ask("http", queue="http"))
            nursery.start_soon(lambda: ask("any"))

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert took == {name: pytest.approx(seconds, abs=0.15) for name, seconds in expected.items()}
