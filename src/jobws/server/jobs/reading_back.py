"""Reading back: reads from Redis the past events and outcomes that a client must still get, and delivers them.

These are the client's backlog. A client with a backlog has a task of its own, which goes at the speed of the client:
the next event is delivered only when the outbox is at most half full. So a client that asks for a thousand results is
not closed as a slow one.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import anyio
from msgspec import UNSET

from jobws.bullmq.lost_entries import Entries
from jobws.bullmq.snapshot import by_queue
from jobws.errors import RedisUnavailableError
from jobws.hub.jobs.replay import deliver_outcome, replay
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.identifiers import START, later
from jobws.protocol.messages import ItemError
from jobws.protocol.session import Close
from jobws.redis.batch_size import batch_size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from typing import Any

    from jobws.bullmq.store import Store
    from jobws.hub.jobs.client import JobClient
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.missed import Owed, Replay
    from jobws.hub.jobs.queue_history import KnownStream
    from jobws.hub.outbox import Outbox
    from jobws.protocol.messages import JobSnapshot
    from jobws.redis.commands import Entry
    from jobws.server.jobs.queue_readers import Queues

    Answer = TypeVar("Answer")

# The time between two attempts while Redis is unavailable.
RETRY_SECONDS: Final = 0.2
# How many entries or results one query to Redis asks for. Each may have megabytes; most are very small.
FIRST_ENTRIES: Final = 16
MAX_ENTRIES: Final = 256
CHUNK_BYTES: Final = 1024 * 1024
FAILED: Final = Close(CloseCode.INTERNAL_ERROR, "the bridge failed to read back what happened")

_log: Final = logging.getLogger(__name__)


class ReadingBack:
    """Reads from Redis the past events and outcomes that clients must still get, their backlogs, and delivers them.

    `start` begins this for one client.

    Args:
        fanout: Passes events on to the clients.
        queues: The queues that are read.
        store: Reads entries and hashes from Redis.
        spawn: Starts a task of the bridge.
    """

    def __init__(self, fanout: Fanout, queues: Queues, store: Store, spawn: Callable[..., Any]) -> None:
        self._fanout = fanout
        self._queues = queues
        self._store = store
        self._spawn = spawn
        self._busy: set[JobClient] = set()
        # The clients for which `_deliver_late` was started.
        self._with_late: set[JobClient] = set()

    def start(self, client: JobClient) -> None:
        """Start a task that empties the client's backlog, unless such a task is running. Returns immediately."""
        if client not in self._busy:
            self._busy.add(client)
            self._spawn(self._run, client)

    async def _run(self, client: JobClient) -> None:
        try:
            with _closing_on_error(client):
                await self._empty(client)
        finally:
            self._busy.discard(client)
        client.outbox.wake()  # a long poll over HTTP waits for this end

    async def _empty(self, client: JobClient) -> None:
        count = FIRST_ENTRIES
        while backlog := client.backlog:
            events, owed = backlog.take(count)
            if events:
                size = await self._replay(client, events)
            elif owed:
                size = await self._deliver_outcomes(client, owed)
            else:
                client.backlog = None
                return
            count = batch_size(count, size, wanted_bytes=CHUNK_BYTES, most=min(MAX_ENTRIES, 4 * count))

    async def _replay(self, client: JobClient, events: Sequence[tuple[Replay, int]]) -> int:
        """Read events from their streams, deliver them, and return how many bytes their fields have.

        An event is given by a Replay and the index of one of its `stream_ids`.
        """
        entries: list[Entry | None] = []
        for queue, group in groupby(events, lambda each: each[0].queue):
            stream_ids = tuple(of.stream_ids[index] for of, index in group)
            if queue not in self._queues.by_label:  # the queue is gone
                entries += [None] * len(stream_ids)
                continue
            query = Entries(self._queues.by_label[queue], stream_ids)
            entries += await retry_until_available(lambda: self._store.ask(query))  # noqa: B023 - asked in this round
        for (of, index), entry in zip(events, entries, strict=True):
            await wait_for_low_water(client.outbox)
            replay(self._fanout, of, index, entry)
        return sum(len(field) for entry in entries if entry is not None for field in entry[1])

    async def _deliver_outcomes(self, client: JobClient, owed: Sequence[Owed]) -> int:
        """Read outcomes from their jobs' hashes, deliver them, and return how many bytes the results have."""
        owed = [each for each in owed if each.queue in self._queues.by_label]  # the other queues are gone
        jobs = [(each.queue, each.subscription.request.key.job_id or "") for each in owed]
        # While a stream is read again, its cursor has gone back, and some clients have not got their `gap` yet. Wait
        # until that has ended.
        await self._queues.wait_until_read({queue for queue, _ in jobs})
        known = {queue: self._fanout.known(queue) for queue, _ in jobs}
        look_up = await retry_until_available(lambda: self._store.look_up(by_queue(jobs)))
        outcomes = []
        for each, job in zip(owed, jobs, strict=True):
            found = look_up.found.get(job)
            if not isinstance(found, ItemError):
                outcomes.append(_Outcome(each, found, later(look_up.moments[job], known[each.queue].cursor)))
            elif each.is_due:
                each.subscription.clear_owed(each.queue)  # the next sweep looks the job up again
        late = await self._deliver(client, outcomes, known)
        if late and client not in self._with_late:
            self._with_late.add(client)
            self._spawn(self._deliver_late, client, late, known)
            late = []
        while late:  # results that wait take memory, so a client has only one task for them
            late = await self._deliver(client, late, known)
        return sum(_size(each.snapshot) for each in outcomes)

    async def _deliver(
        self, client: JobClient, outcomes: Sequence[_Outcome], known: Mapping[str, KnownStream]
    ) -> list[_Outcome]:
        """Deliver outcomes, and return those before which events are not published yet after some seconds.

        `known` is, by label, what was known of the streams before the look-up.
        """
        ends: dict[str, str] = {}
        for each in outcomes:
            ends[each.owed.queue] = later(ends.get(each.owed.queue, START), each.last)
        # A hash may show an outcome whose event is not published yet. The event comes first.
        lagging = await self._queues.wait_until_published(ends, known)
        late = []
        for each in outcomes:
            subscription, queue = each.owed
            if subscription.ended:
                continue  # if its client is gone, waiting for room would never end
            await wait_for_low_water(client.outbox)
            if deliver_outcome(self._fanout, each.owed, each.snapshot, each.last, known[queue]):
                continue
            if queue in lagging:
                late.append(each)
            else:  # nothing would end the wait
                subscription.clear_owed(queue)
                client.owe(subscription, queue)
        return late

    async def _deliver_late(self, client: JobClient, late: list[_Outcome], known: Mapping[str, KnownStream]) -> None:
        """Deliver the outcomes that `_deliver` returned, however long this takes."""
        with _closing_on_error(client):
            while late:
                late = await self._deliver(client, late, known)
        self._with_late.discard(client)


