"""However many clients send, other tasks run after each half of a millisecond of work for them."""

from __future__ import annotations

import time
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


def work(turns: FairTurns) -> None:
    """Take a little more than the time of a turn."""
    with turns:
        ends = time.perf_counter() + SECONDS
        while time.perf_counter() <= ends:
            pass


def test_other_tasks_run_between_the_messages_of_clients() -> None:
    done: list[int] = []
    between: list[int] = []

    async def client(turns: FairTurns, number: int) -> None:
        for _ in range(MESSAGES):
            await turns.pause()
            work(turns)
            done.append(number)

    async def other() -> None:
        while len(done) < CLIENTS * MESSAGES:
            before = len(done)
            await trio.lowlevel.checkpoint()
            between.append(len(done) - before)

    async def main() -> None:
        turns = FairTurns()
        work(turns)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for number in range(CLIENTS):
                nursery.start_soon(client, turns, number)

    trio.run(main)
    # Within one round of the event loop, the client that had the turn before may be followed by the next one.
    assert max(between) <= 2
    assert sorted(done[:CLIENTS]) == list(range(CLIENTS))


def test_work_that_takes_no_time_lets_nobody_wait() -> None:
    async def main() -> None:
        turns = FairTurns()
        with trio.CancelScope() as scope:
            scope.cancel()
            await turns.pause()  # would raise if it let other tasks run
            assert not scope.cancelled_caught
            work(turns)
            await turns.pause()
            raise AssertionError("it did not wait")
        assert scope.cancelled_caught

    trio.run(main)


def steps(taken: list[int], count: int) -> Generator[None, None, str]:
    """Take a fifth of the time of a turn in each step."""
    for number in range(count):
        ends = time.perf_counter() + SECONDS / 5
        while time.perf_counter() <= ends:
            pass
        taken.append(number)
        yield
    return "done"


def nothing() -> Generator[None, None, None]:
    yield


def test_other_tasks_run_between_the_steps_of_long_work() -> None:
    taken: list[int] = []
    between: list[int] = []

    async def other() -> None:
        while len(taken) < 100:
            before = len(taken)
            await trio.lowlevel.checkpoint()
            between.append(len(taken) - before)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            assert await FairTurns().run(steps(taken, 100)) == "done"

    trio.run(main)
    assert max(between) <= 10  # two turns
    assert taken == list(range(100))


def rests_of(works: int, count: int) -> float:
    """Return how many times work rests that is done at the same time, in `count` steps each."""

    async def main() -> float:
        turns = FairTurns()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(works):
                nursery.start_soon(turns.run, steps([], count))
        return trio.current_time() - began  # the clock of the test counts rests alone

    return trio.run(main, clock=MockClock(autojump_threshold=0)) / SECONDS


@pytest.mark.parametrize("works", [1, 2, 5])
def test_long_work_rests_for_half_of_the_time(works: int) -> None:
    """However much of it there is."""

    rests = rests_of(works, 100)
    # A step takes a fifth of a turn. A turn may be one step longer, or shorter if the machine is busy.
    assert works * 100 / 6 - 1 <= rests <= works * 100 / 4


def test_short_work_goes_on_while_long_work_rests() -> None:
    taken: list[int] = []

    async def main() -> float:
        turns = FairTurns()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turns.run, steps(taken, 100))
            await wait_all_tasks_blocked()  # it rests
            began = trio.current_time()
            for _ in range(CLIENTS):
                await turns.run(nothing())
            waited = trio.current_time() - began
            assert 5 <= len(taken) < 100
            nursery.cancel_scope.cancel()
        return waited

    assert trio.run(main, clock=MockClock(autojump_threshold=1)) == 0.0


def test_short_work_of_many_clients_does_not_rest() -> None:
    rests = rests_of(CLIENTS, 2)
    assert rests <= CLIENTS / 4, "a busy machine may make some of it long"


def test_work_that_is_cancelled_is_done_to_its_end() -> None:
    taken: list[int] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await FairTurns().run(steps(taken, 100))
        assert scope.cancelled_caught

    trio.run(main)
    assert taken == list(range(100))
