"""Builds the commands that read the log lines of jobs, and parses the replies. Pure.

If a job's hash exists, `job.log()` appends a line to the list `<job>:logs`, and keeps the last `keepLogs` lines of it
(addLog-2.lua). When a job is removed, BullMQ deletes its list.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct

from jobws.bullmq import nested_queues
from jobws.bullmq.keys import Queue
from jobws.errors import RedisUnavailableError
from jobws.privacy.paths import REDACTED
from jobws.redis.commands import is_wrong_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.redis.commands import Command


class JobLogSlice(Struct, frozen=True):
    """Which log lines of a job to read: up to `limit`, from the index `start` on, or the last ones if that is None.

    If `is_hidden` is true, each line that is read is replaced by `[redacted]`.
    """

    queue: Queue
    job_id: str
    start: int | None
    limit: int
    is_hidden: bool

    @property
    def lines(self) -> Command:
        """The command that reads the lines."""
        begin, end = (-self.limit, -1) if self.start is None else (self.start, self.start + self.limit - 1)
        return "LRANGE", self.queue.key(f"{self.job_id}:logs"), begin, end

    @property
    def nested(self) -> list[Command]:
        """The commands whose replies `is_foreign` reads."""
        return nested_queues.commands(self.queue, [self.job_id.encode()])

    def is_foreign(self, replies: Sequence[object]) -> bool:
        """Whether the list belongs to a job of another queue; see `nested_queues`."""
        return bool(nested_queues.foreign([self.job_id.encode()], replies))


class JobLogSlices(Struct, frozen=True):
    """A query to Redis for slices of the log lines of many jobs, in one round trip.

    The answer has one item per slice: the lines, and how many lines the job has in all. This number is None if the
    slice has a `start`. For the last lines, Redis reads lines and number in one transaction, since the number says
    which indexes the lines have. An item is None if Redis cannot read this list now; the other items are not affected.
    """

    slices: tuple[JobLogSlice, ...]

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        commands: list[Command] = []
        for each in self.slices:
            if each.start is None:
                length: Command = ("LLEN", each.queue.key(f"{each.job_id}:logs"))
                commands += (("MULTI",), length, each.lines, ("EXEC",))
            else:
                commands.append(each.lines)
            commands += each.nested
        return commands

    def parse(self, replies: Sequence[object]) -> list[tuple[list[bytes], int | None] | None]:
        """Return the answer, from the replies to `commands`.

        A key that is not a list, or belongs to another queue, counts as an empty one.
        """
        left = iter(replies)
        found: list[tuple[list[bytes], int | None] | None] = []
        for each in self.slices:
            if each.start is not None:
                length, read = None, next(left)
            else:
                *_, executed = islice(left, 4)
                length, read = executed if isinstance(executed, list) else (0, None)
            if each.is_foreign([*islice(left, len(each.nested))]):
                length, read = (None if length is None else 0), []
            lines = _lines(read, each)
            # The reply to LLEN is an error if the key is not a list.
            found.append(None if lines is None else (lines, 0 if isinstance(length, Exception) else length))
        return found


class JobLogPage(Struct, frozen=True):
    """A query to Redis for one slice of a job's log lines, how many lines it has in all, and whether the job exists."""

    slice: JobLogSlice

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        queue, job_id = self.slice.queue, self.slice.job_id
        exists: Command = ("HEXISTS", queue.key(job_id), "timestamp")
        length: Command = ("LLEN", queue.key(f"{job_id}:logs"))
        return [("MULTI",), exists, length, self.slice.lines, *self.slice.nested, ("EXEC",)]

    def parse(self, replies: Sequence[object]) -> tuple[list[bytes], int, bool]:
        """Return the lines, how many lines the job has in all, and whether the job exists.

        Raises:
            RedisUnavailableError: Redis cannot answer now.
        """
        executed = replies[-1]
        if not isinstance(executed, list):
            raise RedisUnavailableError(f"Redis cannot read log lines now: {executed}")
        exists, length, lines, *nested = executed
        if self.slice.is_foreign(nested):
            return [], 0, False
        found = _lines(lines, self.slice)
        if found is None:
            raise RedisUnavailableError(f"Redis cannot read log lines now: {lines}")
        return found, length if isinstance(length, int) else 0, exists == 1


def _lines(reply: object, slice: JobLogSlice) -> list[bytes] | None:
    """Return the lines of the reply to a slice.

    None means an error such as BUSY or NOPERM, with which Redis says nothing about the list.
    """
    if isinstance(reply, list):
        return [REDACTED.encode()] * len(reply) if slice.is_hidden else reply
    # WRONGTYPE: the key is no list, but the hash of another job, whose id ends in `:logs`.
    return [] if is_wrong_type(reply) else None
