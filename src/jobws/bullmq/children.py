"""Builds the queries that find the jobs below jobs, and parses the replies. Pure.

A job's children are in four lists, `family.LISTS`; each item is the key of a child. The step in which BullMQ adds a
child puts it into the first list of its parent, and the step that ends it moves it to another one. A child with
`removeDependencyOnFailure` that fails is in none. Then only its own hash says which job is above it, in `parentKey`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import hiredis
from msgspec import Struct

from jobws.bullmq.family import LISTS
from jobws.bullmq.keys import Queue
from jobws.errors import RedisUnavailableError, RequestError
from jobws.protocol.identifiers import parse_job_id
from jobws.protocol.request_types import Room
from jobws.redis.commands import is_wrong_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobws.redis.commands import Command

_COUNTS: Final = ("SCARD", "HLEN", "HLEN", "ZCARD")


class Counts(NamedTuple):
    """How many children a job has, by what became of them.

    Attributes:
        waiting: Those that have not ended.
        completed: Those that completed.
        ignored: Those that failed, where the job ignores this.
        failed: The others that failed.
    """

    waiting: int
    completed: int
    ignored: int
    failed: int


class Children(NamedTuple):
    """The keys of a job's children, in the same four groups as `Counts`."""

    waiting: list[bytes]
    completed: list[bytes]
    ignored: list[bytes]
    failed: list[bytes]


class CountChildren(Struct, frozen=True):
    """A query for how many children some jobs have. The jobs are given by their keys."""

    keys: tuple[bytes, ...]

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        return [(command, key + suffix) for key in self.keys for suffix, command in zip(LISTS, _COUNTS, strict=True)]

    def parse(self, replies: Sequence[object]) -> list[Counts]:
        """Return the counts of each job, in the order of `keys`. They are 0 for a job that does not exist.

        Raises:
            RedisUnavailableError: Redis does not tell.
        """
        counts = [each if isinstance(each, int) else 0 for each in map(_checked, replies)]
        return [Counts(*counts[index : index + len(LISTS)]) for index in range(0, len(counts), len(LISTS))]


class ListChildren(Struct, frozen=True):
    """A query for the keys of the children of some jobs. `keys` are those of the jobs themselves."""

    keys: tuple[bytes, ...]

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        return [(command, key + suffix, *rest) for key in self.keys for suffix, (command, *rest) in LISTS.items()]

    def parse(self, replies: Sequence[object]) -> list[Children]:
        """Return the children of each job, in the order of `keys`. There are none for an unknown job.

        Raises:
            RedisUnavailableError: Redis does not tell.
        """
        lists = [each if isinstance(each, list) else [] for each in map(_checked, replies)]
        return [Children(*lists[index : index + len(LISTS)]) for index in range(0, len(lists), len(LISTS))]


class ListParents(Struct, frozen=True):
    """A query for the keys of the jobs above some jobs of one queue."""

    queue: Queue
    job_ids: tuple[bytes, ...]

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        return [("HGET", self.queue.key(job_id), "parentKey") for job_id in self.job_ids]

    def parse(self, replies: Sequence[object]) -> list[bytes | None]:
        """Return the key of the job above each job; None if there is none.

        Raises:
            RedisUnavailableError: Redis does not tell.
        """
        return [each if isinstance(each, bytes) else None for each in map(_checked, replies)]


class ReadEnds(Struct, frozen=True):
    """A query for the id of the newest entry in the stream of each of some queues."""

    queues: tuple[Queue, ...]

    def commands(self) -> list[Command]:
        """Return the commands whose replies `parse` reads."""
        return [("XREVRANGE", queue.key("events"), "+", "-", "COUNT", 1) for queue in self.queues]

    def parse(self, replies: Sequence[object]) -> dict[str, str]:
        """Return the ids by label. A queue whose stream has no entry now is left out.

        Raises:
            RedisUnavailableError: Redis does not tell.
        """
        lists = [each if isinstance(each, list) else [] for each in map(_checked, replies)]
        return {queue.label: each[0][0].decode() for queue, each in zip(self.queues, lists, strict=True) if each}


def _checked(reply: object) -> object:
    """Return a reply, also if it is the error WRONGTYPE. The callers take that as empty.

    Redis answers WRONGTYPE if the key of a list is that of another job, whose id ends like the name of the list.

    Raises:
        RedisUnavailableError: The reply is another error.
    """
    if isinstance(reply, hiredis.ReplyError) and not is_wrong_type(reply):
        raise RedisUnavailableError(f"Redis does not tell the children of jobs: {reply}")
    return reply


def room_of(key: bytes, labels: Mapping[bytes, str]) -> Room | None:
    """Return the queue's label and the id of a job, from its key.

    Ids may hold colons. Of two queues that fit, the one with the longer name is taken.

    Args:
        key: The key.
        labels: The labels of the queues, by what their keys begin with: `<prefix>:<name>:`.

    Returns:
        None if the bridge does not serve the queue, or the id cannot be that of a job.
    """
    colon = key.rfind(b":")
    while colon >= 0:
        label = labels.get(key[: colon + 1])
        if label is not None:
            try:
                return Room(label, parse_job_id(key[colon + 1 :].decode()))
            except (RequestError, UnicodeDecodeError):
                return None
        colon = key.rfind(b":", 0, colon)
    return None
