"""Requests gather while a look-up is under way."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobws.server.jobs.gathering import GATHER_SECONDS, Gathering


def waited(look_up_seconds: float, *, fails: bool = False) -> float:
    """Return for how long a request waits that comes when a look-up has begun."""

    async def look_up(gathering: Gathering) -> None:
        with suppress(OSError), gathering.look_up():
            await trio.sleep(look_up_seconds)
            if fails:
                raise OSError

    async def main() -> float:
        gathering = Gathering()
        began = trio.current_time()
        await gathering.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look_up, gathering)
            await wait_all_tasks_blocked()
            await gathering.wait()
            took = trio.current_time() - began
        answered = trio.current_time() - began
        await gathering.wait()
        assert trio.current_time() - began == answered, "nothing is under way"
        return took

    return trio.run(main, clock=MockClock(autojump_threshold=0.001))


def test_a_request_waits_for_the_answer_of_the_look_up_before() -> None:
    assert waited(GATHER_SECONDS / 2) == pytest.approx(GATHER_SECONDS / 2)
    assert waited(GATHER_SECONDS / 2, fails=True) == pytest.approx(GATHER_SECONDS / 2)


def test_a_request_does_not_wait_for_a_slow_look_up() -> None:
    assert waited(10) == pytest.approx(GATHER_SECONDS)


def test_the_look_up_that_began_last_counts() -> None:
    async def main() -> float:
        gathering = Gathering()
        with gathering.look_up():
            with gathering.look_up():
                pass
            await gathering.wait()
        return trio.current_time()

    async def timed() -> float:
        began = trio.current_time()
        return await main() - began

    assert trio.run(timed, clock=MockClock(autojump_threshold=0)) == 0
