"""Splits long work into steps of half a millisecond. Other tasks can run after each step."""

from __future__ import annotations

import time
from typing import Final

import anyio.lowlevel

SECONDS: Final = 0.0005


class Turn:
    """Measures the steps of one piece of work. The first step begins when this object is made."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = time.perf_counter() + SECONDS

    async def pause(self) -> None:
        """End the step if it has lasted half a millisecond: let other tasks run, then begin the next step.

        Otherwise return immediately, even if the task is cancelled.
        """
        if time.perf_counter() > self._ends:
            await anyio.lowlevel.checkpoint()
            self._ends = time.perf_counter() + SECONDS
