"""Requests gather while a look-up is under way."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from jobws.server.jobs.gathering import GATHER_SECONDS, Gathering


def waits(gathering: Gathering) -> float:
    """Return how many seconds a request waits now."""

    async def main() -> float:
        began = trio.current_time()
        await gathering.wait()
        return trio.current_time() - began

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_request_waits_while_a_look_up_is_under_way() -> None:
    gathering = Gathering()
    assert waits(gathering) == 0
    with gathering.look_up():
        with suppress(OSError), gathering.look_up():
            assert waits(gathering) == pytest.approx(GATHER_SECONDS)
            raise OSError
        assert waits(gathering) == pytest.approx(GATHER_SECONDS), "the other one is under way"
    assert waits(gathering) == 0
