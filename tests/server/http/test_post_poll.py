"""`POST /events?wait=` (protocol.md, rule H8): answers that end, after which the client sends the next request."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from jobws.protocol.identifiers import position
from tests.support import eventually
from tests.support.bridge import live_bridge, quick_bridge
from tests.support.event_source import frame_source, poll
from tests.support.servers import server_counts
from tests.support.waiting import RESULT, is_free, subscribe

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.bullmq.snapshot import LookUp
    from tests.support.redis import Redis

IN_THREAD = anyio.to_thread.run_sync
FINISHED = 1_795_435_730_000
pytestmark = pytest.mark.usefixtures("no_early_pong")


def names(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["event"] for frame in frames]


@pytest.mark.parametrize("wait", ["0", "0.0", "0.3"])
async def test_without_news_it_ends_when_the_time_is_over(redis: Redis, wait: str) -> None:
    redis.add_job("http", "1", state="active")
    async with live_bridge(redis.url) as live:
        began = anyio.current_time()
        frames = await poll(live.url, [subscribe(["1"]), {"event": "nope"}, {"event": "ping"}], wait)
        assert float(wait) <= anyio.current_time() - began < float(wait) + 15
        assert sorted(names(frames)[:-1]) == ["ack", "error", "hello", "pong"]
        assert frames[-1]["event"] == "pong"
        assert set(frames[-1]["data"]["after"]) == {"http"}
        await eventually(lambda: is_free(live))


async def test_it_ends_with_the_first_news(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        async with frame_source(live.url, [subscribe(["1", "2"], events=["progress"])], wait="30") as source:
            for _ in range(2):
                await source.frame()
            redis.add_event("http", "completed", "1", returnvalue="1")
            sent = redis.add_event("http", "progress", "2", data="1")
            with anyio.fail_after(20):
                event, pong = [event.data for event in await source.rest()]
            assert (event["id"], pong["event"]) == (sent, "pong")
        await eventually(lambda: is_free(live))


async def test_a_gap_is_news(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    last = redis.add_event("http", "active", "1")
    async with quick_bridge(redis.url) as live:
        await eventually(lambda: live.bridge.fanout.cursors["http"] == last)
        async with frame_source(live.url, [subscribe(["1"], queue="http")], wait="30") as source:
            for _ in range(2):
                await source.frame()
            redis.client.delete("bull:http:events")
            redis.add_event("http", "active", "2")
            with anyio.fail_after(20):
                received = [event.data for event in await source.rest()]
            reason = "recreated" if server_counts() else "trimmed"
            assert (names(received), received[0]["data"]["reason"]) == (["gap", "pong"], reason)


async def test_everything_is_answered_and_replayed_before_it_ends(redis: Redis) -> None:
    """Also with a short wait, and if the outbox can hold only a part.

    Replays are news, so the poll ends immediately.
    """
    jobs = [f"{number}" for number in range(40)]
    for job_id in jobs:
        redis.add_event("http", "completed", job_id, returnvalue=RESULT)
    redis.add_job("http", "kept", state="failed", finishedOn=FINISHED, failedReason="no such page")
    async with live_bridge(redis.url, outbox_bytes=300_000) as live:
        requests = [
            subscribe(jobs[:20], queue="http"),
            {"event": "ping"},
            subscribe([*jobs[20:], "kept"], queue="http"),
        ]
        for wait in ("0", "30"):
            began = anyio.current_time()
            frames = await poll(live.url, requests, wait)
            assert anyio.current_time() - began < 10
            received = [frame["data"]["jobId"] for frame in frames if "replayed" in frame]
            assert sorted(received) == sorted([*jobs, "kept"])
            assert names(frames).count("ack") == 2
            assert frames[-1]["event"] == "pong"


async def test_news_is_news_though_answers_follow_it(redis: Redis) -> None:
    redis.add_event("http", "completed", "1", returnvalue="1")
    async with live_bridge(redis.url, burst_messages=1, messages_per_second=1.0) as live:
        began = anyio.current_time()
        frames = await poll(live.url, [subscribe(["1"]), *[{"event": "ping"}] * 3], "30")
        assert sorted(names(frames)) == ["ack", "completed", "hello", *["pong"] * 4]
        # The outcome comes before the third message is read, two seconds after the first.
        assert names(frames)[-2:] == ["pong"] * 2
        assert anyio.current_time() - began < 20


async def test_last_lines_and_an_outcome_are_the_end(redis: Redis) -> None:
    """Nothing comes after them that would show that the client has left."""
    redis.add_job("http", "1", state="active")
    redis.client.rpush("bull:http:1:logs", "a")
    async with live_bridge(redis.url) as live:
        sent = redis.add_event("http", "completed", "1", returnvalue="1")
        await eventually(lambda: live.bridge.fanout.cursors["http"] == sent)
        began = anyio.current_time()
        request = subscribe(["1"], queue="http", after="0-0", until="end", logs=True)
        assert names(await poll(live.url, [request], "30")) == ["hello", "ack", "job-log", "completed", "pong"]
        assert anyio.current_time() - began < 5


async def test_an_outcome_that_was_looked_for_in_vain_holds_nothing_up(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the job's hash is read, the job is alive again. So nothing is sent, and the poll ends."""
    redis.add_job("http", "1", state="completed", finishedOn=FINISHED, returnvalue="1")
    async with live_bridge(redis.url) as live:
        look_up = live.bridge._result_store.look_up

        async def after_a_retry(*arguments: Any) -> LookUp:
            await IN_THREAD(redis.client.hdel, "bull:http:1", "finishedOn", "returnvalue")
            await IN_THREAD(redis.client.zrem, "bull:http:completed", "1")
            return await look_up(*arguments)

        monkeypatch.setattr(live.bridge._result_store, "look_up", after_a_retry)
        began = anyio.current_time()
        assert names(await poll(live.url, [subscribe(["1"], queue="http")])) == ["hello", "ack", "pong"]
        assert anyio.current_time() - began < 5


