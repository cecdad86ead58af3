"""Outcomes of hashes, while a stream is read late or goes back. The test decides what Redis answers, and when."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from jobws.server.jobs.sweep import Holes, Sweeper
from tests.server.jobs.late_world import LABELS, World

if TYPE_CHECKING:
    from collections.abc import Iterator


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
            world.read("9-0", "analyzer")
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


def test_a_sweep_does_not_wait_for_a_queue_that_another_caller_has_looked_up() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            # A look-up is shared, so it also has the end of the other queue, which is read late.
            world = World(nursery, ends={"http": "5-0", "analyzer": "9-0"})
            store: Any = world
            holes = Holes()
            nursery.start_soon(Sweeper(world.bridge.fanout, world.queues, store, holes, 3600, 3600).run)
            holes.note("http")
            await trio.sleep(1)
            assert [each.queue for each in world.client.owed()] == ["http"]
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
