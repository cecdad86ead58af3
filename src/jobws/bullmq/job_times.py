"""A query to Redis for when jobs were added. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from jobws.bullmq.keys import Queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.redis.commands import Command


class AddedAt(Struct, frozen=True):
    """A query to Redis for when jobs of a queue were added. `job_ids` are their ids."""

    queue: Queue
    job_ids: tuple[bytes, ...]

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        return [("HGET", self.queue.key(job_id), "timestamp") for job_id in self.job_ids]

    def parse(self, replies: Sequence[object]) -> list[int]:
        """Return when the jobs were added, in milliseconds since 1970 on their producers' clocks.

        The times are in the order of `job_ids`. A job whose time is unknown is left out.
        """
        return [int(reply) for reply in replies if isinstance(reply, bytes) and reply.isdigit()]
