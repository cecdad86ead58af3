"""However many clients send, other tasks run after each millisecond of work for them."""

from __future__ import annotations

import time

import trio

from jobws.server.fair_turns import SECONDS, FairTurns

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
