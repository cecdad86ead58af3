"""Counts the workers of a queue among the clients of Redis. Pure.

BullMQ gives the connection on which a worker waits for jobs a name: `<prefix>:<name of the queue>`, and then
`:w:<name of the worker>` if it has one. BullMQ for Node encodes the queue's name in base64, and names this connection
alone. BullMQ for Python does not encode it, and gives the name to all connections of the worker.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from typing import TYPE_CHECKING, Final

import hiredis
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.bullmq.keys import Queue
    from jobws.redis.commands import Command

_CLIENT: Final = re.compile(rb"^.*? name=(\S*) .*? db=(\d+) .*? cmd=(\S+)", re.MULTILINE)
# With these a worker waits for jobs: BullMQ 5 and later, and 4. It is the last command of this connection while the
# worker works, too.
_WAITING: Final = frozenset({b"bzpopmin", b"brpoplpush"})


class Workers(Struct, frozen=True):
    """What Redis's list of its clients says about workers. Only names of connections are kept, not their addresses.

    Attributes:
        names: By name, how many connections have it.
        waiting: By name, how many of these connections last sent a command that waits for a job, or a `CLIENT` command.
            The former is the last command even while the worker has a job. The latter is that of a new worker, which
            has just named its connection.
        all_named: Whether each connection whose last command waits for a job has a name with a colon. Such are the
            names that BullMQ gives.
    """

    names: Counter[bytes]
    waiting: Counter[bytes]
    all_named: bool

    def of(self, queue: Queue) -> int | None:
        """Return how many workers the queue has. None if there may be more, because a worker has no name."""
        if not self.all_named:
            return None
        prefix, name = queue.prefix.encode(), queue.name.encode()
        from_node = b"%b:%b" % (prefix, b64encode(name))
        from_python = b"%b:%b" % (prefix, name)
        count = sum(number for each, number in self.names.items() if _is(each, from_node))
        return count + sum(number for each, number in self.waiting.items() if _is(each, from_python))


class AskForWorkers(Struct, frozen=True):
    """A query to Redis for its clients that use the database `db`. Some of them are workers."""

    db: int

    def commands(self) -> Sequence[Command]:
        """Return the commands whose replies `parse` reads."""
        return [("CLIENT", "LIST", "TYPE", "normal")]

    def parse(self, replies: Sequence[object]) -> Workers | None:
        """Return the workers. None if Redis refuses to tell."""
        (reply,) = replies
        if isinstance(reply, hiredis.ReplyError) or not isinstance(reply, bytes):
            return None
        names: Counter[bytes] = Counter()
        waiting: Counter[bytes] = Counter()
        all_named = True
        for name, db, command in _CLIENT.findall(reply):
            if int(db) != self.db:
                continue
            names[name] += 1
            # A connection of a worker that has never waited has set its name last.
            if command in _WAITING or command.startswith(b"client"):
                waiting[name] += 1
            if command in _WAITING and b":" not in name:
                all_named = False
        return Workers(names, waiting, all_named)


def _is(name: bytes, of_queue: bytes) -> bool:
    return name == of_queue or name.startswith(of_queue + b":w:")
