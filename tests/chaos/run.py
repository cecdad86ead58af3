"""One run: jobs are done while things break, then all is whole again, and every client must have every outcome."""

from __future__ import annotations

import random
import signal
from collections import Counter
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio.to_thread
import redis
import trio

from jobws.embedded import EmbeddedRedis
from tests.chaos.bridges import SWEEP_SECONDS, BridgeAtPort
from tests.chaos.jobs import QUEUES, Job, Key, Ledger, make_jobs
from tests.chaos.proxy import Proxy
from tests.chaos.python_client import LibraryClient
from tests.chaos.raw import RawClient
from tests.chaos.socketio import SocketIoClient
from tests.chaos.worker import working

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import IO, TypeAlias

    from tests.chaos.bridges import Kind

    Fault: TypeAlias = "Callable[[World], Awaitable[None]]"

DURABLE: Final = ("appendonly yes", "appendfsync always")
# Faults come so often, on average. After the last one, whoever has not got everything so much later has lost it.
FAULT_SECONDS: Final = 0.7
PATIENCE_SECONDS: Final = 30.0
# A bridge that sends nothing again needs no more.
OTHERS_PATIENCE_SECONDS: Final = 4.0


class Plan(NamedTuple):
    """What to do.

    Attributes:
        seed: Of all chance, except how the processes happen to run.
        jobs: How many.
        clients: How many; half of them are jobws's own client.
        seconds: Over which the jobs are added.
        harsh: Also Redis dies, and streams are trimmed and deleted, so that outcomes may come from hashes, after gaps.
        kind: The bridge.
        bridges: With two, clients move from one to the other when it dies.
        only: What breaks; empty: everything that fits `harsh`.
    """

    seed: int
    jobs: int
    clients: int
    seconds: float
    harsh: bool = True
    kind: Kind = "jobws"
    bridges: int = 1
    only: tuple[str, ...] = ()


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
        return "\n".join([*lines, *(f"  ! {line}" for line in self.wrong[:60])])


class World:
    """What runs, and can be broken."""

    def __init__(self, plan: Plan, server: EmbeddedRedis, lines: Proxy, bridges: list[BridgeAtPort]) -> None:
        self.plan = plan
        self.server = server
        self.bridges = bridges
        self.random = random.Random(plan.seed)
        self.broken: Counter[str] = Counter()
        self.proxies = [Proxy(bridges[0].port) for _ in range(plan.clients)]
        # Between the bridges and Redis.
        self.lines = lines
        self.redis: Any = redis.Redis.from_url(server.url)
        self.redis_up = True

    def make_clients(self, jobs: list[Job]) -> list[RawClient | LibraryClient | SocketIoClient]:
        clients: list[RawClient | LibraryClient | SocketIoClient] = []
        for number, proxy in enumerate(self.proxies):
            chance = random.Random(f"{self.plan.seed}/{number}")
            if self.plan.kind == "socketio":
                clients.append(SocketIoClient(f"socketio-{number}", jobs, chance, proxy))
            elif number % 2:
                clients.append(LibraryClient(f"library-{number}", jobs, chance, proxy))
            else:
                clients.append(RawClient(f"raw-{number}", jobs, chance, proxy))
        return clients

    # ---- what breaks ----

    async def cut_one(self) -> None:
        self.random.choice(self.proxies).cut()

    async def cut_all(self) -> None:
        for proxy in self.proxies:
            proxy.cut()

    async def pause_one(self) -> None:
        proxy = self.random.choice(self.proxies)
        proxy.pause()
        await trio.sleep(self.random.uniform(0.1, 2))
        proxy.resume()

    async def restart_bridge(self) -> None:
        await self._end_bridge(signal.SIGTERM)

    async def kill_bridge(self) -> None:
        await self._end_bridge(signal.SIGKILL)

    async def _end_bridge(self, number: signal.Signals) -> None:
        current = self.bridges[0]
        if len(self.bridges) > 1:
            self.bridges.append(self.bridges.pop(0))
        await anyio.to_thread.run_sync(current.end, number)
        for proxy in self.proxies:
            proxy.target = self.bridges[0].port
        await trio.sleep(self.random.uniform(0, 0.5))
        await anyio.to_thread.run_sync(current.start)

    async def kill_redis(self) -> None:
        self.redis_up = False
        await anyio.to_thread.run_sync(self.server.kill)
        await trio.sleep(self.random.uniform(0, 1))
        await anyio.to_thread.run_sync(self.server.start)
        self.redis_up = True

    async def cut_redis(self) -> None:
        """The bridge does not reach Redis for a while, in which things go on."""
        self.lines.open = False
        self.lines.cut()
        await trio.sleep(self.random.uniform(0.1, 2))
        if self.plan.harsh and self.redis_up and self.random.random() < 0.7:
            await (self.trim if self.random.random() < 0.6 else self.delete_stream)()
        self.lines.open = True

    async def trim(self) -> None:
        stream = f"bull:{self.random.choice(QUEUES)}:events"
        await anyio.to_thread.run_sync(lambda: self.redis.xtrim(stream, self.random.randint(0, 5), approximate=False))

    async def delete_stream(self) -> None:
        await anyio.to_thread.run_sync(self.redis.delete, f"bull:{self.random.choice(QUEUES)}:events")


