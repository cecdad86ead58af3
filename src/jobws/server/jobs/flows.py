"""Follows flows: looks again and again at the lists of children, and has new jobs below subscribed to.

Each flow has a task of its own. All of them share one connection to Redis, which does nothing else, and look at a few
hundred jobs at a time.
"""

from __future__ import annotations

import logging
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Final, cast

import anyio

from jobws.bullmq.children import CountChildren, ListChildren, ListParents, ReadEnds, room_of
from jobws.bullmq.family import labels_by_front
from jobws.errors import RedisUnavailableError, RequestError
from jobws.hub.jobs.following import TOO_LARGE
from jobws.hub.jobs.pending import UNAVAILABLE
from jobws.hub.jobs.subscription import ALIVE
from jobws.protocol.identifiers import START, is_after
from jobws.protocol.request_types import Room
from jobws.protocol.requests import may_subscribe
from jobws.server.auto_reset_event import AutoResetEvent
from jobws.server.jobs.trees import MAX_JOBS, own_rooms, portions
from jobws.server.websocket.asked_client import judge_client
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from jobws.bullmq.children import Counts
    from jobws.bullmq.store import Store
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.flow import Flow
    from jobws.hub.jobs.following import FollowingClient
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.hub.jobs.subscription import JobState
    from jobws.protocol.messages import Cursor
    from jobws.protocol.request_types import Sight
    from jobws.server.jobs.queue_readers import Queues
    from jobws.server.tasks import Tasks

# How soon a look may follow the one before.
LEAST_SECONDS: Final = 0.02
# How long the pause between two looks is for each job of the flow, and for each flow of the bridge if each client has
# one. A look takes 0.3 ms and 0.05 ms a job.
SECONDS_PER_JOB: Final = 0.001
SECONDS_PER_FLOW: Final = 0.005
# How much longer it is when all jobs of the flow have ended: one may be retried.
ENDED_FACTOR: Final = 10
# For how long Redis may not tell the children, before the flow ends.
PATIENCE_SECONDS: Final = 10.0

_log: Final = logging.getLogger(__name__)


class Flows:
    """Follows the flows of all clients.

    Args:
        fanout: Publishes the events.
        queues: The queues that are read.
        store: Reads lists of children from Redis.
        look_up: Has the jobs of a request looked up, and answered.
        tasks: The tasks of the bridge.
        seconds: The pause between two looks at a flow.
    """

    def __init__(
        self,
        fanout: Fanout,
        queues: Queues,
        store: Store,
        look_up: Callable[[FollowingClient, PendingSubscription], None],
        tasks: Tasks,
        seconds: float,
    ) -> None:
        self.fanout = fanout
        self.queues = queues
        self.store = store
        self.look_up = look_up
        self.seconds = seconds
        self._tasks = tasks
        self._labels: Mapping[bytes, str] = {}
        self._labelled: set[str] = set()
        self._followed: dict[Flow, AutoResetEvent] = {}
        self._payers: Counter[Hashable] = Counter()  # how many flows are followed for each

    def changed(self, flow: Flow) -> None:
        """Begin to follow a new flow, or wake the task that follows this one; see `Flow.on_change`. Never waits."""
        if flow in self._followed:
            self._followed[flow].set()
        elif not flow.top.ended and self._tasks.are_running:
            self._followed[flow] = AutoResetEvent()
            self._tasks.spawn(self._run, flow)

    async def _run(self, flow: Flow) -> None:
        payer = client_of(flow).payer
        self._payers[payer] += 1
        try:
            await _Follower(self, flow, self._followed[flow]).run()
        except Exception:  # noqa: BLE001 - one flow must not end the bridge
            _log.exception("a flow could not be followed")
            client_of(flow).end_flow(flow, UNAVAILABLE)
        finally:
            del self._followed[flow]
            self._payers -= Counter([payer])  # this also drops a payer whose last flow it was

    def labels(self) -> Mapping[bytes, str]:
        """Return the labels of the queues by what their keys begin with: the same object until there are others."""
        by_label = self.queues.by_label
        if by_label.keys() != self._labelled:
            self._labelled = set(by_label)
            self._labels = labels_by_front(by_label.values())
        return self._labels

    def pause_seconds(self, flow: Flow) -> float:
        """Return how long to wait until the next look, if nothing changes.

        A holder of tokens, or an address, that follows many flows waits longer, and makes no other one wait.
        """
        flows = (self._payers[client_of(flow).payer] or 1) * len(self._payers)
        seconds = max(self.seconds, len(flow.below) * SECONDS_PER_JOB, flows * SECONDS_PER_FLOW)
        return seconds * ENDED_FACTOR if flow.has_ended and not flow.has_unsent_positions else seconds


