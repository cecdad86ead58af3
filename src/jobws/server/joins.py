"""What a subscription needs of Redis: the look-up before its answer, and what is read back behind it.

How much is read back at once depends on what the client takes: its outbox must be less than half full before the next
events go in, so that whoever asks for a thousand results is not taken for slow.
"""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from msgspec import UNSET

from jobws.bullmq.snapshot import by_queue
from jobws.bullmq.stream import Entries
from jobws.errors import RedisUnavailableError
from jobws.hub.connection import UNAVAILABLE
from jobws.hub.replaying import replay, settle
from jobws.protocol.identifiers import position
from jobws.protocol.messages import ItemError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from jobws.bullmq.events import Entry
    from jobws.bullmq.snapshot import LookUp
    from jobws.bullmq.store import Store
    from jobws.hub.connection import Connection
    from jobws.hub.fanout import Fanout
    from jobws.hub.joining import Join
    from jobws.hub.lacking import Unsettled
    from jobws.hub.membership import Member
    from jobws.hub.outbox import Outbox
    from jobws.protocol.messages import JobSnapshot
    from jobws.server.queues import Queues

    Answer = TypeVar("Answer")

# Between two attempts of a look-up while Redis is away; a subscription waits `join_seconds` in all.
RETRY_SECONDS: Final = 0.2
# What is read back in one question, entries or results: each may have megabytes, and most have next to nothing.
FIRST_ENTRIES: Final = 16
MAX_ENTRIES: Final = 256
CHUNK_BYTES: Final = 1024 * 1024

_log: Final = logging.getLogger(__name__)


