"""One run: jobs are done while things break, then all is whole again, and every client must have every outcome."""

from __future__ import annotations

import random
import signal
from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from typing import IO, TYPE_CHECKING, Final, NamedTuple, TypeAlias, assert_never

import anyio.to_thread
import trio

from jobws.embedded import EmbeddedRedis
from tests.chaos.bridges import SWEEP_SECONDS, BridgeAtPort
from tests.chaos.javascript_client import JavascriptClient
from tests.chaos.jobs import QUEUES, Job, Key, Ledger, make_jobs
from tests.chaos.proxy import Proxy
from tests.chaos.python_client import LibraryClient
from tests.chaos.raw import RawClient
from tests.chaos.socketio import SocketIoClient
from tests.chaos.worker import working
from tests.chaos.world import Plan, World, break_things
from tests.support.adapter import Adapter, adapter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Client: TypeAlias = RawClient | LibraryClient | JavascriptClient | SocketIoClient

DURABLE: Final = ("appendonly yes", "appendfsync always")
# After the last fault, what nobody got for so long is lost. On a slow machine it may take longer to come to that.
PATIENCE_SECONDS: Final = 30.0
# A bridge that sends nothing again needs no more.
OTHERS_PATIENCE_SECONDS: Final = 4.0


class Report(NamedTuple):
    """How it went. `lost`, `doubles`, `faults` and `trouble` hold what must not be."""

    plan: Plan
    lost: list[str]
    doubles: list[str]
    faults: list[str]
    trouble: list[str]
    without_id: int
    repeated: int
    frames: Counter[str]
    bridge: Counter[str]
    broken: Counter[str]
    seconds: float

    @property
    def wrong(self) -> list[str]:
        """Everything that must not be."""
        return [*self.lost, *self.doubles, *self.faults, *self.trouble]

    @property
    def gaps(self) -> int:
        """How often anybody was told that events may be missing."""
        return self.bridge["gaps"] + self.frames["gap frames"] + self.frames["gaps in acks"]

    def __str__(self) -> str:
        """Some lines."""

        def listed(counts: Counter[str]) -> str:
            return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

        plan = self.plan
        lines = [
            f"{plan.kind}, seed {plan.seed}: {plan.jobs} jobs x {plan.clients} clients, {self.seconds:.0f} s",
            f"  lost {len(self.lost)}, doubles {len(self.doubles)}, wrong {len(self.faults)}; "
            f"outcomes without id {self.without_id}, repeated without id {self.repeated}",
            f"  what broke: {listed(self.broken)}",
            f"  frames: {listed(self.frames)}",
            f"  the bridges counted: {listed(self.bridge)}",
        ]
        return "\n".join([*lines, *(f"  ! {line}" for line in self.wrong[:400])])


async def run(plan: Plan) -> Report:
    """Do it, and report."""
    started = trio.current_time()
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedRedis(DURABLE))
        lines = Proxy(server.port)
        redis_url = server.url.replace(f":{server.port}/", f":{lines.port}/")
        bridges = [stack.enter_context(BridgeAtPort(plan.kind, redis_url)) for _ in range(plan.bridges)]
        worker = stack.enter_context(working(server.url, *QUEUES))
        world = World(plan, server, lines, bridges)
        # Nothing is trimmed but by us.
        for queue in QUEUES:
            world.redis.hset(f"bull:{queue}:meta", "opts.maxLenEvents", 20 * max(plan.jobs, 1000))
        jobs = make_jobs(world.random, plan.jobs, plan.seconds, removed=not plan.harsh)
        async with _node(plan) as node, trio.open_nursery() as nursery:
            clients = _make_clients(world, jobs, node)
            for proxy in (lines, *world.proxies):
                nursery.start_soon(proxy.run)
            for bridge in bridges:
                await anyio.to_thread.run_sync(bridge.start)
            begin = trio.current_time() + 1
            for client in clients:
                nursery.start_soon(client.run, begin)
            async with trio.open_nursery() as working_nursery:
                working_nursery.start_soon(_add, worker, jobs, begin)
                working_nursery.start_soon(break_things, world, begin)
            ledgers = [client.ledger for client in clients]
            await _come(ledgers, PATIENCE_SECONDS if plan.kind == "jobws" else OTHERS_PATIENCE_SECONDS)
            # What is told twice by a sweep, or by a stream that is read again, comes now.
            await trio.sleep(2 * SWEEP_SECONDS)
            unfinished = [job for job in jobs if not job.removed and not _is_finished(world, job)]
            for bridge in bridges:
                await anyio.to_thread.run_sync(bridge.end, signal.SIGTERM)
            nursery.cancel_scope.cancel()
        uncaught = [] if node is None else node.uncaught
        world.redis.close()
    trouble = [line for bridge in bridges for line in bridge.trouble]
    trouble += [f"{job.key} was never finished" for job in unfinished]
    trouble += [f"uncaught: {error}" for error in uncaught]
    return _report(plan, world, ledgers, trouble, trio.current_time() - started)