def client_of(flow: Flow) -> FollowingClient:
    """Return the client that follows a flow."""
    return cast("FollowingClient", flow.top.client)  # the endpoint makes no others


class _Follower:
    """Follows one flow. `changed` is set when something of it has changed."""

    def __init__(self, flows: Flows, flow: Flow, changed: AutoResetEvent) -> None:
        self._flows = flows
        self._flow = flow
        self._changed = changed
        self._client = client_of(flow)
        # What is known of the lists of each job: as many children were found there. Only for jobs whose children have
        # all ended.
        self._counts: dict[Room, Counts] = {}
        # With which outcome a job had ended when its lists were read. After another life there may be new children.
        self._read: dict[Room, JobState] = {}
        # What the lists were read with. With other rights or queues, the same lists may have other jobs for the client.
        self._basis: tuple[object, object] = (None, None)

    async def run(self) -> None:
        """Follow the flow until it ends."""
        flow, failed_at = self._flow, None
        while not flow.top.ended:
            began_at = anyio.current_time()
            try:
                await self._look()
                failed_at = None
            except (RedisUnavailableError, RequestError) as error:
                _log.debug("a flow waits: %s", error)
                self._basis, flow.is_due = (None, None), False
                failed_at = began_at if failed_at is None else failed_at
                if began_at - failed_at >= PATIENCE_SECONDS:
                    self._client.end_flow(flow, UNAVAILABLE)
            with anyio.move_on_after(self._flows.pause_seconds(flow)):
                while not (flow.is_due or flow.top.ended):
                    await self._changed.wait()
            if not flow.top.ended:
                await anyio.sleep_until(began_at + LEAST_SECONDS)

    async def _look(self) -> None:
        """Look at the lists of all jobs of the flow, and wait until the client was sent what it missed of new jobs.

        Then wait until all that happened up to then was published. Jobs that began another life are looked at again.
        """
        flow, fanout, by_label = self._flow, self._flows.fanout, self._flows.queues.by_label
        flow.is_due = False
        reached: Cursor = dict(fanout.verified)
        labels, sight = self._flows.labels(), self._client.session.sight
        if self._basis[0] is not labels or self._basis[1] is not sight:
            self._counts, self._read, self._basis = {}, {}, (labels, sight)
        top = Room(flow.top.request.key.queue, flow.top.request.key.job_id)
        seen = {top, *flow.below}
        await self._descend([top, *flow.below], seen, labels)
        if not flow.was_looked_at and flow.top.request.after is not None:
            orphans = await self._orphans(flow.top.request.after)
            level = [top]
            while level:
                above = {key: room for room in (top, *flow.below) if (key := self._key(room))}
                found = [(room, above[key]) for room, key in orphans.items() if key in above]
                level = await self._enter(seen, found)
                await self._descend(level, seen, labels)
        entered = set(flow.below)
        await self._wait_for_jobs_below()
        queues = [by_label[label] for label in {room.queue or "" for room in (top, *entered)} if label in by_label]
        known = {queue.label: fanout.known(queue.label) for queue in queues}
        ends = await self._flows.store.ask(ReadEnds(tuple(queues)))
        await self._flows.queues.wait_until_published(ends, known)
        # Only now it is known whether jobs that had ended have ended again, perhaps with new children.
        await self._descend([room for room, end in self._read.items() if self._end(room) != end], seen, labels)
        entered |= flow.below.keys()
        await self._wait_for_jobs_below()
        if entered - flow.below.keys() and not flow.top.ended:
            raise RedisUnavailableError("some jobs of the flow could not be looked up")
        if not (flow.is_due or flow.top.ended):
            self._client.note_look(flow, reached)

    async def _descend(self, level: Sequence[Room], seen: set[Room], labels: Mapping[bytes, str]) -> None:
        """Enter the jobs below those of `level`, then the jobs below those that `_enter` returns, and so on."""
        while level and not self._flow.top.ended:
            found: list[tuple[Room, Room]] = []
            turn = Turn()
            for parent, keys in await self._children(level):
                for key in keys:
                    if (room := room_of(key, labels)) is not None:
                        found.append((room, parent))
                    await turn.pause()
            level = await self._enter(seen, found)

    async def _wait_for_jobs_below(self) -> None:
        while not (self._flow.is_caught_up or self._flow.top.ended):
            await self._changed.wait()

    async def _children(self, rooms: Sequence[Room]) -> list[tuple[Room, list[bytes]]]:
        """Return the keys of the children of some jobs, without jobs whose lists cannot have changed.

        If the flow has too many jobs, it is ended, and the list is empty.
        """
        store, flow = self._flows.store, self._flow
        ended = {room: end for room in rooms if (end := self._end(room)) is not ALIVE}
        unread = [room for room in rooms if room not in ended or self._read.get(room) != ended[room]]
        keys = {room: key for room in unread if (key := self._key(room))}
        changed: dict[Room, bytes] = {}
        for some in portions(keys):
            counted = await store.ask(CountChildren(tuple(map(keys.__getitem__, some))))
            for room, counts in zip(some, counted, strict=True):
                if counts.waiting or self._counts.get(room) != counts:
                    changed[room] = keys[room]
                self._counts[room] = counts
        if sum(map(sum, self._counts.values())) > MAX_JOBS:
            self._client.end_flow(flow, TOO_LARGE)
            return []
        found: list[tuple[Room, list[bytes]]] = []
        for some in portions(changed):
            lists = await store.ask(ListChildren(tuple(map(changed.__getitem__, some))))
            found += ((room, [*chain(*each)]) for room, each in zip(some, lists, strict=True))
        self._read = {**{room: end for room, end in self._read.items() if room not in keys}, **ended}
        return found

    def _end(self, room: Room) -> JobState:
        """Return whether a job below is alive, or how it has ended. The job at the top counts as alive."""
        below = self._flow.below.get(room)
        return ALIVE if below is None else below.job_states.get(room.queue or "", ALIVE)

    def _key(self, room: Room) -> bytes | None:
        queue = self._flows.queues.by_label.get(room.queue or "")
        return None if queue is None else queue.key(room.job_id or "")

    async def _enter(self, seen: set[Room], found: Iterable[tuple[Room, Room]]) -> list[Room]:
        """Subscribe to those jobs of `found` that are not in `seen` and that the client may read. Return only these.

        `found` has pairs of a job and the job above it. `seen` has the jobs that this look came to. The first job of
        each pair is added to it, even if the client may not read it.
        """
        new = {room: parent for room, parent in found if room not in seen}
        new = {room: new[room] for room in await own_rooms(self._flows.store, self._flows.queues.by_label, new)}
        seen.update(new)
        if not new or self._flow.top.ended:
            return []
        await judge_client(self._client, lambda sight: self._examine(sight, new))
        before = set(self._flow.below)
        pending = self._client.follow(self._flow, new.items())
        self._flows.look_up(self._client, pending)
        return [room for room in self._flow.below if room not in before]

    def _examine(self, sight: Sight, new: Mapping[Room, Room]) -> None:
        for request in self._flow.requests(new.items()):
            may_subscribe(sight, request)

    async def _orphans(self, after: Cursor) -> dict[Room, bytes]:
        """Return the jobs of all flows that failed after these positions, each with the key of the job above it.

        The lists of the job above may say nothing of such a job (`removeDependencyOnFailure`).
        """
        found: dict[Room, bytes] = {}
        turn = Turn()
        for label, queue in list(self._flows.queues.by_label.items()):
            history, failed = self._flows.fanout.history.of(label), []
            start = after.get(label, START).encode()
            for job_id in [each for each in history.job_ids if each is not None]:
                last = history.last_transition(job_id)
                if last is not None and last.kind.name.text == "failed" and is_after(last.stream_id, start):
                    failed.append(job_id)
                await turn.pause()
            for some in portions(failed):
                parents = await self._flows.store.ask(ListParents(queue, tuple(some)))
                for job_id, parent in zip(some, parents, strict=True):
                    if parent is not None:
                        found[Room(label, job_id.decode(errors="replace"))] = parent
        return found
