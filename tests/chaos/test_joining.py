"""A client subscribes at a random moment around a job's completion, a thousand times. Each outcome comes once."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio

from jobws.protocol.identifiers import position
from tests.support.bridge import live_bridge
from tests.support.client import raw_client

if TYPE_CHECKING:
    from tests.support.bridge import Live
    from tests.support.client import RawClient
    from tests.support.redis import Redis

ROUNDS = 1000
# How often an outcome must have come in each way. One way needs a moment that lasts a tenth of a millisecond, so the
# number of rounds varies.
LEAST = 100
MOST_ROUNDS = 10_000
SEED = 5
WAYS = ("replayed", "between", "live")
# How far to move the moment when an outcome came in another way than intended.
STEP_SECONDS = 0.0001


class Moments:
    """Chooses when a job ends, in seconds after its subscription was sent, so that its outcome comes in a certain way.

    Attributes:
        early: Before this moment, the snapshot mostly shows the end.
        late: After this moment, outcomes mostly come live. Between the two, they come after the look-up and before the
            ack.
    """

    def __init__(self) -> None:
        self.early = 0.0
        self.late = 0.004
        self._random = random.Random(SEED)

    def choose(self, way: str) -> float:
        match way:
            case "replayed":
                return self._random.uniform(self.early - 0.004, self.early)
            case "live":
                return self._random.uniform(self.late, self.late + 0.004)
            case _:
                return self._random.uniform(self.early, self.late)

    def learn(self, meant: str, moment: float, way: str) -> None:
        """Move the limits if the outcome came in another way than `meant`."""
        if meant == way:
            return
        if "replayed" in (meant, way):
            self.early += STEP_SECONDS if way == "replayed" else -STEP_SECONDS
        if "live" in (meant, way):
            self.late += -STEP_SECONDS if way == "live" else STEP_SECONDS
        if self.late < self.early + STEP_SECONDS:  # the limit that was moved pushes the other one
            if way == "live":
                self.early = self.late - STEP_SECONDS
            else:
                self.late = self.early + STEP_SECONDS


@pytest.mark.thorough
async def test_anyone_who_joins_around_the_completion_gets_the_outcome_once(redis: Redis) -> None:
    moments = Moments()
    came: Counter[str] = Counter()
    async with (
        live_bridge(redis.url, messages_per_second=1e6) as live,
        raw_client(live.url) as client,
        trio.open_nursery() as nursery,
    ):
        while came.total() < ROUNDS or (min(came[way] for way in WAYS) < LEAST and came.total() < MOST_ROUNDS):
            number = came.total()
            meant = min(WAYS, key=lambda way: came[way])
            moment = moments.choose(meant)
            job_id = f"j{number}"
            redis.add_job("http", job_id, state="active")
            way = await _round(redis, live, client, nursery, job_id, moment)
            moments.learn(meant, moment, way)
            came[way] += 1
    print(dict(came), f"between {moments.early * 1000:.1f} and {moments.late * 1000:.1f} ms")
    assert all(came[way] >= LEAST for way in WAYS), came


async def _round(redis: Redis, live: Live, client: RawClient, nursery: trio.Nursery, job_id: str, moment: float) -> str:
    """Subscribe to a job that ends so many seconds later. Return the way in which its outcome came."""
    before = Counter(live.bridge.fanout.counts)
    completed = trio.Event()

    async def complete(at: float) -> None:
        await trio.sleep_until(at)
        _complete(redis, job_id)
        completed.set()

    now = trio.current_time()
    nursery.start_soon(complete, now + max(0.0, moment))
    if moment < 0:
        await trio.sleep(-moment)
    await client.send("subscribe-job", {"jobId": job_id, "queue": "http"})
    ack = await client.receive()
    assert ack["event"] == "ack", ack
    outcome = await client.receive()
    assert (outcome["event"], outcome["data"]["jobId"]) == ("completed", job_id)
    assert "id" in outcome
    await completed.wait()
    answer = await client.ask("unsubscribe-job", {"jobId": job_id, "queue": "http"})
    assert (answer["event"], answer["data"]["left"]) == ("ack", True), "the outcome came twice"
    grown = {name: count - before[name] for name, count in live.bridge.fanout.counts.items()}
    ((snapshot,), after) = ack["data"]["jobs"], ack["data"]["after"]["http"]
    assert position(after) < position(outcome["id"])
    way = "live" if "replayed" not in outcome else "replayed" if snapshot["state"] == "completed" else "between"
    assert grown.get("replayed", 0) == (way != "live")
    return way


def _complete(redis: Redis, job_id: str) -> None:
    """Complete a job in one transaction, as BullMQ's script does."""
    pipe = redis.client.pipeline(transaction=True)
    pipe.lrem("bull:http:active", 1, job_id)
    pipe.zadd("bull:http:completed", {job_id: time.time() * 1000})
    pipe.hset(f"bull:http:{job_id}", mapping={"finishedOn": f"{time.time() * 1000:.0f}", "returnvalue": "1"})
    pipe.xadd("bull:http:events", {"event": "completed", "jobId": job_id, "returnvalue": "1", "prev": "active"})
    pipe.execute()
