"""The loads. Each one is put on a fresh server, and returns figures by name."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from tests.bench.busy_queues import busy_queues
from tests.bench.clients import Clients, cpu_seconds, rss_bytes
from tests.bench.logs import log_burst, watching
from tests.bench.progress import progress
from tests.bench.subscribing import returning, subscribing
from tests.bench.writer import Plan, writing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.servers import Events, Server

Figures = dict[str, float]


def fan_out(server: Server, events: Events) -> Figures:
    """Send bursts of 10 events of one job to 1,000 clients."""
    clients = Clients(server.kind, server.port)
    clients.connect(1000)
    clients.subscribe([["j0"]] * 1000)
    rates = []
    for burst in range(40):
        began = time.perf_counter()
        events.write(10, "j", 1)
        clients.take(10_000)
        if burst >= 5:
            rates.append(10_000 / (time.perf_counter() - began))
    clients.close()
    return {"fan-out: deliveries per second": statistics.median(rates)}


def one_each(server: Server, events: Events) -> Figures:
    """Write events of 1,000 jobs as fast as possible. Each job has one client."""
    return {"1,000 jobs, one client each: CPU per delivery, µs": _flood(server, events, 1000, 1, 1000)}


def fifty_each(server: Server, events: Events) -> Figures:
    """Write events of 10,000 jobs as fast as possible. Each of 200 clients has 50 jobs."""
    return {"200 clients, 50 jobs each: CPU per delivery, µs": _flood(server, events, 200, 50, 10_000)}


def _flood(server: Server, events: Events, count: int, jobs_each: int, jobs: int) -> float:
    """Return the CPU seconds per delivery. Every job has one subscriber, and the same number of events."""
    clients = Clients(server.kind, server.port)
    clients.connect(count)
    clients.subscribe([[f"j{number * jobs_each + each}" for each in range(jobs_each)] for number in range(count)])
    total = 0
    _write_and_take(clients, events, 10_000, jobs)
    before = cpu_seconds(server.pid)
    for _ in range(5):
        _write_and_take(clients, events, 10_000, jobs)
        total += 10_000
    used = cpu_seconds(server.pid) - before
    clients.close()
    return used / total


def _write_and_take(clients: Clients, events: Events, count: int, jobs: int) -> None:
    """Let Redis itself write events, and read them in the clients meanwhile."""
    writer = threading.Thread(target=events.write, args=(count, "j", jobs))
    writer.start()
    clients.take(count)
    writer.join()


def nobody(server: Server, events: Events) -> Figures:
    """Write four events for each job, to none of which a client is subscribed.

    One client waits for the event after them.
    """
    clients = Clients(server.kind, server.port)
    clients.connect(1)
    clients.subscribe([["last0"]])
    before = cpu_seconds(server.pid)
    total = 0
    for _ in range(10):
        for event in ("added", "waiting", "active", "completed"):
            events.write(2500, "x", 2500, event)
            total += 2500
    events.write(1, "last", 1)
    clients.take(1)
    used = cpu_seconds(server.pid) - before
    clients.close()
    return {"events nobody wants: CPU per event, µs": used / total}


def steady(server: Server, events: Events) -> Figures:
    """Write an event every 5 ms to a job with 100 clients."""
    clients = Clients(server.kind, server.port)
    clients.connect(100)
    clients.subscribe([["j0"]] * 100)
    count = 1000
    clients.measure = True
    before = cpu_seconds(server.pid)
    with writing(events.port, Plan([("j", 1, 1)], count, 0.005)):
        clients.take(100 * count)
    used = cpu_seconds(server.pid) - before
    clients.close()
    times = clients.latencies()
    return {
        "steady: p50, ms": times[len(times) // 2],
        "steady: p99, ms": times[len(times) * 99 // 100],
        "steady: CPU per event, µs": used / count,
    }


def slow(server: Server, events: Events) -> Figures:
    """Measure the p99 of 200 clients that read: alone, and beside 200 slow ones.

    Of the slow ones, 100 read nothing and 100 read 1 kB a second, until the server closes them.
    """
    good = Clients(server.kind, server.port)
    good.connect(200)
    good.subscribe([["j0"]] * 200)
    good.measure = True
    plan = Plan([("j", 1, 1), ("own", 200, 1)], 1200, 0.01, pad=1000)
    quiet = _p99(good, events, plan)
    bad = Clients(server.kind, server.port)
    bad.connect(200, receive_buffer=4096)
    bad.subscribe([["j0", f"own{number}"] for number in range(200)])
    with bad.trickling(100):
        beside = _p99(good, events, plan)
    good.close()
    bad.close()
    return {"p99 beside 200 slow clients ÷ quiet": beside / quiet}


def logs(server: Server, events: Events) -> Figures:
    """Measure the p99 of 20 clients of a job: without log lines, while 50,000 are written, and while three clients
    watch these.
    """
    clients = Clients(server.kind, server.port)
    clients.connect(20)
    clients.subscribe([["j0"]] * 20)
    clients.measure = True
    # Redis and the bridge are both busy here, so on two cores, clients that never sleep would take time from them.
    clients.awake = False
    plan = Plan([("j", 1, 1)], 500, 0.005)
    quiet = _p99(clients, events, plan, 20)
    with log_burst(events.port):
        unwatched = _p99(clients, events, plan, 20)
    with watching(server.port), log_burst(events.port):
        watched = _p99(clients, events, plan, 20)
    clients.close()
    return {
        "20 clients, no log line: p99, ms": quiet * 1000,
        "while 50,000 lines are written that nobody watches: p99 ÷ quiet": unwatched / quiet,
        "while three clients watch them: p99 ÷ quiet": watched / quiet,
    }


def _p99(clients: Clients, events: Events, plan: Plan, count: int = 200) -> float:
    with writing(events.port, plan):
        clients.take(count * plan.turns)
    times = clients.latencies()
    return times[len(times) * 99 // 100]


def idle(server: Server, _events: Events) -> Figures:
    """Connect 5,000 clients that then do nothing."""
    before = rss_bytes(server.pid)
    clients = Clients(server.kind, server.port)
    began = time.perf_counter()
    clients.connect(5000)
    took = time.perf_counter() - began
    clients.drain(3)
    used = rss_bytes(server.pid) - before
    clients.close()
    return {"5,000 arriving: connections per second": 5000 / took, "5,000 idle clients: kB per client": used / 5000}


def rooms(server: Server, events: Events) -> Figures:
    """Measure the CPU per event with 10 rooms and with 10,000, at the same number of deliveries."""
    costs = []
    for count in (10, 10_000):
        clients = Clients(server.kind, server.port)
        clients.connect(10)
        share = count // 10
        clients.subscribe([[f"r{count}-{number * share + each}" for each in range(share)] for number in range(10)])
        taken = []
        for _ in range(5):
            before = cpu_seconds(server.pid)
            events.write(10_000, f"r{count}-", count)
            clients.take(10_000)
            taken.append((cpu_seconds(server.pid) - before) / 10_000)
        costs.append(statistics.median(taken))
        clients.close()
    return {"10 → 10,000 rooms: CPU per event, growth": costs[1] / costs[0]}


def many(server: Server, events: Events) -> Figures:
    """Write 2,000 events a second for 60 s to 10,000 clients with one job each."""
    clients = Clients(server.kind, server.port)
    clients.connect(10_000)
    clients.subscribe([[f"m{number}"] for number in range(10_000)])
    seconds, rate = 60, 2000
    clients.measure = True
    with writing(events.port, Plan([("m", 10_000, 20)], seconds * rate // 20, 20 / rate, keep=20_000)):
        clients.take(seconds * rate, seconds * 2)  # times out if an event is lost
    clients.close()
    times = clients.latencies()
    return {
        "10,000 clients, 2,000 events/s, 60 s: lost": seconds * rate - len(times),
        "the same: p99, ms": times[len(times) * 99 // 100] * 1000,
    }


def bare_send() -> float:
    """Return the microseconds that a send of 200 bytes takes, to 100 loopback sockets in turn, with no reader
    waiting.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        senders, receivers = [], []
        for _ in range(100):
            senders.append(stack.enter_context(socket.create_connection(listener.getsockname())))
            receivers.append(stack.enter_context(listener.accept()[0]))
        data = b"x" * 200
        costs = []
        for _ in range(500):
            began = time.perf_counter()
            for sender in senders:
                sender.send(data)
            costs.append((time.perf_counter() - began) / len(senders))
            for receiver in receivers:
                receiver.recv(len(data))
        return statistics.median(costs) * 1e6


LOADS: Final[dict[str, Callable[[Server, Events], Figures]]] = {
    "fan-out": fan_out,
    "one-each": one_each,
    "fifty-each": fifty_each,
    "nobody": nobody,
    "steady": steady,
    "idle": idle,
    "subscribing": subscribing,
    "returning": returning,
    "queues": busy_queues,
}
ALONE: Final[dict[str, Callable[[Server, Events], Figures]]] = {
    "rooms": rooms,
    "slow": slow,
    "logs": logs,
    "many": many,
    "progress": progress,
}
JOBWS: Final = frozenset({"queues"})
"""Loads that only jobws can take, not the opponent. Older versions of jobws can take them, too."""
# The outboxes of clients that do not read are full after 12 s of events, and the clients are closed.
OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "slow": ("--outbox-bytes", "1048576"),
    "queues": ("--queues", "*"),
}
