"""What tests share."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str, *alternatives: str) -> str:
    """The path of a program; without it the test is skipped, or fails where JOBWS_REQUIRE names it."""
    for name in (program, *alternatives):
        found = shutil.which(name)
        if found is not None:
            return found
    if program in os.environ.get("JOBWS_REQUIRE", "").split(","):
        pytest.fail(f"{program} is required here (JOBWS_REQUIRE) and is not on PATH")
    pytest.skip(f"{program} is not on PATH")
