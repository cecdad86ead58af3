"""What tests share."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import anyio
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTUALLY_SECONDS = 15


def require(program: str, *alternatives: str) -> str:
    """The path of a program; without it the test is skipped, or fails where JOBWS_REQUIRE names it."""
    for name in (program, *alternatives):
        found = shutil.which(name)
        if found is not None:
            return found
    if program in os.environ.get("JOBWS_REQUIRE", "").split(","):
        pytest.fail(f"{program} is required here (JOBWS_REQUIRE) and is not on PATH")
    pytest.skip(f"{program} is not on PATH")


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds that nothing tells of; fails after 15 s."""
    with anyio.fail_after(EVENTUALLY_SECONDS):
        while not await anyio.to_thread.run_sync(holds):
            await anyio.sleep(0.01)
