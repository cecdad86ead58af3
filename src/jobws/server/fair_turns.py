"""Divides the time of the event loop between the work for all clients and all other work, such as job events."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.lowlevel

from jobws.turn import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")


class FairTurns:
    """Lets the work for all clients together take half a millisecond, and then other tasks.

    Before each piece of work, a client awaits `pause`. It then does the work inside this object as a context manager,
    without waiting. `run` does both for work in short steps. Clients for whose work there was no time are served in the
    order in which they came. So a hundred clients that send as fast as they can delay an event of a job by a few
    milliseconds, and not by a hundred times the work of one.

    Args:
        clock: Returns seconds that never go back. It measures the work.
    """

    __slots__ = ("_began", "_clock", "_lock", "_rest_due", "_resting", "_spent")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = anyio.Lock()
        self._resting = anyio.Lock()
        self._spent = 0.0
        # In seconds: for how long long work must still rest; see `run`.
        self._rest_due = 0.0
        self._began = 0.0

    async def pause(self) -> None:
        """Let other tasks run if work for clients has taken half a millisecond since they last ran.

        Otherwise return immediately. Of several clients that wait, the first to come goes on first.
        """
        if self._spent >= SECONDS:
            async with self._lock:
                if self._spent >= SECONDS:  # otherwise a client before this one has waited
                    await anyio.lowlevel.checkpoint()
                    self._spent = 0.0

    async def run(self, steps: Generator[None, None, T]) -> T:
        """Take all steps, and pause between them when `pause` would wait. Return what the generator returns.

        Work that has taken half a millisecond is long. After each half millisecond of long work, all of it rests for as
        long, and short work goes on: the system would let Redis and the clients wait some milliseconds for the
        processor if the bridge never slept. On Linux a rest takes 1 to 1.5 ms, since epoll(7) counts whole
        milliseconds.

        If this is cancelled, the rest of the steps are taken without a pause, so that no work is left half done.
        """
        taken = 0.0
        try:
            while True:
                if taken >= SECONDS:
                    await self._rest()
                await self.pause()
                began = self._clock()
                with self:
                    while not self._is_over:
                        next(steps)
                turn = self._clock() - began
                taken += turn
                if taken >= SECONDS:
                    self._rest_due += min(turn, SECONDS)  # no more than the next rest takes off
        except StopIteration as end:
            result: T = end.value
            return result
        except BaseException:
            for _ in steps:
                pass
            raise

    async def _rest(self) -> None:
        async with self._resting:
            if self._rest_due >= SECONDS:
                await anyio.sleep(SECONDS)
                self._rest_due -= SECONDS

    @property
    def _is_over(self) -> bool:
        return self._spent + self._clock() - self._began >= SECONDS

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(self, *_: object) -> None:
        self._spent += self._clock() - self._began
