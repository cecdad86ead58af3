"""The processes and proxies of the chaos test, and what can break."""

from __future__ import annotations

import random
import signal
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import anyio.to_thread
import redis
import trio

from tests.chaos.bridges import SWEEP_SECONDS
from tests.chaos.course import QUEUES
from tests.chaos.proxy import Proxy
from tests.support import EVENTUALLY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import TypeAlias

    from jobws.embedded import EmbeddedRedis
    from tests.chaos.bridges import BridgeAtPort, Kind

    Fault: TypeAlias = "Callable[[World], Awaitable[None]]"

Client = Literal["raw", "python", "javascript"]
# The average time between two faults.
FAULT_SECONDS: Final = 0.7
# How many jobs a client follows at most when there are many queues.
SHARE: Final = 500


class Plan(NamedTuple):
    """The parameters of a run.

    Attributes:
        seed: The seed of all random numbers. The timing of processes does not depend on it.
        jobs: How many jobs there are, unless `queues` is given.
        clients: How many clients follow jobs.
        seconds: For how long jobs are added.
        harsh: Whether Redis also dies, and streams are trimmed and deleted, so that outcomes may come from hashes.
        kind: Which bridge is tested.
        bridges: How many bridges run. With two, clients move from one to the other when it dies.
        only: The faults; empty for all that fit `harsh`.
        kinds: The kinds of the clients, which they take in turn.
        server: The program of the Redis server; None for the one that is found.
        sweep_seconds: The interval of the bridge's sweeps. A short one finds ends without an event soon, and would show
            an outcome that is sent twice.
        queues: How many queues come and go, with jobs of their own; 0 means that two queues stay.
        watchers: How many clients watch whole queues. They do not get what they missed while they were cut off.
        share: How many jobs a client follows at most.
        fault_seconds: The average time between two faults.
    """

    seed: int
    jobs: int
    clients: int
    seconds: float
    harsh: bool = True
    kind: Kind = "jobws"
    bridges: int = 1
    only: tuple[str, ...] = ()
    kinds: tuple[Client, ...] = ("raw", "python")
    server: Path | None = None
    sweep_seconds: float = SWEEP_SECONDS
    queues: int = 0
    watchers: int = 0
    share: int = 1000
    fault_seconds: float = FAULT_SECONDS

    @property
    def name(self) -> str:
        """The kind of run, in one word."""
        if self.kind == "socketio":
            return self.kind
        if self.queues:
            return "queues"
        return "harsh" if self.harsh else "mild" if self.bridges == 1 else "two"

    def with_queues(self, queues: int, seconds: float) -> Plan:
        """Return this plan, but with so many queues that come and go within so many seconds. Each has two watchers."""
        watchers = max(2, queues // 5)
        return self._replace(
            harsh=False, queues=queues, seconds=seconds, watchers=watchers, share=SHARE, fault_seconds=2.0
        )


class World:
    """What runs and can break. Its methods are the faults."""

    def __init__(self, plan: Plan, server: EmbeddedRedis, lines: Proxy, bridges: list[BridgeAtPort]) -> None:
        self.plan = plan
        self.server = server
        self.bridges = bridges
        self.random = random.Random(plan.seed)
        self.broken: Counter[str] = Counter()
        self.proxies = [Proxy(bridges[0].port) for _ in range(plan.clients + plan.watchers)]
        # The proxy between the bridges and Redis.
        self.lines = lines
        # Redis-py's own limit is 5 s, which a busy machine can take.
        self.redis: Any = redis.Redis.from_url(server.url, socket_timeout=2 * EVENTUALLY_SECONDS)
        self.redis_up = True
        # When the last fault ended, on trio's clock.
        self.whole_at = trio.current_time()

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
        """Keep the bridge from reaching Redis for a while, in which workers go on."""
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
# A restarted bridge finds all existing queues together. So each kind of restart happens once, and most queues are found
# later.
COMING: Final[dict[str, tuple[Fault, int]]] = {
    **MILD,
    "bridge restarts": (World.restart_bridge, 0),
    "bridge kills": (World.kill_bridge, 0),
}


async def break_things(world: World, begin: float) -> None:
    """Cause faults, one or several at a time, until a little after the last job was added."""
    faults = COMING if world.plan.queues else HARSH if world.plan.harsh else MILD
    names = list(world.plan.only or faults)
    weights = [faults[name][1] for name in names]
    # Each fault once, then faults at random.
    first = world.random.sample(names, len(names))
    await trio.sleep_until(begin)
    # One restart at a time, since another one would only wait for it.
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
        world.whole_at = trio.current_time()

    async with trio.open_nursery() as nursery:
        while first or trio.current_time() < begin + world.plan.seconds + 2:
            await trio.sleep(world.random.expovariate(1 / world.plan.fault_seconds))
            nursery.start_soon(fault, first.pop() if first else world.random.choices(names, weights)[0])
