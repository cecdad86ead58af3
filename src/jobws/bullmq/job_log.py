"""The lists of jobs' log lines: what to ask, and what the answers say. Pure.

`job.log()` is an RPUSH to `<job>:logs` if the job's hash exists, and an LTRIM to the last `keepLogs` lines
(addLog-2.lua); a removed job's list is deleted with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import hiredis
from msgspec import Struct

from jobws.bullmq.keys import Queue
from jobws.errors import RedisUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.redis.commands import Command


class JobLineSlice(Struct, frozen=True):
    """Some lines of a job: `limit` of them from the place `start` on, or the last `limit` (None)."""

    queue: Queue
    job_id: str
    start: int | None
    limit: int

    @property
    def lines(self) -> Command:
        """The command that gets them."""
        begin, end = (-self.limit, -1) if self.start is None else (self.start, self.start + self.limit - 1)
        return "LRANGE", self.queue.key(f"{self.job_id}:logs"), begin, end


class JobLineSlices(Struct, frozen=True):
    """A question to `Store.ask`: slices of many jobs, in one piece.

    The answer has, per slice, its lines, and how many there are in all if `start` is None: both of one moment, since
    only then the lines have places. None: Redis cannot tell them now, though it may tell those of others.
    """

    slices: tuple[JobLineSlice, ...]

    def commands(self) -> list[Command]:
        """The commands whose replies `parse` reads."""
        commands: list[Command] = []
        for each in self.slices:
            if each.start is None:
                length: Command = ("LLEN", each.queue.key(f"{each.job_id}:logs"))
                commands += (("MULTI",), length, each.lines, ("EXEC",))
            else:
                commands.append(each.lines)
        return commands

    def parse(self, replies: Sequence[object]) -> list[tuple[list[bytes], int | None] | None]:
        """The lines, and their number. A key that is no list has none."""
        left = iter(replies)
        found: list[tuple[list[bytes], int | None] | None] = []
        for each in self.slices:
            if each.start is not None:
                lines = _lines(next(left))
                found.append(None if lines is None else (lines, None))
                continue
            *_, executed = (next(left) for _ in range(4))
            length, lines = executed if isinstance(executed, list) else (0, None)
            lines = _lines(lines)
            found.append(None if lines is None else (lines, length if isinstance(length, int) else 0))
        return found


class JobLinePage(Struct, frozen=True):
    """A question to `Store.ask`: some lines of one job, how many there are in all, and whether the job exists."""

    slice: JobLineSlice

    def commands(self) -> list[Command]:
        """The commands whose replies `parse` reads."""
        queue, job_id = self.slice.queue, self.slice.job_id
        exists: Command = ("HEXISTS", queue.key(job_id), "timestamp")
        return [("MULTI",), exists, ("LLEN", queue.key(f"{job_id}:logs")), self.slice.lines, ("EXEC",)]

    def parse(self, replies: Sequence[object]) -> tuple[list[bytes], int, bool]:
        """The lines, how many there are, and whether there is such a job.

        Raises:
            RedisUnavailableError: Redis cannot answer now.
        """
        executed = replies[-1]
        if not isinstance(executed, list):
            raise RedisUnavailableError(f"Redis cannot tell log lines now: {executed}")
        exists, length, lines = executed
        found = _lines(lines)
        if found is None:
            raise RedisUnavailableError(f"Redis cannot tell log lines now: {lines}")
        return found, length if isinstance(length, int) else 0, exists == 1


def _lines(reply: object) -> list[bytes] | None:
    """The lines of a reply. None: it is an error that says nothing about the list, such as BUSY or NOPERM."""
    if isinstance(reply, list):
        return reply
    # The key of another job, whose id ends in `:logs`.
    return [] if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("WRONGTYPE") else None
