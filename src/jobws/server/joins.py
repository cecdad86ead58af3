"""What subscriptions need of Redis: the look-up before their answers.

All that were asked for within one turn of the loop are one batch: one look-up, one task, whoever asked.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import anyio

from jobws.hub.connection import UNAVAILABLE
from jobws.protocol.identifiers import START
from jobws.protocol.messages import ItemError
from jobws.server.reading_back import persist
from jobws.server.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from jobws.bullmq.store import Store
    from jobws.hub.connection import Connection
    from jobws.hub.fanout import Fanout
    from jobws.hub.joining import Join
    from jobws.protocol.messages import Cursor
    from jobws.server.queues import Queues

    Waiting: TypeAlias = "list[tuple[Connection, Join]]"

INTERNAL: Final = ItemError("internal", "the bridge failed to look up this subscription")

_log: Final = logging.getLogger(__name__)


class Joins:
    """Brings subscriptions to their answers.

    Args:
        fanout: Where events pass.
        queues: Which queues are read, and how far.
        store: Answers look-ups.
        spawn: Starts a task of the bridge.
        join_seconds: How long a subscription may wait for its answer.
    """

    def __init__(
        self, fanout: Fanout, queues: Queues, store: Store, spawn: Callable[..., Any], join_seconds: float
    ) -> None:
        self._fanout = fanout
        self._queues = queues
        self._store = store
        self._spawn = spawn
        self._join_seconds = join_seconds
        self._next: Waiting = []

    def add(self, connection: Connection, join: Join) -> None:
        """Answer a subscription, with all others of this turn; returns immediately."""
        self._next.append((connection, join))
        if len(self._next) == 1:
            self._spawn(self._begin)

    async def _begin(self) -> None:
        batch, self._next = self._next, []
        # Those that wait for a queue must not hold up the others.
        by_unread: dict[tuple[str, ...], Waiting] = {}
        for connection, join in batch:
            unread = self._queues.unread(join.queues(self._queues.by_label))
            by_unread.setdefault(tuple(unread), []).append((connection, join))
        for queues, some in by_unread.items():
            if queues:
                self._spawn(self._run, some)
        if () in by_unread:
            await self._run(by_unread[()])

    async def _run(self, batch: Waiting) -> None:
        """Answer a batch. What goes wrong ends these subscriptions alone."""
        try:
            with anyio.move_on_after(self._join_seconds):
                await self._answer(batch)
                return
            error = UNAVAILABLE
        except Exception:  # noqa: BLE001 - subscriptions must not end the bridge
            _log.exception("subscriptions failed")
            error = INTERNAL
        for connection, join in batch:
            connection.fail(join, error)

    async def _answer(self, batch: Waiting) -> None:
        while True:
            joins = [join for _, join in batch]
            labels = list(self._queues.by_label)
            queues = _queues_of(joins, labels)
            await self._queues.ready(queues)
            gaps = self._fanout.counts["gaps"]
            seen: Cursor = {queue: self._fanout.cursors.get(queue, START) for queue in queues}
            jobs = [job for join in joins for job in join.jobs(labels) if job[0] in self._queues.by_label]
            look_up = await persist(lambda: self._store.look_up(jobs))  # noqa: B023 - asked in this round
            # What the hash tells of must have been published, or is nowhere; and so must what the client has seen.
            await self._queues.passed({queue: look_up.ends[queue] for queue in queues if queue in look_up.ends})
            if gaps == self._fanout.counts["gaps"] and not self._queues.unread(queues):
                break
        turn = Turn()
        while batch:
            connection, join = batch.pop(0)
            connection.complete(join, look_up, seen, time.time() * 1000)
            await turn.pause()


def _queues_of(joins: Sequence[Join], labels: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(queue for join in joins for queue in join.queues(labels)))
