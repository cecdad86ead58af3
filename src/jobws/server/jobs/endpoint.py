"""The endpoint `/ws`: makes its clients, and looks up in Redis the jobs that they subscribe to.

`JobClient.complete` answers a request from what the look-up found.

Requests to subscribe that arrive in the same turn of the event loop, or within 2 ms while others are looked up, share
one look-up and one task, from whatever client they come.
"""

from __future__ import annotations

import logging
import time
from functools import cache, partial
from typing import TYPE_CHECKING, Final

import anyio

from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.following import FollowingClient
from jobws.hub.jobs.pending import UNAVAILABLE, PendingSubscription
from jobws.hub.jobs.query import Query
from jobws.protocol.messages import ItemError
from jobws.protocol.session import Session
from jobws.server.jobs.flows import Flows
from jobws.server.jobs.gathering import Gathering
from jobws.server.jobs.reading_back import retry_until_available
from jobws.server.jobs.trees import Trees
from jobws.server.websocket.asked_client import judge_client
from jobws.server.websocket.clients import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import TypeAlias

    from jobws.access.sights import AnySight
    from jobws.bullmq.store import Store
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.subscription_counts import SubscriptionCounts
    from jobws.server.fair_turns import FairTurns
    from jobws.server.jobs.queue_readers import Queues
    from jobws.server.jobs.reading_back import ReadingBack
    from jobws.server.settings import Settings
    from jobws.server.tasks import Tasks

    Waiting: TypeAlias = "list[tuple[JobClient, PendingSubscription]]"

# When thousands of clients return, a slow bridge cannot look up in 10 s all that they ask for. So a look-up is divided:
# some clients get an answer in time, and the others when they ask again. Otherwise all answers would be late, each
# time.
SUBSCRIPTIONS_PER_LOOK_UP: Final = 200
# A request with more subscriptions is answered after the others of its look-up.
LONG_LIST: Final = 20
# A request waits for so long at most for a queue that it is not about, and that is read late.
SOON_SECONDS: Final = 0.1
INTERNAL: Final = ItemError("internal", "the bridge failed to look up this subscription")

_log: Final = logging.getLogger(__name__)


