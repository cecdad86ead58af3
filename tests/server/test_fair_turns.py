"""However many clients send, other tasks run after each half of a millisecond of work for them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from trio.testing import MockClock

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


def test_after_a_turn_clients_wait_for_as_long() -> None:
    async def main() -> float:
        turns = FairTurns()
        work(turns)
        began = time.perf_counter()
        await turns.pause()
        return time.perf_counter() - began

    assert trio.run(main) >= SECONDS


def test_all_clients_together_have_turns() -> None:
    """However many of them wait, they rest after each turn."""

    async def client(turns: FairTurns) -> None:
        for _ in range(MESSAGES):
            await turns.pause()
            with turns:
                ends = time.perf_counter() + SECONDS / MESSAGES
                while time.perf_counter() <= ends:
                    pass
            await trio.lowlevel.checkpoint()  # for the next message

    async def main() -> float:
        turns = FairTurns()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(client, turns)
        return trio.current_time() - began  # the clock of the test counts rests alone

    # A turn may take a fifth longer than it should, and the last one is followed by no rest.
    rests = CLIENTS * MESSAGES // (MESSAGES + 1) - 1
    assert trio.run(main, clock=MockClock(autojump_threshold=0)) >= rests * SECONDS


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


def test_work_that_is_cancelled_is_done_to_its_end() -> None:
    taken: list[int] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await FairTurns().run(steps(taken, 100))
        assert scope.cancelled_caught

    trio.run(main)
    assert taken == list(range(100))
