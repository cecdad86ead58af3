"""Flows in memory, in steps: jobs below jobs in Redis, and a bridge that follows them.

The bridge's `Flows` is the real one. The test decides when Redis answers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from jobws.bullmq.keys import Queue
from jobws.errors import RedisUnavailableError
from jobws.hub.jobs.following import FollowingClient
from jobws.hub.jobs.missed import FINISHED
from jobws.protocol.identifiers import position
from jobws.protocol.session import Session
from jobws.server.jobs.flows import Flows
from tests.hub import world
from tests.hub.world import SKEWS, Hash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobws.bullmq.snapshot import Job
    from jobws.bullmq.store import RedisQuery
    from jobws.hub.jobs.client import JobClient
    from jobws.hub.jobs.flow import Flow
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.protocol.request_types import Sight
    from jobws.redis.commands import Command

    Choose = Callable[[int], int]

MAX_JOBS = 12
DEPENDENCIES = ":dependencies"
# Where a job that failed is in the lists of the job above it; None: in none (`removeDependencyOnFailure`).
FAILED = (":failed", ":unsuccessful", None)


def key(job: Job) -> bytes:
    return f"bull:{job[0]}:{job[1]}".encode()


class Redis(world.Redis):
    """Streams and hashes, and the lists of a flow: by job, its children and the list in which each is."""

    def __init__(self, choose: Choose, queues: tuple[str, ...]) -> None:
        super().__init__(choose, queues, frozenset())
        self.top = (queues[0], "top")
        self.lists: dict[Job, dict[Job, str]] = {self.top: {}}
        self.above: dict[Job, Job] = {}
        self.on_orphan: Callable[[Job], None] = lambda _job: None
        self._live(self.top, "added")

    def write(self) -> None:
        """Let something happen to a job of the flow, or to another one, as it could with BullMQ."""
        jobs = [job for job in self.lists if job in self.hashes]
        alive = [job for job in jobs if self.hashes[job].state not in FINISHED]
        ended = [job for job in jobs if self.hashes[job].state in FINISHED and self.is_listed(job)]
        match self.choose(10):
            case 0 | 1 if alive and len(self.lists) < MAX_JOBS:
                self.add_below(alive[self.choose(len(alive))])
            case 2 if alive and len(self.lists) < MAX_JOBS:  # ends, and is perhaps retried, before anybody looks
                job = self.add_below(alive[self.choose(len(alive))])
                self.finish(job)
                if self.is_listed(job) and job in self.hashes and self.choose(2):
                    self.retry(job)
            case 3 | 4 | 5 if len(alive) > 1 or (alive and not self.choose(4)):
                self.finish(alive[self.choose(len(alive))])
            case 6 | 7 if ended:
                job = ended[self.choose(len(ended))]
                self.retry(job)
                if len(self.lists) < MAX_JOBS and self.choose(3):  # a whole life before anybody looks
                    self.finish(self.add_below(job))
                    self.finish(job)
            case 8 if jobs and not self.choose(3):
                self._remove(jobs[self.choose(len(jobs))])
            case _:
                job = alive[self.choose(len(alive))] if alive else (self.queues[0], "stranger")
                self._add(job, "progress")

    def is_listed(self, job: Job) -> bool:
        return job == self.top or job in self.lists[self.above[job]]

    def add_below(self, parent: Job) -> Job:
        job = self.queues[self.choose(len(self.queues))], str(len(self.above) + 1)
        self.above[job], self.lists[job], self.lists[parent][job] = parent, {}, DEPENDENCIES
        self._live(job, "added")
        return job

    def finish(self, job: Job) -> None:
        name = ("completed", "completed", "failed")[self.choose(3)]
        number = self._add(job, name, prev="active")
        self.hashes[job] = Hash(name, number, self.moment + SKEWS[self.choose(len(SKEWS))])
        if job == self.top:
            return
        # No job that has children is in no list: what is below it would then be linked to the flow no more.
        place = ":processed" if name == "completed" else FAILED[self.choose(2 if self.lists[job] else 3)]
        if place is None:
            del self.lists[self.above[job]][job]
            self.on_orphan(job)
        else:
            self.lists[self.above[job]][job] = place
            if name == "completed" and not self.lists[job] and not self.choose(4):
                del self.hashes[job]  # removeOnComplete

    def retry(self, job: Job) -> None:
        self._live(job, "waiting", prev=self.hashes[job].state)
        if job != self.top:
            self.lists[self.above[job]][job] = DEPENDENCIES

    def _remove(self, job: Job) -> None:
        if job != self.top and not self.lists[job]:
            del self.hashes[job]
            # One that has ended stays in the list in which it is (includes/removeParentDependencyKey.lua).
            if self.lists[self.above[job]].get(job) == DEPENDENCIES:
                del self.lists[self.above[job]][job]
            self._add(job, "removed", prev="wait")

    def linked(self, sees: Callable[[Job], bool]) -> set[Job]:
        """Return the jobs of the flow that Redis links to it, as far as a client sees them."""
        found, level = {self.top}, [self.top]
        while level:
            parent = level.pop()
            orphans = [job for job, above in self.above.items() if above == parent and job in self.hashes]
            new = [job for job in (*self.lists[parent], *orphans) if job not in found and sees(job)]
            found.update(new)
            level += new
        return found

    def reply(self, command: Command) -> object:
        """Answer a command of `bullmq.children`."""
        name, text = command[0], command[1].decode() if isinstance(command[1], bytes) else ""
        if name == "XREVRANGE":
            queue = text.split(":")[1]
            return [[self.end(queue).encode(), []]] if self.streams[queue] else []
        _, queue, job_id, *rest = text.split(":")
        job = queue, job_id
        if name == "HGET":
            return key(self.above[job]) if job in self.hashes and job in self.above else None
        children = [key(child) for child, place in self.lists.get(job, {}).items() if place == ":" + rest[0]]
        return children if name in ("SMEMBERS", "HKEYS", "ZRANGE") else len(children)


class Below(NamedTuple):
    """The queues of a bridge, as `Flows` uses them."""

    by_label: Mapping[str, Queue]
    wait_until_published: Callable[..., Any]


class Bridge(world.Bridge):
    """A hub, what reads Redis for it, and what follows its flows."""

    def __init__(self, redis: Redis, sight: Sight, nursery: trio.Nursery) -> None:
        super().__init__(redis)
        self.reply = redis.reply
        self.sight = sight
        self.nursery = nursery
        self.asking: list[trio.Event] = []
        self.moved = trio.Event()
        self.are_running = True
        by_label = {label: Queue(label, "bull", label) for label in redis.queues}
        queues: Any = Below(by_label, self._wait_until_published)
        store: Any = self
        tasks: Any = self
        self.flows = Flows(self.fanout, queues, store, self._look_up, tasks, 0.5)
        self.flow: Flow | None = None

    def connect(self) -> JobClient:
        session = Session(self.redis.queues, 262144, 100, self.sight)
        queues = dict.fromkeys(self.redis.queues)
        client = FollowingClient(
            *(session, self.fanout, queues, 100, 1 << 24, lambda: None, lambda _: None), on_flow=self._changed
        )
        self.connections.append(client)
        return client

    def _changed(self, flow: Flow) -> None:
        self.flow = flow
        self.flows.changed(flow)

    def spawn(self, run: Callable[..., Any], *arguments: object) -> None:
        self.nursery.start_soon(run, *arguments)

    def _look_up(self, client: JobClient, pending: PendingSubscription) -> None:
        self.pending.append((client, pending, None))

    async def ask(self, query: RedisQuery[Any]) -> Any:
        """Wait until the test lets Redis answer."""
        event = trio.Event()
        self.asking.append(event)
        await event.wait()
        if not self.redis.calm and self.redis.choose(30) == 0:
            raise RedisUnavailableError("Redis is away for a moment")
        return query.parse([self.reply(command) for command in query.commands()])

    def let_redis_answer(self) -> None:
        if self.asking:
            self.asking.pop(0).set()

    async def _wait_until_published(self, ends: Mapping[str, str], _known: object) -> None:
        while any(position(self.fanout.cursors[queue]) < position(end) for queue, end in ends.items()):
            await self.moved.wait()

    def tick(self) -> None:
        self.moved.set()
        self.moved = trio.Event()
