"""A long piece of work, done in short steps: others have their turn after each millisecond of it."""

from __future__ import annotations

import time
from typing import Final

import anyio.lowlevel

SECONDS: Final = 0.001


class Turn:
    """One piece of work. It begins with a turn of its own."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = time.perf_counter() + SECONDS

    async def pause(self) -> None:
        """Let others have their turn, if ours has lasted long enough. Cancelling takes effect only then."""
        if time.perf_counter() > self._ends:
            await anyio.lowlevel.checkpoint()
            self._ends = time.perf_counter() + SECONDS
