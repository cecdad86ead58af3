"""Shows what the worker logs. The lines of a job are shown before the job's outcome."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio

from jobws.cli.follow import shown
from jobws.demo.job import COMPLETED, FAILED
from jobws.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import Console

    from jobws.client import LogLines

# Lines and events come over two connections, in any order. The outcome of a job waits this long for the job's lines.
PATIENCE_SECONDS: Final = 2.0


class WorkerLog:
    """Shows log lines. Counts, for each job, the lines that report the end of an attempt.

    Args:
        lines: The log lines.
        console: Where to show them.
    """

    def __init__(self, lines: LogLines, console: Console) -> None:
        self._lines = lines
        self._console = console
        self._ends: Counter[str] = Counter()
        self._news = anyio.Event()

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show every line that comes during the context. The context's exception is raised as it is, not in a group."""
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._show)
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again below
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _show(self) -> None:
        with suppress(ClientError):  # then `told`, which waits for the missing lines, returns False
            async for line in self._lines:
                self._console.print(shown(line), soft_wrap=True)
                if line.job_id is not None and line.message.startswith((COMPLETED, FAILED)):
                    self._ends[line.job_id] += 1
                    self._news.set()
                    self._news = anyio.Event()

    async def told(self, job_id: str, attempts: int) -> bool:
        """Wait until the ends of `attempts` attempts at the job were shown, at most 2 s. Return whether they were."""
        with anyio.move_on_after(PATIENCE_SECONDS):
            while self._ends[job_id] < attempts:
                await self._news.wait()
        return self._ends[job_id] >= attempts
