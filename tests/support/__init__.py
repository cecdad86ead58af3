"""What tests share."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NoReturn

import anyio
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# Only what hangs takes longer, on a machine however busy.
EVENTUALLY_SECONDS = 60
# How many random walks a test takes; `make test-all` takes eight times as many.
SEEDS = int(os.environ.get("JOBWS_SEEDS", "50"))


def require(program: str, *alternatives: str) -> str:
    """The path of a program; without it the test is skipped, or fails where JOBWS_REQUIRE names it."""
    found = next(filter(None, map(shutil.which, (program, *alternatives))), None)
    if found is None:
        miss(program, f"{program} is not on PATH")
    return found


def miss(need: str, reason: str) -> NoReturn:
    """Skip the test, or fail where JOBWS_REQUIRE names what it needs."""
    if need in os.environ.get("JOBWS_REQUIRE", "").split(","):
        pytest.fail(f"{need} is required here (JOBWS_REQUIRE): {reason}")
    pytest.skip(reason)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds that nothing tells of; fails after 60 s."""
    with anyio.fail_after(EVENTUALLY_SECONDS):
        while not await anyio.to_thread.run_sync(holds):
            await anyio.sleep(0.01)
