"""What tests share: how long to wait, and programs that a machine may not have."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NoReturn

import anyio
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# How long tests wait for something that happens soon. Even on a busy machine, only what hangs takes longer.
EVENTUALLY_SECONDS = 60
# How many random walks a test takes. `make test-all` takes eight times as many.
SEEDS = int(os.environ.get("JOBWS_SEEDS", "50"))


def require(program: str, *alternatives: str) -> str:
    """Return the path of a program. If it is missing, skip the test, or fail if JOBWS_REQUIRE names the program."""
    found = next(filter(None, map(shutil.which, (program, *alternatives))), None)
    if found is None:
        miss(program, f"{program} is not on PATH")
    return found


def miss(need: str, reason: str) -> NoReturn:
    """Skip the test for this reason, or fail if the environment variable JOBWS_REQUIRE names the need."""
    if need in os.environ.get("JOBWS_REQUIRE", "").split(","):
        pytest.fail(f"{need} is required here (JOBWS_REQUIRE): {reason}")
    pytest.skip(reason)


async def eventually(holds: Callable[[], bool]) -> None:
    """Ask again and again until a condition holds. Fail after 60 s. For conditions whose change nothing reports."""
    with anyio.fail_after(EVENTUALLY_SECONDS):
        while not await anyio.to_thread.run_sync(holds):
            await anyio.sleep(0.01)
