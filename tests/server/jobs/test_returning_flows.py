"""Whichever frames of a flow a client has got before it breaks off, returning loses no outcome (protocol.md, S14, R4).

Jobs are added below jobs, end, and are retried, while bridges read this later. The client comes back with its positions
to the same bridge, to another one, or to one that has just started. At the end, no outcome may be missing of any job
that Redis links to the flow and that the client may read.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
import trio.testing

from jobws.hub.jobs.missed import FINISHED
from tests.hub.returning import Steps
from tests.server.jobs.flow_client import Client
from tests.server.jobs.flow_world import Bridge, Redis
from tests.support import SEEDS
from tests.support.sight import EVERYTHING, sight

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.bullmq.snapshot import Job
    from tests.hub.world import Written

QUEUES = ("http", "sparql", "analyzer")


class Model(Steps[Redis, Bridge]):
    """Redis, two bridges and a client."""

    def __init__(
        self, choose: Callable[[int], int], nursery: trio.Nursery, clock: trio.testing.MockClock, *, harsh: bool
    ) -> None:
        self.clock = clock
        self.nursery = nursery
        self.hidden = QUEUES[2] if not choose(3) else None
        self.sight = EVERYTHING if self.hidden is None else sight("read:jobs:http", "read:jobs:sparql")
        redis = Redis(choose, QUEUES[: 1 + choose(len(QUEUES))])
        # The jobs that failed and are in no list, before they were found.
        self.unfound: set[Job] = set()
        redis.on_orphan = self.unfound.add
        super().__init__(choose, redis, harsh=harsh)
        redis.on_orphan = self.note_orphan
        beside = self.redis.queues[-1] if not choose(3) and self.redis.queues[-1] != self.hidden else None
        self.client = Client(self.redis, self.bridges[0], self.sees, until_end=not choose(3), beside=beside)
        self.client.on_top = self.check_top
        # From which step on nothing of the flow may be missed: the end of the first look, or the first return.
        self.followed_from: int | None = None

    def new_bridge(self) -> Bridge:
        return Bridge(self.redis, self.sight, self.nursery)

    def sees(self, job: Job) -> bool:
        return job[0] != self.hidden

    def note_orphan(self, job: Job) -> None:
        flow = self.client.bridge.flow
        is_found = flow is None or any((room.queue, room.job_id) == job for room in flow.below)
        if self.client.after is None or not is_found:
            self.unfound.add(job)

    async def tick(self) -> None:
        for bridge in self.bridges:
            bridge.tick()
        await trio.testing.wait_all_tasks_blocked()
        self.client.fetch()
        flow = self.client.bridge.flow
        if self.followed_from is None and self.client.acked and flow is not None and flow.was_looked_at:
            self.followed_from = self.redis.step
        self.redis.step += 1

    # ---- actions ----

    def redis_answers(self) -> None:
        self.client.bridge.let_redis_answer()

    def time_passes(self) -> None:
        self.clock.jump(0.3)

    def take(self) -> None:
        self.client.take(1 + self.choose(4))

    def ping(self) -> None:
        self.client.ping()

    async def follow(self) -> None:
        """Let the bridge of the client do some of what it has to do."""
        bridge = self.client.bridge
        for _ in range(1 + self.choose(8)):
            for step in (bridge.look, bridge.answer, bridge.read_back, bridge.let_redis_answer):
                step()
                await self.tick()
            for queue in self.redis.queues:
                bridge.check(queue)
                bridge.read(queue, self.choose(5))

    async def come_back(self) -> None:
        client = self.client
        if self.choose(2):
            client.ping()
            await self.tick()
        client.disconnect(self.choose(4) if self.choose(2) else 1000)
        client.bridge.flow = None
        for _ in range(self.choose(4)):
            self.redis.write()
            await self.tick()
        if client.over:
            return
        if client.after is not None and self.followed_from is None:
            self.followed_from = self.redis.step
        client.connect(self.place(client.bridge, may_stop=True))

    # ---- what may be missing ----

    def missing(self, before: int) -> list[Written]:
        """Return the outcomes with lower numbers that the client should have got, and has not."""
        found: list[Written] = []
        for job in self.redis.linked(self.sees) - self.unfound:
            events = [each for each in self.redis.written.values() if each.job == job]
            last = next((each.number for each in reversed(events) if each.name != "progress"), 0)
            for each in events:
                if each.number >= before:
                    break
                is_needed = each.name in FINISHED and each.number not in self.client.taken
                if is_needed and self.must_come(each, is_last=each.number == last):
                    found.append(each)
        return found

    def must_come(self, event: Written, *, is_last: bool) -> bool:
        if self.harsh:  # what the stream has lost, the hash still has, and tells if a list has the job
            known = self.redis.hashes.get(event.job)
            return known is not None and known.number == event.number and self.redis.is_listed(event.job)
        return is_last or (self.followed_from is not None and event.at >= self.followed_from)

    def check_top(self, number: int) -> None:
        if not self.harsh:
            missing = self.missing(number)
            assert not missing, f"the job at the top ends before {missing}"

    async def rest(self) -> None:
        """Let everything come to rest, and check that nothing is missing."""
        self.redis.calm = True
        for _ in range(8):
            for bridge in self.bridges:
                bridge.rest()
                await self.tick()
                while bridge.asking:
                    bridge.let_redis_answer()
                    await self.tick()
            self.clock.jump(6)
            await self.tick()
        self.client.ping()
        await self.tick()
        self.client.take(10_000)
        flow = self.client.bridge.flow
        if not self.client.over:
            assert flow is not None
            assert flow.was_looked_at
            assert not flow.has_unsent_positions
            assert not (missing := self.missing(10_000)), f"missing: {missing}"
            assert self.client.after is not None
            assert self.client.after.keys() >= {room.queue for room in flow.below} | {self.redis.top[0]}


ACTIONS = (
    *(Model.write,) * 6,
    *(Model.read,) * 8,
    *(Model.check,) * 4,
    *(Model.look, Model.answer) * 3,
    *(Model.read_back,) * 4,
    *(Model.redis_answers,) * 10,
    *(Model.follow,) * 4,
    *(Model.take,) * 4,
    *(Model.time_passes,) * 3,
    *(Model.sweep, Model.ping, Model.trim, Model.overrun, Model.come_back),
)


async def walk(seed: int, *, harsh: bool, steps: int) -> None:
    random = Random(seed)
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    async with trio.open_nursery() as nursery:
        model = Model(random.randrange, nursery, clock, harsh=harsh)
        try:
            for _ in range(steps):
                done = ACTIONS[random.randrange(len(ACTIONS))](model)
                if done is not None:
                    await done
                await model.tick()
                if model.client.over:
                    break
            if not model.client.over:
                await model.rest()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        nursery.cancel_scope.cancel()


def run(seed: int, *, harsh: bool, steps: int = 150) -> None:
    trio.run(lambda: walk(seed, harsh=harsh, steps=steps), clock=trio.testing.MockClock())


@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("harsh", [False, True], ids=["mild", "harsh"])
def test_a_client_of_a_flow_that_comes_back_misses_no_outcome(part: int, harsh: bool) -> None:
    for seed in range(SEEDS * part, SEEDS * (part + 1)):
        run(seed, harsh=harsh)