MILD: Final[dict[str, tuple[Fault, int]]] = {
    "clients cut": (World.cut_one, 8),
    "all clients cut": (World.cut_all, 2),
    "clients paused": (World.pause_one, 4),
    "Redis unreachable": (World.cut_redis, 2),
    "bridge restarts": (World.restart_bridge, 1),
    "bridge kills": (World.kill_bridge, 1),
}
HARSH: Final[dict[str, tuple[Fault, int]]] = {
    **MILD,
    "Redis kills": (World.kill_redis, 2),
    "trims": (World.trim, 4),
    "deleted streams": (World.delete_stream, 1),
}


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
        clients = world.make_clients(jobs)
        async with trio.open_nursery() as nursery:
            for proxy in (lines, *world.proxies):
                nursery.start_soon(proxy.run)
            for bridge in bridges:
                await anyio.to_thread.run_sync(bridge.start)
            begin = trio.current_time() + 1
            for client in clients:
                nursery.start_soon(client.run, begin)
            async with trio.open_nursery() as working_nursery:
                working_nursery.start_soon(_add, worker, jobs, begin)
                working_nursery.start_soon(_break, world, begin)
            ledgers = [client.ledger for client in clients]
            with trio.move_on_after(PATIENCE_SECONDS if plan.kind == "jobws" else OTHERS_PATIENCE_SECONDS):
                while any(ledger.lost for ledger in ledgers):
                    await trio.sleep(0.1)
            # What is told twice by a sweep, or by a stream that is read again, comes now.
            await trio.sleep(2 * SWEEP_SECONDS)
            unfinished = [job for job in jobs if not job.removed and not _is_finished(world, job)]
            for bridge in bridges:
                await anyio.to_thread.run_sync(bridge.end, signal.SIGTERM)
            nursery.cancel_scope.cancel()
        world.redis.close()
    trouble = [line for bridge in bridges for line in bridge.trouble]
    trouble += [f"{job.key} was never finished" for job in unfinished]
    return _report(plan, world, ledgers, trouble, trio.current_time() - started)


async def _add(worker: IO[str], jobs: list[Job], begin: float) -> None:
    for job in sorted(jobs, key=lambda job: job.at):
        await trio.sleep_until(begin + job.at)
        print(job.line(), file=worker, flush=True)


async def _break(world: World, begin: float) -> None:
    """Break things, one at a time or several at once, until a little after the last job was added."""
    faults = HARSH if world.plan.harsh else MILD
    names = list(world.plan.only or faults)
    weights = [faults[name][1] for name in names]
    # Each once, then by chance.
    first = world.random.sample(names, len(names))
    await trio.sleep_until(begin)
    # One restart at a time: who restarts what is restarting only waits.
    restarting = trio.Lock()

    async def fault(name: str) -> None:
        if name in ("bridge restarts", "bridge kills", "Redis kills", "Redis unreachable"):
            async with restarting:
                with suppress(redis.RedisError):
                    await faults[name][0](world)
        elif not world.redis_up and name in ("trims", "deleted streams"):
            return
        else:
            with suppress(redis.RedisError):
                await faults[name][0](world)
        world.broken[name] += 1

    async with trio.open_nursery() as nursery:
        while trio.current_time() < begin + world.plan.seconds + 2:
            await trio.sleep(world.random.expovariate(1 / FAULT_SECONDS))
            nursery.start_soon(fault, first.pop() if first else world.random.choices(names, weights)[0])


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
