"""However many clients send, other tasks run after each half of a millisecond of work for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobws.server.fair_turns import FairTurns
from jobws.turn import SECONDS

if TYPE_CHECKING:
    from collections.abc import Generator

CLIENTS = 20
MESSAGES = 5
STEPS_OF_TURN = 4


class Processor:
    """A clock that goes on only when work is done, so that a busy machine makes no work longer."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.turns = FairTurns(lambda: self.seconds)

    def work(self) -> None:
        """Take a little more than the time of a turn."""
        with self.turns:
            self.seconds += 1.04 * SECONDS

    def steps(self, taken: list[int], count: int) -> Generator[None, None, str]:
        """Take a little more than a quarter of the time of a turn in each step."""
        for number in range(count):
            self.seconds += 0.26 * SECONDS
            taken.append(number)
            yield
        return "done"


def test_other_tasks_run_between_the_messages_of_clients() -> None:
    done: list[int] = []
    between: list[int] = []

    async def client(processor: Processor, number: int) -> None:
        for _ in range(MESSAGES):
            await processor.turns.pause()
            processor.work()
            done.append(number)

    async def other() -> None:
        while len(done) < CLIENTS * MESSAGES:
            before = len(done)
            await trio.lowlevel.checkpoint()
            between.append(len(done) - before)

    async def main() -> None:
        processor = Processor()
        processor.work()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for number in range(CLIENTS):
                nursery.start_soon(client, processor, number)

    trio.run(main)
    # Within one round of the event loop, the client that had the turn before may be followed by the next one.
    assert max(between) <= 2
    assert sorted(done[:CLIENTS]) == list(range(CLIENTS))


def test_work_that_takes_no_time_lets_nobody_wait() -> None:
    async def main() -> None:
        processor = Processor()
        with trio.CancelScope() as scope:
            scope.cancel()
            await processor.turns.pause()  # would raise if it let other tasks run
            assert not scope.cancelled_caught
            processor.work()
            await processor.turns.pause()
            raise AssertionError("it did not wait")
        assert scope.cancelled_caught

    trio.run(main)


def test_other_tasks_run_between_the_steps_of_long_work() -> None:
    taken: list[int] = []
    between: list[int] = []

    async def other() -> None:
        while len(taken) < 100:
            before = len(taken)
            await trio.lowlevel.checkpoint()
            between.append(len(taken) - before)

    async def main() -> None:
        processor = Processor()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            assert await processor.turns.run(processor.steps(taken, 100)) == "done"

    trio.run(main)
    assert max(between) == STEPS_OF_TURN
    assert taken == list(range(100))


def rests_of(works: int, count: int) -> float:
    """Return how many times work rests that is done at the same time, in `count` steps each."""

    async def main() -> float:
        processor = Processor()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(works):
                nursery.start_soon(processor.turns.run, processor.steps([], count))
        return trio.current_time() - began  # the clock of the test counts rests alone

    return trio.run(main, clock=MockClock(autojump_threshold=0)) / SECONDS


@pytest.mark.parametrize("works", [1, 2, 5])
def test_long_work_rests_after_each_turn(works: int) -> None:
    """However much of it there is."""
    assert rests_of(works, 100) == pytest.approx(works * 100 / STEPS_OF_TURN)


def test_short_work_of_many_clients_does_not_rest() -> None:
    assert rests_of(CLIENTS, STEPS_OF_TURN // 2) == 0.0


def test_short_work_goes_on_while_long_work_rests() -> None:
    taken: list[int] = []

    async def main() -> None:
        processor = Processor()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(processor.turns.run, processor.steps(taken, 100))
            await wait_all_tasks_blocked()  # it rests, until the clock of the test goes on
            began = trio.current_time()
            for _ in range(CLIENTS):
                await processor.turns.run(processor.steps([], 1))
            assert trio.current_time() == began
            assert len(taken) == STEPS_OF_TURN
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_work_that_is_cancelled_is_done_to_its_end() -> None:
    taken: list[int] = []

    async def main() -> None:
        processor = Processor()
        with trio.CancelScope() as scope:
            scope.cancel()
            await processor.turns.run(processor.steps(taken, 100))
        assert scope.cancelled_caught

    trio.run(main)
    assert taken == list(range(100))
