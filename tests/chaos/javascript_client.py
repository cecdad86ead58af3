"""The adapter `jobws.js` in Node: it waits, watches, and subscribes by hand as old pages do, from random moments on."""

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
# `wait` and handlers do not tell where an outcome came from.
UNKNOWN: Final = "-"
# One after the other. The impatient one falls back to HTTP where a proxy hangs, and comes back; the third has nothing
# but HTTP, where each further job costs an answer about all of them.
OPTIONS: Final[list[dict[str, object]]] = [
    {},
    {"timeout": 1500, "upgradeDelay": 1000, "upgradeDelayMax": 1000},
    {"WebSocket": False, "timeout": 3000},
    {},
]


class JavascriptClient:
    """A page. It never learns of the trouble, or subscribes again on `connect`, which must make no difference.

    Args:
        name: Its name.
        jobs: What it follows.
        random: Its chance.
        proxy: Where it connects to.
        number: Chooses its options.
        node: Where it runs.
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
                if int(job.job_id[1:]) % 8 == 0:  # the same id in both queues, and one subscription
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
        if "until" not in room:  # what comes through pipes would come too late to know that it ended
            self._by_hand.append(room)
        if "error" in answer:
            self.ledger.faults.append(f"{self.ledger.name}: {room} was answered {answer}")

    async def _wait(self, client: AdapterClient, job: Job, at: float, again: bool) -> None:
        await trio.sleep_until(at)
        event, data = await _outcome(client, job)
        self.ledger.note(job.key, event, data, Outcome(UNKNOWN, False, 0))
        if again:  # whoever comes later gets the same
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