@asynccontextmanager
async def _node(plan: Plan) -> AsyncIterator[Adapter | None]:
    """Where clients in JavaScript run, all in one process; None: there are none."""
    if plan.kind != "jobws" or "javascript" not in plan.kinds:
        yield None
        return
    async with adapter() as node:
        yield node


def _make_clients(world: World, jobs: list[Job], node: Adapter | None) -> list[Client]:
    clients: list[Client] = []
    plan = world.plan
    for number, proxy in enumerate(world.proxies):
        chance = random.Random(f"{plan.seed}/{number}")
        kind = "socketio" if plan.kind == "socketio" else plan.kinds[number % len(plan.kinds)]
        name = f"{kind}-{number}"
        match kind:
            case "socketio":
                clients.append(SocketIoClient(name, jobs, chance, proxy))
            case "raw":
                clients.append(RawClient(name, jobs, chance, proxy))
            case "python":
                clients.append(LibraryClient(name, jobs, chance, proxy))
            case "javascript":
                assert node is not None
                clients.append(JavascriptClient(name, jobs, chance, proxy, number // len(plan.kinds), node))
            case _:
                assert_never(kind)
    return clients


async def _add(worker: IO[str], jobs: list[Job], begin: float) -> None:
    for job in sorted(jobs, key=lambda job: job.at):
        await trio.sleep_until(begin + job.at)
        print(job.line(), file=worker, flush=True)


async def _come(ledgers: list[Ledger], patience: float) -> None:
    """Wait until everybody has everything, or nobody got anything for so long."""
    before, deadline = -1, 0.0
    while missing := sum(len(ledger.lost) for ledger in ledgers):
        now = trio.current_time()
        if missing != before:
            before, deadline = missing, now + patience
        if now > deadline:
            return
        await trio.sleep(0.1)


def _told_of(ledger: Ledger, key: Key) -> str:
    return "\n      ".join([f"{ledger.name} lost {key}", *ledger.history[key[1]]])


def _is_finished(world: World, job: Job) -> bool:
    front = f"bull:{job.queue}:"
    return any(world.redis.zscore(front + state, job.job_id) is not None for state in ("completed", "failed"))


def _report(plan: Plan, world: World, ledgers: list[Ledger], trouble: list[str], seconds: float) -> Report:
    frames: Counter[str] = Counter()
    bridge: Counter[str] = Counter()
    for ledger in ledgers:
        frames += ledger.counts
    for each in world.bridges:
        bridge += each.counts
    return Report(
        plan,
        [_told_of(ledger, key) for ledger in ledgers for key in ledger.lost],
        [double for ledger in ledgers for double in ledger.doubles],
        [fault for ledger in ledgers for fault in ledger.faults],
        trouble,
        sum(ledger.without_id for ledger in ledgers),
        sum(ledger.repeated for ledger in ledgers),
        frames,
        bridge,
        world.broken,
        seconds,
    )
