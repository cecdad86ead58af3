"""`python -m tests.bench.rights` measures what rights cost in the hub: a check, a subscription, and an event.

The tokens have 1 entry, 1,000 entries for jobs, or everything. All are measured in turn, in one process, by the CPU
time that they take, so that other processes disturb little.
"""

from __future__ import annotations

import json
import statistics
import time
import timeit
from typing import TYPE_CHECKING, Final

from jobws.access.caller import ANYONE
from jobws.access.identity import Identity, Rights, allows
from jobws.access.scope import Action, parse_scope
from jobws.access.visible import IdentitySight
from jobws.bullmq.payloads import Payloads
from jobws.bullmq.snapshot import LookUp
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.fanout import Fanout
from jobws.hub.jobs.query import Query
from jobws.hub.jobs.rooms import Rooms
from jobws.hub.jobs.signals import Signals
from jobws.privacy.rules import NO_RULES
from jobws.protocol.session import Session
from tests.support.steps import do_all

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 31
TIMES: Final = 1000
QUEUES: Final = dict.fromkeys(("http", "sparql", "techstack", "analyzer"))
FIELDS: Final = [b"event", b"completed", b"jobId", b"0", b"returnvalue", b"1", b"prev", b"active"]


def identity(entries: int) -> Identity:
    rights = Rights(parse_scope([f"read:jobs:http/{number}" for number in range(entries)]))
    return Identity(iss=None, sub="ann", rights=rights, expires_ms=None, token_hash=b"")


HOLDERS: Final = {"everything": ANYONE, "1 entry": identity(1), "1,000 entries": identity(1000)}


class Bench:
    """A hub with empty queues, and one client."""

    def __init__(self, holder: Identity) -> None:
        self.fanout = Fanout(
            Rooms(_ignore),
            Payloads(1 << 20, NO_RULES),
            lambda: 0.0,
            Signals(_ignore, _ignore, _ignore, _ignore, _ignore),
        )
        for queue in QUEUES:
            for _ in self.fanout.fill(queue, [], "0-0"):
                pass
            self.fanout.cursors[queue] = "0-0"
        session = Session(QUEUES, 1 << 18, 1000, IdentitySight(holder))
        self.client = JobClient(session, self.fanout, QUEUES, 1000, 1 << 30, lambda: None, lambda _: None)
        self.number = 0

    def subscribe(self, message: str) -> None:
        """Subscribe, as the server does, and leave."""
        pending = self.client.receive(message, 0.0)
        assert pending is not None
        query = Query(pending.present, QUEUES, self.fanout)
        query.note_streams()
        query.keep_answer(LookUp({}, {}, {}))
        do_all(self.client.complete(pending, query, 0.0))
        self.client.end_all()
        self.client.outbox.take()

    def publish(self) -> None:
        """One event goes to the client."""
        self.number += 1
        self.fanout.publish("http", [(b"%d-0" % self.number, FIELDS)])
        self.client.outbox.take()


def _ignore(*_: object) -> None:
    pass


def _subscribing(holder: Identity, **item: str) -> Callable[[], None]:
    bench, message = Bench(holder), json.dumps({"event": "subscribe-job", "data": {"jobId": "0", **item}})
    return lambda: bench.subscribe(message)


def _publishing(holder: Identity, **item: str) -> Callable[[], None]:
    bench = Bench(holder)
    pending = bench.client.receive(json.dumps({"event": "subscribe-job", "data": {"jobId": "0", **item}}), 0.0)
    assert pending is not None
    query = Query(pending.present, QUEUES, bench.fanout)
    query.note_streams()
    query.keep_answer(LookUp({}, {}, {}))
    do_all(bench.client.complete(pending, query, 0.0))
    return bench.publish


def main() -> None:
    cases: dict[str, Callable[[], object]] = {}
    for name, holder in HOLDERS.items():
        cases[f"check, allowed, {name}"] = lambda holder=holder: allows(holder, Action.READ_JOB, "http", "0")  # type: ignore[misc]
        cases[f"check, refused, {name}"] = lambda holder=holder: allows(holder, Action.READ_JOB, "http", "none")  # type: ignore[misc]
        cases[f"subscription with a queue, {name}"] = _subscribing(holder, queue="http")
        cases[f"subscription without a queue, {name}"] = _subscribing(holder)
        cases[f"event of a subscription with a queue, {name}"] = _publishing(holder, queue="http")
        cases[f"event of a subscription without a queue, {name}"] = _publishing(holder)
    seen: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for case, run in cases.items():
            seen[case].append(timeit.timeit(run, timer=time.process_time, number=TIMES) / TIMES * 1e6)
    for case in sorted(cases):
        print(f"{statistics.median(seen[case]):7.2f} µs  {case}")


if __name__ == "__main__":
    main()
