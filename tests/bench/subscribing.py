"""Measures what subscriptions cost: many together, one in each message or in lists; one after the other; and at a
return.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tests.bench.clients import Clients, cpu_seconds

if TYPE_CHECKING:
    from tests.bench.servers import Events, Server

Figures = dict[str, float]

CLIENTS: Final = 2000
LISTED: Final = 50
ALONE: Final = 1000
RETURNING: Final = 10


def subscribing(server: Server, _events: Events) -> Figures:
    """Subscribe 2,000 clients to one job each, 200 clients to 50 jobs each, and one client to jobs one after the
    other.
    """
    clients = Clients(server.kind, server.port)
    clients.connect(CLIENTS)
    each = _cost(server, clients, [[f"e{number}"] for number in range(CLIENTS)])
    lists = _cost(server, clients, [[f"l{number}-{job}" for job in range(LISTED)] for number in range(CLIENTS // 10)])
    clients.close()
    one = Clients(server.kind, server.port)
    one.connect(1)
    before = cpu_seconds(server.pid)
    for number in range(ALONE):
        one.subscribe([[f"a{number}"]])
    alone = (cpu_seconds(server.pid) - before) / ALONE
    one.close()
    return {
        "2,000 clients, a message each: CPU per subscription, µs": each * 1e6,
        "200 clients, a list of 50 each: CPU per subscription, µs": lists * 1e6,
        "one after the other: CPU per subscription, µs": alone * 1e6,
    }


def _cost(server: Server, clients: Clients, jobs: list[list[str]]) -> float:
    before = cpu_seconds(server.pid)
    clients.subscribe(jobs)
    return (cpu_seconds(server.pid) - before) / sum(map(len, jobs))


def returning(server: Server, events: Events) -> Figures:
    """Let 2,000 clients return to a bridge that has just started, with 10 jobs each."""
    after = events.position()
    before = cpu_seconds(server.pid)
    began = time.perf_counter()
    clients = Clients(server.kind, server.port)
    clients.connect(CLIENTS)
    clients.subscribe([[f"r{number}-{job}" for job in range(RETURNING)] for number in range(CLIENTS)], after=after)
    took = time.perf_counter() - began
    used = cpu_seconds(server.pid) - before
    clients.close()
    return {
        "2,000 clients return with 10 jobs each: until the last ack, s": took,
        "the same: CPU, s": used,
    }
