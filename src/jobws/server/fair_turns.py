"""Divides the time of the event loop between the work for all clients and all other work, such as job events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import anyio

from jobws.turn import SECONDS

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


class FairTurns:
    """Lets the work for all clients together take half a millisecond, and then other tasks or nobody, for as long.

    If the bridge never slept, the system would let Redis and the clients wait some milliseconds for the processor.

    Before each piece of work, a client awaits `pause`. It then does the work inside this object as a context manager,
    without waiting. `run` does both for work in short steps. Clients for whose work there was no time are served in the
    order in which they came. So a hundred clients that send as fast as they can delay an event of a job by a few
    milliseconds, and not by a hundred times the work of one.
    """

    __slots__ = ("_began", "_lock", "_spent")

    def __init__(self) -> None:
        self._lock = anyio.Lock()
        self._spent = 0.0
        self._began = 0.0

    async def pause(self) -> None:
        """Wait for half a millisecond if work for clients has taken as long since this last waited.

        Otherwise return immediately. On Linux the wait takes 1 to 1.5 ms, since epoll(7) counts whole milliseconds. Of
        several clients that wait, the first to come goes on first.
        """
        if self._spent >= SECONDS:
            async with self._lock:
                if self._spent >= SECONDS:  # otherwise a client before this one has waited
                    await anyio.sleep(SECONDS)
                    self._spent = 0.0

    async def run(self, steps: Generator[None, None, T]) -> T:
        """Take all steps, and pause between them when `pause` would wait. Return what the generator returns.

        If this is cancelled, the rest of the steps are taken without a pause, so that no work is left half done.
        """
        try:
            while True:
                await self.pause()
                with self:
                    while not self._is_over:
                        next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        except BaseException:
            for _ in steps:
                pass
            raise

    @property
    def _is_over(self) -> bool:
        return self._spent + time.perf_counter() - self._began >= SECONDS

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._spent += time.perf_counter() - self._began
