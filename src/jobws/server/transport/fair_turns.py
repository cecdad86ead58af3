"""Divides the time of the event loop between the messages of all clients and all other work, such as job events."""

from __future__ import annotations

import time
from typing import Final

import trio

SECONDS: Final = 0.001


class FairTurns:
    """Lets the work for all clients together take a millisecond, and then other tasks run.

    Before each piece of work, a client awaits `pause`. It then does the work inside this object as a context manager,
    without waiting. Clients for whose work there was no time are served in the order in which they came. So a hundred
    clients that send as fast as they can delay an event of a job by a few milliseconds, and not by a hundred times the
    work of one.
    """

    __slots__ = ("_began", "_lock", "_spent")

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._spent = 0.0
        self._began = 0.0

    async def pause(self) -> None:
        """Wait, so that other tasks run, if work for clients has taken a millisecond since this method last waited.

        Otherwise return immediately. Of several clients that wait, the first to come goes on first.
        """
        if self._spent >= SECONDS:
            async with self._lock:  # other tasks run, at least once for each client that waits
                self._spent = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._spent += time.perf_counter() - self._began