class _Outcome(NamedTuple):
    """What the hash of a job showed, for a subscription that is owed the outcome.

    `snapshot` is None if the job was gone. `last` is the highest id of the stream that was known by then.
    """

    owed: Owed
    snapshot: JobSnapshot | None
    last: str


@contextmanager
def _closing_on_error(client: JobClient) -> Iterator[None]:
    """Close the client if an error is raised in the context, and log it: its backlog must not end the bridge."""
    try:
        yield
    except Exception:  # noqa: BLE001 - see above
        _log.exception("reading back failed")
        client.close(FAILED)


async def retry_until_available(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Call `ask` again and again until it raises no RedisUnavailableError, and return its result."""
    while True:
        try:
            return await ask()
        except RedisUnavailableError:
            await anyio.sleep(RETRY_SECONDS)


async def wait_for_low_water(outbox: Outbox) -> None:
    """Wait until a client's outbox is at most half full, or the client is gone."""
    if not outbox.below_low_water:
        reached = anyio.Event()
        outbox.when_below_low_water(reached.set)
        await reached.wait()


def _size(snapshot: JobSnapshot | None) -> int:
    if snapshot is None:
        return 0
    result = 0 if snapshot.returnvalue is UNSET else len(bytes(snapshot.returnvalue))
    return result + (0 if snapshot.failed_reason is UNSET else len(snapshot.failed_reason))