async def test_where_nothing_can_come_nothing_is_waited_for(redis: Redis) -> None:
    redis.add_event("http", "failed", "1", failedReason="x")
    async with live_bridge(redis.url) as live:
        for requests in (
            [],
            [{"event": "ping"}],
            [{"event": "subscribe-job", "data": ""}],
            [subscribe(["1"], until="end")],
        ):
            began = anyio.current_time()
            assert names(await poll(live.url, requests, "30"))[-1] == "pong"
            assert anyio.current_time() - began < 5


async def test_a_redis_that_is_away_is_reported_after_the_wait_for_it(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    async with live_bridge(redis.url, join_seconds=0.3) as live:
        await IN_THREAD(redis.server.kill)
        _, error, pong = await poll(live.url, [subscribe(["1"])])
        assert (error["data"]["code"], pong["event"]) == ("unavailable", "pong")


async def test_what_happens_while_the_answer_is_on_its_way_does_not_cut_it(redis: Redis) -> None:
    """The client is slow, and its jobs go on. Their events are for the next request."""
    # More than all buffers can hold, so the end waits for the reader.
    redis.add_event("http", "completed", "0", returnvalue='"' + "x" * 16_000_000 + '"')
    requests = [subscribe(["0"], queue="http", events=["completed", "progress"])]
    async with (
        live_bridge(redis.url, outbox_bytes=1_000_000, max_result_bytes=20_000_000) as live,
        frame_source(live.url, requests, wait="9") as source,
    ):
        for _ in range(2):
            await source.frame()
        await eventually(lambda: not live.bridge.fanout.rooms)
        assert len(live.bridge.clients.connected) == 1
        for _ in range(30):
            redis.add_event("http", "progress", "0", data=RESULT)
        assert [event.data["event"] for event in await source.rest()] == ["completed", "pong"]


class Poller:
    """A client that follows rule R4: it keeps a position for each job, from the ack, the events and the pongs."""

    def __init__(self) -> None:
        self.positions: dict[str, dict[str, str]] = {}
        self.received: list[tuple[str, str, str]] = []
        self.waiting: set[str] = set()

    async def poll(self, url: str, wait: str) -> None:
        order = sorted(self.waiting)
        jobs = [{"jobId": job, **({"after": after} if (after := self.positions.get(job)) else {})} for job in order]
        frames = await poll(url, [subscribe(jobs, queue="http", events=["progress", "completed", "failed"])], wait)
        assert names(frames)[:2] == ["hello", "ack"]
        assert names(frames)[-1] == "pong"
        ack = frames[1]["data"]
        for job_id, result in zip(order, ack["results"], strict=True):
            assert not result.get("gap")
            self.positions[job_id] = {**ack["after"], **result.get("after", {})}
        for frame in frames[2:-1]:
            job_id = frame["data"]["jobId"]
            self.received.append((job_id, frame["event"], frame["id"]))
            self.positions[job_id]["http"] = frame["id"]
            if frame["event"] != "progress":
                self.waiting.discard(job_id)
        for job_id in order:
            vouched = frames[-1]["data"]["after"].get("http", "0-0")
            self.positions[job_id]["http"] = max(self.positions[job_id]["http"], vouched, key=position)


@pytest.mark.thorough
async def test_no_outcome_is_lost_or_doubled_over_two_hundred_polls(redis: Redis) -> None:
    """Jobs run and end at full speed, before, during and between polls. Most of them are removed."""
    chance = random.Random(7)
    polls, jobs_per_poll = 200, 5
    written: dict[str, list[tuple[str, str]]] = {}
    stopped = threading.Event()
    redis.client.hset("bull:http:meta", "opts.maxLenEvents", 1_000_000)

    def write(slot: int) -> None:
        """End one job after the other, without a pause, until the polls are over, and then the remaining ones."""
        number = 0
        while not stopped.is_set() and number < 4000:
            job_id = f"{slot}-{number}"
            redis.add_job("http", job_id, state="active")
            for event, fields in (
                ("progress", {"data": "1"}),
                ("progress", {"data": "2"}),
                (("completed", {"returnvalue": "1"}) if number % 3 else ("failed", {"failedReason": "x"})),
            ):
                sent = redis.add_event("http", event, job_id, **fields)
                written.setdefault(job_id, []).append((event, sent))
            redis.client.delete(f"bull:http:{job_id}")
            number += 1

    poller = Poller()
    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:
        # With Redis 6.2, a thousand new entries look like a trimmed stream, unless an entry was read before.
        first = redis.add_event("http", "active", "first")
        await eventually(lambda: live.bridge.fanout.cursors["http"] == first)
        tasks.start_soon(IN_THREAD, write, 0)
        tasks.start_soon(IN_THREAD, write, 1)
        chosen: set[str] = set()
        for _ in range(polls):
            # Some ended long before, some are running, and some do not exist yet.
            now = len(written) // 2
            for _ in range(jobs_per_poll):
                chosen.add(f"{chance.randrange(2)}-{min(3999, max(0, now + chance.randrange(-20, 40)))}")
            poller.waiting |= chosen - {job for job, event, _ in poller.received if event != "progress"}
            await poller.poll(live.url, chance.choice(["0", "0", "0.02", "0.1", "5"]))
        stopped.set()
    async with live_bridge(redis.url) as live:
        poller.waiting &= written.keys()
        while poller.waiting:
            await poller.poll(live.url, "5")
    outcomes = [(job, sent) for job, event, sent in poller.received if event != "progress"]
    ends = {job: events[-1][1] for job, events in written.items()}
    assert len(outcomes) > 100
    assert sorted(outcomes) == sorted((job, ends[job]) for job in chosen & written.keys())
    assert len(set(poller.received)) == len(poller.received)
