"""Measures what progress costs that 200 jobs report 10,000 times a second together, and what a client gets of it."""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING, Final

from tests.bench.clients import Clients, cpu_seconds, masked
from tests.bench.writer import Plan, writing

if TYPE_CHECKING:
    from tests.bench.servers import Events, Server

JOBS: Final = 200
# 50 updates every 5 ms.
TOGETHER: Final = 50
PAUSE_SECONDS: Final = 0.005
SECONDS: Final = 2
ROUNDS: Final = 7
# How often clients read.
READ_SECONDS: Final = 0.02


def progress(server: Server, events: Events) -> dict[str, float]:
    """Return the CPU per update of jobs that nobody watches, that have a client each, and that have one client."""
    each, one = Clients(server.kind, server.port), Clients(server.kind, server.port)
    each.connect(JOBS)
    one.connect(1)
    for number, sock in enumerate(each.sockets):
        sock.sendall(_subscribe([f"e{number}"]))
    each.await_acks(JOBS)
    one.sockets[0].sendall(_subscribe([f"o{number}" for number in range(JOBS)]))
    one.await_acks(1)
    costs: dict[str, list[float]] = {"nobody": [], "a client each": [], "one client": []}
    frames = 0
    for _ in range(ROUNDS):  # in turn, since the machine may be busier at one time than at another
        for (name, found), prefix, clients in zip(costs.items(), "xeo", (each, each, one), strict=True):
            used, came = _measure(server, events, clients, prefix)
            found.append(used)
            frames = max(frames, came if name == "one client" else 0)
    each.close()
    one.close()
    figures = {
        f"progress of 200 jobs for {name}: CPU per update, µs": statistics.median(found) * 1e6
        for name, found in costs.items()
    }
    for name in ("a client each", "one client"):
        ratios = [used / unwanted for used, unwanted in zip(costs[name], costs["nobody"], strict=True)]
        figures[f"for {name} ÷ for nobody"] = statistics.median(ratios)
    return {**figures, "frames of a job in a second": frames / JOBS / SECONDS}


def _measure(server: Server, events: Events, clients: Clients, prefix: str) -> tuple[float, int]:
    """Return the CPU seconds per update, and how many frames came."""
    plan = Plan([(prefix, JOBS, TOGETHER)], round((SECONDS + 1) / PAUSE_SECONDS), PAUSE_SECONDS, 0, 10_000, "progress")
    with writing(events.port, plan):
        clients.drain(0.7)
        before, began = cpu_seconds(server.pid), time.perf_counter()
        frames = clients.drain(SECONDS, b'"event":"progress"', READ_SECONDS)
        used, took = cpu_seconds(server.pid) - before, time.perf_counter() - began
    clients.drain(0.3)
    return used / took / (TOGETHER / PAUSE_SECONDS), frames


def _subscribe(job_ids: list[str]) -> bytes:
    data = {"jobs": job_ids, "events": ["progress"]}
    return masked(json.dumps({"event": "subscribe-job", "data": data}))
