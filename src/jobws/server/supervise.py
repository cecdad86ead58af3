"""Keeps a task alive: a crash is logged, counted and followed by another start; nobody else notices."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FIRST_WAIT_SECONDS: Final = 0.1
MAX_WAIT_SECONDS: Final = 10.0
# After so long without a crash the next one counts as the first again.
HEALTHY_SECONDS: Final = 60.0

_log: Final = logging.getLogger(__name__)


class Health:
    """What is known of a supervised task.

    Attributes:
        crashes: How often it crashed.
        problem: The last crash, while the task has not yet been well for a minute after it; None: it is well.
    """

    def __init__(self) -> None:
        self.crashes = 0
        self.problem: str | None = None


async def supervise(name: str, run: Callable[[], Awaitable[None]], health: Health) -> None:
    """Run `run` for ever: when it crashes or returns, again after a jittered, growing pause.

    Only cancellation ends it. `Exception` does not include it, nor a group that holds it.
    """
    wait = FIRST_WAIT_SECONDS
    while True:
        started = anyio.current_time()
        try:
            await run()
            problem = "it returned, though it should run for ever"
            _log.error("%s ended: %s", name, problem)
        except Exception as error:  # noqa: BLE001 - keeping the others alive is what this is for
            problem = f"{type(error).__name__}: {error}"
            _log.exception("%s crashed and is started again", name)
        health.crashes += 1
        health.problem = problem
        if anyio.current_time() - started >= HEALTHY_SECONDS:
            wait = FIRST_WAIT_SECONDS
        await anyio.sleep(random.uniform(wait / 2, wait))  # noqa: S311 - not a secret
        wait = min(wait * 2, MAX_WAIT_SECONDS)
