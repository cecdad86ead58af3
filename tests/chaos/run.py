"""One run: jobs are done while things break, then all is whole again, and every client must have every outcome."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from typing import IO, TYPE_CHECKING, Final, TypeAlias, assert_never

import anyio.to_thread
import trio

from jobws.embedded import EmbeddedRedis
from tests.chaos.bridges import BridgeAtPort
from tests.chaos.javascript_client import JavascriptClient
from tests.chaos.jobs import QUEUES, Job, Key, Ledger, make_jobs
from tests.chaos.proxy import Proxy
from tests.chaos.python_client import LibraryClient
from tests.chaos.raw import RawClient
from tests.chaos.report import Report, describe
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


async def run(plan: Plan) -> Report:
    """Do it, and report."""
    started = trio.current_time()
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedRedis(DURABLE, plan.server))
        lines = Proxy(server.port)
        redis_url = server.url.replace(f":{server.port}/", f":{lines.port}/")
        bridges = [
            stack.enter_context(BridgeAtPort(plan.kind, redis_url, sweep_seconds=plan.sweep_seconds))
            for _ in range(plan.bridges)
        ]
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
            patience = PATIENCE_SECONDS + plan.sweep_seconds if plan.kind == "jobws" else OTHERS_PATIENCE_SECONDS
            await _come(ledgers, patience)
            # What is told twice by a sweep, or by a stream that is read again, comes now.
            await trio.sleep(2 * plan.sweep_seconds)
            ends = {job.key: _end(world, job) for job in jobs if not job.removed}
            server_facts = describe(world.redis)
            for bridge in bridges:
                await anyio.to_thread.run_sync(bridge.end, signal.SIGTERM)
            nursery.cancel_scope.cancel()
        uncaught = [] if node is None else node.uncaught
        world.redis.close()
    trouble = [line for bridge in bridges for line in bridge.trouble]
    trouble += [f"{key} was never finished" for key, end in ends.items() if end is None]
    trouble += [f"uncaught: {error}" for error in uncaught]
    return _report(world, server_facts, ledgers, ends, trouble, trio.current_time() - started)


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


def _end(world: World, job: Job) -> float | None:
    """When the job was finished, on trio's clock; None: it was not."""
    front = f"bull:{job.queue}:"
    for state in ("completed", "failed"):
        milliseconds = world.redis.zscore(front + state, job.job_id)
        if milliseconds is not None:
            return float(milliseconds) / 1000 - time.time() + trio.current_time()
    return None


def _report(
    world: World,
    server_facts: tuple[str, bool],
    ledgers: list[Ledger],
    ends: dict[Key, float | None],
    trouble: list[str],
    seconds: float,
) -> Report:
    plan = world.plan
    frames: Counter[str] = Counter()
    bridge: Counter[str] = Counter()
    for ledger in ledgers:
        frames += ledger.counts
    for each in world.bridges:
        bridge += each.counts
    late = [
        came - max(world.whole_at, ends.get(key) or 0.0) for ledger in ledgers for key, came in ledger.first.items()
    ]
    return Report(
        kind=plan.name,
        seed=plan.seed,
        size=f"{plan.jobs} jobs x {plan.clients} clients",
        server=server_facts[0],
        is_counted=server_facts[1],
        lost=[_told_of(ledger, key) for ledger in ledgers for key in ledger.lost],
        doubles=[double for ledger in ledgers for double in ledger.doubles],
        faults=[fault for ledger in ledgers for fault in ledger.faults],
        trouble=trouble,
        without_id=sum(ledger.without_id for ledger in ledgers),
        repeated=sum(ledger.repeated for ledger in ledgers),
        frames=frames,
        bridge=bridge,
        broken=world.broken,
        seconds=seconds,
        late=max(late, default=0.0),
    )
