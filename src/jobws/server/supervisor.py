"""Keeps a task alive: a crash is logged and counted, and the task is started again. Other tasks do not notice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from jobws.redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONGEST_PAUSE_SECONDS: Final = 10.0
# After this time without a crash, the next crash counts as the first one, and the pause is short again.
HEALTHY_SECONDS: Final = 60.0

_log: Final = logging.getLogger(__name__)


class Health:
    """The health of a supervised task: how often it crashed, and its last crash.

    Attributes:
        crashes: How often the task crashed.
    """

    def __init__(self) -> None:
        self.crashes = 0
        self._last = ""
        self._at = 0.0

    def note(self, problem: str, now: float) -> None:
        """Record the crash `problem` at `now`, in seconds of anyio's clock."""
        self.crashes += 1
        self._last = problem
        self._at = now

    def problem(self, now: float) -> str | None:
        """Return the last crash if it was less than a minute before `now`. Otherwise return None: the task is well."""
        return self._last if self.crashes and now - self._at < HEALTHY_SECONDS else None


async def supervise(name: str, run: Callable[[], Awaitable[None]], health: Health) -> None:
    """Run `run` forever: after it crashes or returns, run it again after a pause. The pauses grow (see `Retry`).

    Only cancellation ends the loop: `except Exception` does not catch it, nor an exception group that contains it.
    """
    retry = Retry(LONGEST_PAUSE_SECONDS)
    while True:
        started = anyio.current_time()
        try:
            await run()
            problem = "it returned, though it should run for ever"
            _log.error("%s ended: %s", name, problem)
        except Exception as error:  # noqa: BLE001 - a crash must not end other tasks
            problem = f"{type(error).__name__}: {error}"
            _log.exception("%s crashed and is started again", name)
        now = anyio.current_time()
        health.note(problem, now)
        if now - started >= HEALTHY_SECONDS:
            retry.reset()
        await anyio.sleep(retry.fail())