class JobEndpoint(Endpoint[JobClient, PendingSubscription]):
    """The endpoint `/ws`.

    Args:
        settings: The limits.
        fanout: Publishes the events.
        queues: The queues that are read.
        store: Reads jobs from Redis.
        flow_store: Reads lists of children from Redis.
        flow_seconds: The pause between two looks at a flow.
        reading_back: Delivers what clients missed.
        tasks: The tasks of the bridge.
        counts: Counts and limits the subscriptions of each holder of tokens or address.
        turns: Limits how long answers to clients take at a time.
    """

    def __init__(
        self,
        settings: Settings,
        fanout: Fanout,
        queues: Queues,
        store: Store,
        flow_store: Store,
        flow_seconds: float,
        reading_back: ReadingBack,
        tasks: Tasks,
        counts: SubscriptionCounts,
        turns: FairTurns,
    ) -> None:
        self._trees = Trees(queues.by_label, flow_store)
        self._flows = Flows(fanout, queues, flow_store, self.look_up, tasks, flow_seconds)
        self._counts = counts
        self._turns = turns
        self._settings = settings
        self._fanout = fanout
        self._queues = queues
        self._store = store
        self._reading_back = reading_back
        self._tasks = tasks
        self._next: Waiting = []
        self._gathering = Gathering()

    def connect(self, wake: Callable[[], None], sight: AnySight) -> JobClient:
        """Make the hub's side of a client of `/ws`; see `Endpoint.connect`."""
        settings = self._settings
        session = Session(self._queues.nameable, settings.max_message_bytes, settings.max_subscriptions, sight)
        limits = settings.max_subscriptions, settings.outbox_bytes
        queues, read_back = self._queues.by_label, self._reading_back.start
        on_flow = self._flows.changed
        return FollowingClient(session, self._fanout, queues, *limits, wake, read_back, self._counts, on_flow)

    def look_up(self, client: JobClient, pending: PendingSubscription) -> None:
        """Have a request answered together with all others that gather with it; see `Gathering` and `Endpoint.look_up`.

        Does nothing while the bridge stops, since the client is being closed.
        """
        if self._tasks.are_running:
            self._next.append((client, pending))
            if len(self._next) == 1:
                self._tasks.spawn(self._begin)

    async def _begin(self) -> None:
        await self._gathering.wait()
        batch, self._next = self._next, []
        # Requests that wait for a queue to be read, or for the jobs of flows to be counted, must not delay the others.
        apart: dict[tuple[bool, tuple[str, ...]], Waiting] = {}
        labels = self._queues.by_label
        everywhere = cache(lambda: self._unread(labels))
        for client, pending in batch:
            sought = [each.among(labels) for each in pending.present if each.request.key.queue is None]
            named = {label for label in pending.queues if label is not None}
            named.update(label for some in sought if some is not labels for label in some)
            awaited = self._unread(named) + (everywhere() if any(some is labels for some in sought) else ())
            # The empty label represents the queues that discovery has not found yet.
            if None in pending.queues and not self._fanout.knows_all:
                awaited += ("",)
            apart.setdefault((bool(pending.tops), awaited), []).append((client, pending))
        immediate = apart.pop((False, ()), None)
        for some in apart.values():
            self._tasks.spawn(self._run, some)
        if immediate is not None:
            await self._run(immediate)

    def _unread(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return those of `labels` for which `Queues.must_wait_for` is true.

        A request about such a queue is answered later than requests about other queues.
        """
        return tuple(queue for queue in labels if self._queues.must_wait_for(queue))

    def _query(self, batch: Sequence[tuple[object, PendingSubscription]]) -> Query:
        return Query((each for _, pending in batch for each in pending.present), self._queues.by_label, self._fanout)

    async def _run(self, batch: Waiting) -> None:
        """Answer requests to subscribe, a part of them at a time (see `divide`).

        If a part takes longer than `join_seconds`, or fails, all requests that were not answered yet are refused.
        """
        error = UNAVAILABLE
        part: Waiting = []
        try:
            while batch:
                part, batch = divide(batch)
                with anyio.move_on_after(self._settings.join_seconds) as scope:
                    await self._answer(part)
                if scope.cancelled_caught:
                    batch = part + batch
                    break
        except Exception:  # noqa: BLE001 - subscriptions must not end the bridge
            _log.exception("subscriptions failed")
            batch, error = part + batch, INTERNAL
        for client, pending in batch:
            client.fail(pending, error)

    async def _answer(self, batch: Waiting) -> None:
        while batch:
            query = await self._ask(batch)
            if flows := [each for each in batch if each[1].tops]:
                async with anyio.create_task_group() as group:
                    for client, pending in flows:
                        group.start_soon(self._count, client, pending)
            while read_again := await self._complete(batch, query):
                await self._queues.wait_until_read(read_again)

    async def _count(self, client: JobClient, pending: PendingSubscription) -> None:
        trees = pending.trees  # with new rights, the request has another dictionary
        trees.update(await self._trees.count(pending.tops, partial(judge_client, client)))

    async def _complete(self, batch: Waiting, query: Query) -> set[str]:
        """Answer the requests that can be answered, and remove these from `batch`. The others stay in it.

        `query` has Redis's answer for all of them.

        Returns:
            The queues whose streams are being read again. Requests about these queues must wait until this has ended.
            If no queue is returned, the requests that are still in `batch` need a new query: each is about a queue that
            was found after the look-up began.
        """
        awaited: set[str] = set()
        batch.sort(key=lambda each: len(each[1].subscriptions) > LONG_LIST)  # a long list delays no short ones
        for _ in range(len(batch)):
            client, pending = batch[0]
            if not query.being_reread(pending.present):  # otherwise some would begin in vain
                try:
                    await self._turns.run(client.complete(pending, query, time.time() * 1000))
                except Exception:  # noqa: BLE001 - one client's subscriptions must not end those of others
                    _log.exception("subscriptions failed")
                    client.fail(pending, INTERNAL)
            # Only now: if this is cancelled, `_run` refuses what is left, and `fail` leaves answered requests alone.
            del batch[0]
            if not pending.is_begun:
                awaited.update(query.being_reread(pending.present))
                batch.append((client, pending))
        return awaited

    async def _ask(self, batch: Waiting) -> Query:
        """Ask Redis for the jobs of a batch, and wait until what happened before the answer is published.

        Requests that would wait for a queue that is read late are removed from the batch; see `_set_apart`.
        """
        if any(None in pending.queues for _, pending in batch):
            await self._queues.scanned()
        query = self._query(batch)
        if query.unknown:
            await self._queues.find(query.unknown)
            query = self._query(batch)
        await self._queues.wait_until_read(query.queues)
        query.note_streams()
        with self._gathering.look_up():
            look_up = await retry_until_available(lambda: self._store.look_up(query.job_ids, query.sought))
        # Two kinds of events must be published before the answer: those that happened before the snapshots were read,
        # and those up to the positions that clients have from other bridges.
        ends = {queue: look_up.ends[queue] for queue in query.queues if queue in look_up.ends}
        if late := await self._queues.wait_until_published(ends, query.known, SOON_SECONDS):
            awaited = self._set_apart(batch, late)
            await self._queues.wait_until_published({queue: ends[queue] for queue in awaited}, query.known)
        query.keep_answer(look_up)
        return query

    def _set_apart(self, batch: Waiting, late: set[str]) -> Collection[str]:
        """Have requests about different queues that are read late served in tasks of their own.

        Those that stay in the batch are about none of them, or all about the same ones. These are returned.
        """
        by_queues: dict[frozenset[str], Waiting] = {}
        for each in batch:
            named = each[1].queues
            by_queues.setdefault(frozenset(late if None in named else late & named), []).append(each)
        awaited = min(by_queues, key=len)
        batch[:] = by_queues.pop(awaited)
        for apart in by_queues.values():
            self._tasks.spawn(self._run, apart)
        return awaited


def divide(batch: Waiting) -> tuple[Waiting, Waiting]:
    """Return the first requests of `batch`, which are looked up next, and the others.

    The first ones have at most SUBSCRIPTIONS_PER_LOOK_UP subscriptions together, unless a single request has more.
    """
    size = 0
    for index, (_, pending) in enumerate(batch):
        size += len(pending.subscriptions)
        if index and size > SUBSCRIPTIONS_PER_LOOK_UP:
            return batch[:index], batch[index:]
    return batch, []
