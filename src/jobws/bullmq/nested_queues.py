"""Finds out which job ids lead to the keys of another queue. Pure.

The key `bull:http:mail:8` can be that of the job `mail:8` of the queue `http`. It can also be that of the job `8` of a
queue `mail` whose prefix is `bull:http`, or of a queue of BullMQ for Python that is called `http:mail`. If there is
such a nested queue, the key belongs to it. Otherwise a client with a right to `http` could read its jobs, and remove
them.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from jobws.bullmq.keys import Queue
from jobws.redis.commands import is_wrong_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.redis.commands import Command

# Each colon in an id is one more place where the name of a nested queue may end, and one more question to Redis. The
# ids that BullMQ makes for job schedulers have two colons, and those in the scheduler's own id.
MAX_COLONS: Final = 16


def commands(queue: Queue, job_ids: Sequence[bytes]) -> list[Command]:
    """Return the commands whose replies `foreign` reads. There are none if no id has a colon."""
    return [("HEXISTS", queue.key(name + b":meta"), "opts.maxLenEvents") for name in _names(job_ids)]


def foreign(job_ids: Sequence[bytes], replies: Sequence[object]) -> frozenset[bytes]:
    """Return the ids that cannot be those of jobs of the queue, since their keys belong to a nested queue.

    An id with more than MAX_COLONS colons is always one of these. So is one about which Redis does not tell.

    Args:
        job_ids: The same ids for which `commands` was called.
        replies: One reply for each of these commands.
    """
    names = _names(job_ids)
    nested = {name for name, reply in zip(names, replies, strict=True) if reply != 0 and not is_wrong_type(reply)}
    return frozenset(
        job_id
        for job_id in job_ids
        if b":" in job_id and (job_id.count(b":") > MAX_COLONS or not nested.isdisjoint(_names([job_id])))
    )


class AreForeign(Struct, frozen=True):
    """A query to Redis for which of some jobs belong to nested queues. Each job is a queue and an id in UTF-8."""

    jobs: tuple[tuple[Queue, bytes], ...]

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        return [command for queue, job_id in self.jobs for command in commands(queue, [job_id])]

    def parse(self, replies: Sequence[object]) -> list[bool]:
        """Return for each job whether it belongs to a nested queue."""
        left = iter(replies)
        return [bool(foreign([job_id], [*islice(left, len(_names([job_id])))])) for _, job_id in self.jobs]


class HasKeysOfQueue(Struct, frozen=True):
    """A query to Redis for whether the keys of a nested queue begin with the key of a job.

    With the job `mail`, BullMQ removes the key `mail:failed` and four more (includes/removeJobKeys.lua). That key would
    also be the set of failed jobs of a nested queue `mail`.
    """

    queue: Queue
    job_id: str

    def commands(self) -> list[Command]:
        """Return the command whose reply `parse` reads."""
        return commands(self.queue, [self._of_job])

    def parse(self, replies: Sequence[object]) -> bool:
        """Return the answer."""
        return bool(foreign([self._of_job], replies))

    @property
    def _of_job(self) -> bytes:
        return f"{self.job_id}:failed".encode()


def _names(job_ids: Sequence[bytes]) -> list[bytes]:
    """Return the parts of the ids that may be names of nested queues, each once."""
    names: dict[bytes, None] = {}
    for job_id in job_ids:
        if b":" in job_id:
            *parts, _ = job_id.split(b":")[: MAX_COLONS + 1]
            names.update((b":".join(parts[: count + 1]), None) for count in range(len(parts)))
    return list(names)
