"""Does one run. Jobs are done while things break.

Then everything works again, and every client must get every outcome.
"""

from __future__ import annotations

import random
import signal
from contextlib import ExitStack, asynccontextmanager
from typing import IO, TYPE_CHECKING, Final, TypeAlias, assert_never

import anyio.to_thread
import trio

from jobws.embedded import EmbeddedRedis
from tests.chaos.appendonly import COMPLETE
from tests.chaos.bridges import BridgeAtPort
from tests.chaos.course import Course, many_queues, two_queues
from tests.chaos.facts import Facts
from tests.chaos.javascript_client import JavascriptClient
from tests.chaos.proxy import Proxy
from tests.chaos.python_client import LibraryClient
from tests.chaos.raw import RawClient
from tests.chaos.socketio import SocketIoClient
from tests.chaos.watcher import Watcher
from tests.chaos.worker import working
from tests.chaos.world import Plan, World, break_things
from tests.support.adapter import Adapter, adapter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.chaos.jobs import Job, Key
    from tests.chaos.report import Report

Client: TypeAlias = RawClient | LibraryClient | JavascriptClient | SocketIoClient

# How long after the last fault, or the last outcome, to wait for further ones. Later, an outcome counts as lost.
PATIENCE_SECONDS: Final = 30.0
# Less for the Socket.IO bridge, since it sends nothing again.
OTHERS_PATIENCE_SECONDS: Final = 4.0


async def run(plan: Plan) -> Report:
    """Do a run, and return its report."""
    started = trio.current_time()
    course = _course(plan)
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedRedis((*COMPLETE, *course.config), plan.server))
        lines = Proxy(server.port)
        redis_url = server.url.replace(f":{server.port}/", f":{lines.port}/")
        options = (*course.queue_options, "--sweep-seconds", str(plan.sweep_seconds))
        bridges = [
            stack.enter_context(BridgeAtPort(plan.kind, redis_url, options=options)) for _ in range(plan.bridges)
        ]
        worker = stack.enter_context(working(server.url, *(course.queues if course.stays else ())))
        world = World(plan, server, lines, bridges)
        # Only the faults trim streams.
        for queue in course.queues if course.stays else ():
            world.redis.hset(f"bull:{queue}:meta", "opts.maxLenEvents", 20 * max(plan.jobs, 1000))
        async with _node(plan) as node, trio.open_nursery() as nursery:
            clients = _make_clients(world, course, node)
            watchers = _make_watchers(world, course)
            for proxy in (lines, *world.proxies):
                nursery.start_soon(proxy.run)
            for bridge in bridges:
                await anyio.to_thread.run_sync(bridge.start)
            begin = trio.current_time() + 1
            for client in (*clients, *watchers):
                nursery.start_soon(client.run, begin)
            async with trio.open_nursery() as working_nursery:
                working_nursery.start_soon(_tell, worker, course, begin)
                working_nursery.start_soon(break_things, world, begin)
            patience = PATIENCE_SECONDS + plan.sweep_seconds if plan.kind == "jobws" else OTHERS_PATIENCE_SECONDS
            ledgers = [client.ledger for client in clients]
            facts = Facts(world, course, ledgers, watchers)
            await facts.settle(patience)
            # If a sweep, or a second reading of a stream, sends an outcome twice, it comes within this time.
            await trio.sleep(2 * plan.sweep_seconds)
            facts.take()
            for bridge in bridges:
                await anyio.to_thread.run_sync(bridge.end, signal.SIGTERM)
            nursery.cancel_scope.cancel()
        world.redis.close()
    uncaught = [] if node is None else [f"uncaught: {error}" for error in node.uncaught]
    return facts.report(uncaught, trio.current_time() - started)


def _course(plan: Plan) -> Course:
    chance = random.Random(f"{plan.seed}/course")
    if plan.queues:
        return many_queues(chance, plan.queues, plan.seconds)
    return two_queues(chance, plan.jobs, plan.seconds, removed=not plan.harsh)


@asynccontextmanager
async def _node(plan: Plan) -> AsyncIterator[Adapter | None]:
    """Yield the Node process in which all JavaScript clients run, or None if there are none."""
    if plan.kind != "jobws" or "javascript" not in plan.kinds:
        yield None
        return
    async with adapter() as node:
        yield node


def _make_clients(world: World, course: Course, node: Adapter | None) -> list[Client]:
    clients: list[Client] = []
    plan = world.plan
    for number, proxy in enumerate(world.proxies[: plan.clients]):
        chance = random.Random(f"{plan.seed}/{number}")
        lives = _share(course.lives, plan.share, chance)
        jobs = [chance.choice(jobs) for jobs in lives.values()]
        kind = "socketio" if plan.kind == "socketio" else plan.kinds[number % len(plan.kinds)]
        name = f"{kind}-{number}"
        match kind:
            case "socketio":
                clients.append(SocketIoClient(name, jobs, lives, chance, proxy))
            case "raw":
                clients.append(RawClient(name, jobs, lives, chance, proxy))
            case "python":
                clients.append(LibraryClient(name, jobs, lives, chance, proxy))
            case "javascript":
                assert node is not None
                clients.append(JavascriptClient(name, jobs, lives, chance, proxy, number // len(plan.kinds), node))
            case _:
                assert_never(kind)
    return clients


def _share(lives: dict[Key, list[Job]], share: int, chance: random.Random) -> dict[Key, list[Job]]:
    keys = list(lives) if len(lives) <= share else chance.sample(list(lives), share)
    return {key: lives[key] for key in keys}


def _make_watchers(world: World, course: Course) -> list[Watcher]:
    """Make watchers. Each queue has two of them; if there is only one watcher, it watches all queues."""
    plan, queues = world.plan, list(course.queues)
    step = max(1, plan.watchers // 2)
    watchers = []
    for number, proxy in enumerate(world.proxies[plan.clients :]):
        watched = {queue: course.queues[queue] for queue in queues[number % step :: step]}
        watchers.append(Watcher(f"watcher-{number}", watched, random.Random(f"{plan.seed}/w{number}"), proxy))
    return watchers


async def _tell(worker: IO[str], course: Course, begin: float) -> None:
    for at, line in course.lines:
        await trio.sleep_until(begin + at)
        print(line, file=worker, flush=True)
