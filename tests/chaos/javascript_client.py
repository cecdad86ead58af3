"""A client that uses the adapter `jobws.js` in Node.

It calls `wait` and `watch`, and emits requests as old pages do.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from jobws.protocol.identifiers import position
from tests.chaos.jobs import Job, Ledger, Lives, Outcome
from tests.chaos.patience import until_known
from tests.support.adapter import Rejected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from tests.chaos.proxy import Proxy
    from tests.support.adapter import Adapter, AdapterClient

OUTCOMES: Final = ("completed", "failed", "removed")
# Stands for the id of an outcome, which `wait` and handlers do not show.
UNKNOWN: Final = "-"
# Clients take these options in turn. With the impatient ones a client falls back to HTTP while a proxy hangs, and
# returns later. With the third ones a client has HTTP alone, where each further job causes an answer about all jobs.
OPTIONS: Final[list[dict[str, object]]] = [
    {},
    {"timeout": 1500, "upgradeDelay": 1000, "upgradeDelayMax": 1000},
    {"WebSocket": False, "timeout": 3000},
    {},
]


class JavascriptClient:
    """A page. Some pages do nothing when the connection breaks, others subscribe again on `connect`. Both must get all.

    Args:
        name: Its name.
        jobs: The jobs that it follows.
        random: Decides its moments and methods.
        proxy: The proxy to which it connects.
        number: Its number, which decides its options.
        node: The Node process in which it runs.
    """

    def __init__(
        self, name: str, jobs: list[Job], lives: Lives, random: Random, proxy: Proxy, number: int, node: Adapter
    ) -> None:
        self.ledger = Ledger(name, lives)
        self._random = random
        self._proxy = proxy
        self._jobs = jobs
        self._options = OPTIONS[number % len(OPTIONS)]
        self._again = random.random() < 0.5
        self._node = node
        self._by_hand: list[dict[str, object]] = []

    async def run(self, started: float) -> None:
        """Follow the jobs until cancelled."""
        client = await self._node.io(f"http://127.0.0.1:{self._proxy.port}", **self._options)
        await client.on(*OUTCOMES, "progress")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, client)
            anywhere: set[str] = set()
            for job in self._jobs:
                at = max(0.0, started + job.at + self._random.uniform(-2, 4))
                how = self._random.choice(("wait", "watch", "watch all", "by hand"))
                self.ledger.history[job.job_id].append(f"{job.queue} {how} at {at - started:.3f}")
                if int(job.job_id[1:]) % 8 == 0:  # both queues have this id, and one subscription covers both
                    if job.job_id not in anywhere:
                        room: dict[str, object] = {"jobId": job.job_id, "after": {}}
                        nursery.start_soon(self._follow, partial(self._subscribe, client, room, at))
                    anywhere.add(job.job_id)
                elif how == "wait":
                    nursery.start_soon(self._follow, partial(self._wait, client, job, at, self._random.random() < 0.3))
                elif how == "by hand":
                    room = {"jobId": job.job_id, "queue": job.queue}
                    if self._random.random() < 0.3:
                        room["until"] = "end"
                    nursery.start_soon(self._follow, partial(self._subscribe, client, room, at))
                else:
                    nursery.start_soon(
                        self._follow, partial(self._watch, client, job, at, ["*"] if how == "watch all" else [])
                    )

    async def _listen(self, client: AdapterClient) -> None:
        async for told in client.told:
            event, data = told["event"], told["data"]
            match event:
                case "transport":
                    self.ledger.counts[f"by {data}"] += 1
                case "connect" if self._again:
                    for room in self._by_hand:
                        await client.send("subscribe-job", room)
                case _ if event not in OUTCOMES:
                    self.ledger.counts[f"told of {event}"] += 1
                case _ if not (event == "removed" and data.get("prev") in ("completed", "failed")):
                    self.ledger.counts["by hand"] += 1
                    self.ledger.note((data["queue"], data["jobId"]), event, data, Outcome(UNKNOWN, False, 0))

    async def _follow(self, ask: Callable[[], Awaitable[None]]) -> None:
        await until_known(self.ledger, self._random, ask)

    async def _subscribe(self, client: AdapterClient, room: dict[str, object], at: float) -> None:
        await trio.sleep_until(at)
        (answer,) = await client.emit("subscribe-job", room)
        if answer.get("error", {}).get("code") == "unknown-queue":
            raise Rejected(answer["error"])
        if "until" not in room:  # with it, the pipes would report the end too late
            self._by_hand.append(room)
        if "error" in answer:
            self.ledger.faults.append(f"{self.ledger.name}: {room} was answered {answer}")

    async def _wait(self, client: AdapterClient, job: Job, at: float, again: bool) -> None:
        await trio.sleep_until(at)
        event, data = await _outcome(client, job)
        self.ledger.note(job.key, event, data, Outcome(UNKNOWN, False, 0))
        if again:  # a later call must get the same outcome
            await trio.sleep(1)
            event, data = await _outcome(client, job)
            self.ledger.counts["waited again"] += 1
            if not any(each.ends_with(event, data) or each.doomed for each in self.ledger.wanted[job.key]):
                self.ledger.faults.append(f"{self.ledger.name}: waiting again for {job.key} gave {event} {data}")

    async def _watch(self, client: AdapterClient, job: Job, at: float, events: list[str]) -> None:
        await trio.sleep_until(at)
        last = "0-0"
        async with client.watch(job.job_id, queue=job.queue, events=events) as watched:
            async for each in watched:
                event, id = each["event"], each.get("id")
                if event == "gap":
                    self.ledger.counts["gap frames"] += 1
                    last = "0-0"
                    continue
                self.ledger.count_frame(id, replayed="replayed" in each)
                if id is not None:
                    reached, _, made = id.partition("~")
                    if position(reached) < position(last) or (reached == last and not made):
                        self.ledger.faults.append(f"{self.ledger.name}: {each} after {last}")
                    last = reached
                if event in OUTCOMES:
                    self.ledger.note(job.key, event, each["data"], Outcome(id, "replayed" in each, 0))


async def _outcome(client: AdapterClient, job: Job) -> tuple[str, dict[str, Any]]:
    try:
        return "completed", {"returnvalue": await client.wait(job.job_id, queue=job.queue, expect=True)}
    except Rejected as rejected:
        if rejected.error["name"] == "JobFailed":
            return "failed", {"failedReason": rejected.error["reason"]}
        if rejected.error.get("code") == "unknown-queue":
            raise
        return "removed" if rejected.error["name"] == "JobRemoved" else "rejected", rejected.error