class Joins:
    """Brings subscriptions from their request to being live.

    Args:
        fanout: Where events pass.
        queues: Which queues are read, and how far.
        store: Answers look-ups.
        result_store: Answers look-ups of results, and reads entries back.
        join_seconds: How long a subscription may wait for its answer.
    """

    def __init__(self, fanout: Fanout, queues: Queues, store: Store, result_store: Store, join_seconds: float) -> None:
        self._fanout = fanout
        self._queues = queues
        self._store = store
        self._result_store = result_store
        self._join_seconds = join_seconds
        # By client, who may read back for it.
        self._turns: dict[Member, anyio.Lock] = {}

    async def run(self, connection: Connection, join: Join) -> None:
        """Answer one subscription, and let it go live. What goes wrong ends this subscription alone."""
        try:
            look_up = None
            with anyio.move_on_after(self._join_seconds):
                look_up = await self._look_up(join)
            if look_up is None:
                connection.fail(join, UNAVAILABLE)
                return
            connection.complete(join, look_up, time.time() * 1000)
            try:
                with anyio.CancelScope() as scope:
                    join.follow(scope.cancel)
                    await self._read_back(connection, join)
                    await self.settle(connection, join.unsettled)
            finally:
                connection.caught_up(join)
        except Exception:  # noqa: BLE001 - one client's subscription must not end the bridge
            _log.exception("a subscription failed")
            connection.fail(join, ItemError("internal", "the bridge failed to look up this subscription"))

    async def _look_up(self, join: Join) -> LookUp:
        if join.unknown or join.is_early:
            await self._queues.scanned()
            await self._queues.find(join.unknown)
            join.found()
        while True:
            await self._queues.ready(join.queues)
            if join.prepare(self._fanout):
                break
        look_up = await persist(lambda: self._store.look_up(join.job_ids))
        # What the hash tells of must have been published, or is nowhere; and so must what the client has seen.
        await self._queues.passed(look_up.ends)
        return look_up

    async def _read_back(self, connection: Connection, join: Join) -> None:
        if join.replays:
            await self._read_lines(join)
            async with self._turn(connection):
                await self._replay(connection, join)

    async def _read_lines(self, join: Join) -> None:
        """Have the log lines told before what is read back, for an outcome comes last."""
        unread = []
        for membership in dict.fromkeys(each.membership for each in join.replays):
            if membership.subscription.logs is not None and not membership.left:
                unread.append(anyio.Event())
                self._fanout.job_lines.drain(membership, membership.lives, unread[-1].set)
        for read in unread:
            await read.wait()

    async def _replay(self, connection: Connection, join: Join) -> None:
        events, count = join.events(), FIRST_ENTRIES
        while some := list(islice(events, count)):
            entries: list[Entry | None] = []
            for queue, group in groupby(some, lambda each: each[0].queue):
                stream_ids = tuple(each.stream_ids[index] for each, index in group)
                known = self._queues.by_label.get(queue)
                if known is None:  # it was forgotten meanwhile, and its entries are gone
                    entries += [None] * len(stream_ids)
                    continue
                question = Entries(known, stream_ids)
                entries += await persist(lambda: self._result_store.ask(question))  # noqa: B023 - asked at once
            for (each, index), entry in zip(some, entries, strict=True):
                await room_for_more(connection.outbox)
                replay(self._fanout, join, each, index, entry)
            size = sum(len(field) for entry in entries if entry is not None for field in entry[1])
            count = _next_count(len(entries), size)

    async def settle(self, member: Member, items: Sequence[Unsettled]) -> None:
        """Give a client the outcomes that its streams do not have."""
        if items:
            async with self._turn(member):
                rest, count = iter(items), FIRST_ENTRIES
                while some := list(islice(rest, count)):
                    count = _next_count(len(some), await self._settle_some(member, some))

    async def _settle_some(self, member: Member, items: Sequence[Unsettled]) -> int:
        """One question for all of them; how many bytes their results have."""
        jobs = {
            unsettled: (unsettled.queue, unsettled.membership.subscription.room.job_id or "") for unsettled in items
        }
        present = {unsettled: job for unsettled, job in jobs.items() if not unsettled.membership.left}
        look_up = await persist(lambda: self._result_store.look_up(by_queue(present.values())))
        # They may have ended again since, with events that are on their way.
        await self._queues.passed(look_up.ends)
        size = 0
        for unsettled, job in present.items():
            if unsettled.membership.left:
                continue  # and the client is perhaps gone: then there would never be room
            await room_for_more(member.outbox)
            found = look_up.found.get(job)
            if not isinstance(found, ItemError):
                # A stream that was emptied ends nowhere.
                end = max(unsettled.end, look_up.moments[job], key=position)
                settle(self._fanout, unsettled._replace(end=end), found)
                size += _size(found)
        return size

    @asynccontextmanager
    async def _turn(self, member: Member) -> AsyncIterator[None]:
        """One at a time reads back for a client, first come, first served: all at once would overfill its outbox."""
        turn = self._turns.setdefault(member, anyio.Lock())
        try:
            async with turn:
                yield
        finally:
            seen = turn.statistics()
            if not seen.locked and not seen.tasks_waiting:
                self._turns.pop(member, None)


async def persist(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer to a question, asked again while Redis is away."""
    while True:
        try:
            return await ask()
        except RedisUnavailableError:
            await anyio.sleep(RETRY_SECONDS)


async def room_for_more(outbox: Outbox) -> None:
    """Wait until a client has taken most of what waits for it, or is gone."""
    if not outbox.roomy:
        roomy = anyio.Event()
        outbox.when_roomy(roomy.set)
        await roomy.wait()


def _next_count(count: int, size: int) -> int:
    """How many to read next, after so many that had `size` bytes."""
    return max(1, min(MAX_ENTRIES, CHUNK_BYTES * count // max(size, 1), 4 * count))


def _size(snapshot: JobSnapshot | None) -> int:
    if snapshot is None:
        return 0
    result = 0 if snapshot.returnvalue is UNSET else len(bytes(snapshot.returnvalue))
    return result + (0 if snapshot.failed_reason is UNSET else len(snapshot.failed_reason))
