"""A client that uses `jobws.client`. It calls `wait`, `wait_many` and `watch` at random moments."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from jobws.client import connect
from jobws.errors import JobFailed, JobRemoved, RefusedError, ResponseError, UnreachableError
from jobws.protocol.identifiers import position
from tests.chaos.jobs import Job, Ledger, Lives, Outcome
from tests.chaos.patience import until_known

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from jobws.client import Client
    from tests.chaos.proxy import Proxy


# Stands for the id of an outcome, which `wait` does not show.
UNKNOWN: Final = "-"


class LibraryClient:
    """A program that uses `jobws.client`. It does nothing when the connection breaks."""

    def __init__(self, name: str, jobs: list[Job], lives: Lives, random: Random, proxy: Proxy) -> None:
        self.ledger = Ledger(name, lives)
        self._random = random
        self._proxy = proxy
        self._jobs = jobs

    async def run(self, started: float) -> None:
        """Follow the jobs until cancelled."""
        while True:
            try:
                async with connect(f"http://127.0.0.1:{self._proxy.port}") as client, trio.open_nursery() as nursery:
                    self._begin(client, nursery, started)
            except UnreachableError:  # the client itself repeats every connection but the first one
                await trio.sleep(0.05)
            else:
                await trio.sleep_forever()

    def _begin(self, client: Client, nursery: trio.Nursery, started: float) -> None:
        several: list[Job] = []
        for job in self._jobs:
            at = max(0.0, started + job.at + self._random.uniform(-2, 4))
            how = self._random.choice(("wait", "watch", "watch all", "many"))
            if how == "wait":
                nursery.start_soon(self._follow, partial(self._wait, client, job, at, self._random.random() < 0.3))
            elif how == "many":
                several.append(job)
            else:
                events = ["*"] if how == "watch all" else None
                nursery.start_soon(self._follow, partial(self._watch, client, job, at, events))
        while several:
            some = [job for job in several if job.queue == several[0].queue][: self._random.randint(1, 20)]
            several = [job for job in several if job not in some]
            nursery.start_soon(self._follow, partial(self._wait_many, client, some, started + some[0].at))

    async def _follow(self, ask: Callable[[], Awaitable[None]]) -> None:
        try:
            await until_known(self.ledger, self._random, ask)
        except RefusedError as error:
            self.ledger.faults.append(f"{self.ledger.name}: {error}")

    async def _wait(self, client: Client, job: Job, at: float, again: bool) -> None:
        await trio.sleep_until(at)
        event, data = await _outcome(client, job)
        self._note(job, event, data, Outcome(UNKNOWN, False, 0))
        if again:  # a later call must get the same outcome
            await trio.sleep(1)
            event, data = await _outcome(client, job)
            self.ledger.counts["waited again"] += 1
            if not any(each.ends_with(event, data) or each.doomed for each in self.ledger.wanted[job.key]):
                self.ledger.faults.append(f"{self.ledger.name}: waiting again for {job.key} gave {event} {data}")

    async def _wait_many(self, client: Client, jobs: list[Job], at: float) -> None:
        await trio.sleep_until(at)
        by_id = {job.job_id: job for job in jobs if not self.ledger.is_over(job.key)}
        async with client.wait_many(by_id, jobs[0].queue, expect=True) as outcomes:
            async for job_id, outcome in outcomes:
                job = by_id[job_id]
                if isinstance(outcome, ResponseError):
                    raise outcome
                if isinstance(outcome, JobFailed):
                    self._note(job, "failed", {"failedReason": outcome.reason}, Outcome(UNKNOWN, False, 0))
                elif isinstance(outcome, JobRemoved):
                    self._note(job, "removed", {}, Outcome(UNKNOWN, False, 0))
                else:
                    self._note(job, "completed", {"returnvalue": outcome}, Outcome(UNKNOWN, False, 0))

    async def _watch(self, client: Client, job: Job, at: float, events: list[str] | None) -> None:
        await trio.sleep_until(at)
        last = "0-0"
        async with client.watch(job.job_id, job.queue, events) as watched:
            async for event in watched:
                if event.event == "gap":
                    self.ledger.counts["gap frames"] += 1
                    if event.data.get("reason") != "trimmed":  # a gap in an ack has no reason
                        last = "0-0"
                    continue
                self.ledger.count_frame(event.id, replayed=event.replayed)
                if event.id is not None:
                    if event.id == last or position(_stream_id(event.id)) < position(_stream_id(last)):
                        self.ledger.faults.append(f"{self.ledger.name}: {event} after {last}")
                    last = event.id
                if event.event in ("completed", "failed", "removed"):
                    self._note(job, event.event, event.data, Outcome(event.id, event.replayed, 0))

    def _note(self, job: Job, event: str, data: dict[str, object], outcome: Outcome) -> None:
        self.ledger.note(job.key, event, data, outcome)


def _stream_id(id: str) -> str:
    """Return the stream id of a position, which can be compared. What follows `~` is not for clients."""
    return id.partition("~")[0]


async def _outcome(client: Client, job: Job) -> tuple[str, dict[str, object]]:
    try:
        return "completed", {"returnvalue": await client.wait(job.job_id, job.queue, expect=True)}
    except JobFailed as failure:
        return "failed", {"failedReason": failure.reason}
    except JobRemoved:
        return "removed", {}
