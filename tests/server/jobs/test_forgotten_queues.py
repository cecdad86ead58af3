"""Queues whose keys are gone are forgotten. Nothing of them remains, and requests that are under way still end well."""

from __future__ import annotations

import gc
import json
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import trio_websocket

from jobws.bullmq.keys import Queue
from jobws.bullmq.reading.read_state import ReadState
from jobws.bullmq.snapshot import LookUp
from jobws.bullmq.store import Store
from jobws.hub.job_log.followers import Group, JobLogs
from jobws.hub.job_log.reader import JobLogReader
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.queue_history import QueueHistory
from jobws.privacy.rules import NO_RULES
from jobws.protocol.session import Session
from jobws.redis.connection import RedisTarget
from jobws.server.jobs.job_log_poller import JobLogPoller
from jobws.server.jobs.job_log_schedule import JobLogSchedule
from jobws.server.jobs.queue_readers import MAX_READERS
from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.fanout import ignore, new_fanout
from tests.support.http import call
from tests.support.sight import EVERYTHING
from tests.support.steps import ask_for, do_all
from tests.support.waiting import finish

if TYPE_CHECKING:
    from tests.support.bridge import Live
    from tests.support.redis import Redis

SOON: dict[str, Any] = {"queues": ("http", "*"), "discover_seconds": 0.1, "forget_seconds": 0.2}
MANY = 4000
EVENTS = 400


def make(redis: Redis, names: list[str]) -> None:
    pipeline = redis.client.pipeline(transaction=False)
    for name in names:
        pipeline.hset(f"bull:{name}:meta", "opts.maxLenEvents", "10000")
        pipeline.xadd(f"bull:{name}:events", {"event": "active", "jobId": "0"})
    pipeline.execute()


def obliterate(redis: Redis, names: list[str]) -> None:
    keys = ("meta", "events", "1", "active", "completed")
    redis.client.delete(*(f"bull:{name}:{key}" for name in names for key in keys))


async def until_forgotten(live: Live, name: str) -> None:
    await eventually(lambda: name not in live.bridge.queues.by_label)


def kept_of(live: Live) -> set[str]:
    """Return those of the names that are anywhere in a collection of the bridge's hub and queues."""
    held: set[str] = set()
    seen: set[int] = set()
    left: list[object] = [live.bridge.fanout, live.bridge.queues]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, str):
            held.add(each)
        elif isinstance(each, (dict, set, list, tuple)):
            left += [*each, *each.values()] if isinstance(each, dict) else each
        elif type(each).__module__.startswith("jobws."):
            names = {*getattr(each, "__dict__", ()), *getattr(type(each), "__slots__", ())}
            left += [getattr(each, name, None) for name in names]
    return {name for name in held if name.startswith("q-")}


async def test_nothing_remains_of_4000_queues(redis: Redis) -> None:
    names = [f"q-{number}" for number in range(MANY)]
    async with live_bridge(redis.url, **SOON) as live, raw_client(live.url) as client:
        make(redis, names)
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while len(live.bridge.queues.by_label) <= MANY:
                await anyio.sleep(0.05)
            await live.ready()
        ack = await client.ask("subscribe-job", {"jobId": "1"})
        assert len(ack["data"]["jobs"]) == 0
        await client.ask("unsubscribe-job", {"jobId": "1"})
        assert kept_of(live) == set(names)
        obliterate(redis, names)
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while len(live.bridge.queues.by_label) > 1:
                await anyio.sleep(0.05)
        # A reader sorts its streams each second.
        await eventually(lambda: not kept_of(live))
        gc.collect()
        # A variable in the loop of each reader still has the last one.
        assert sum(isinstance(each, (ReadState, QueueHistory)) for each in gc.get_objects()) <= 2 + MAX_READERS

        async with raw_client(live.url, hello=False) as late:
            assert (await late.receive())["data"]["queues"] == ["http"]
            ack = await late.ask("subscribe-job", "1")
            assert len(json.dumps(ack)) < 200
            pong = await late.ask("ping")
            assert set(pong["data"]["after"]) <= {"http"}

        def scrape() -> str:
            with urllib.request.urlopen(live.url + "/metrics", timeout=60) as response:
                text: str = response.read().decode()
                return text

        assert '"q-' not in await anyio.to_thread.run_sync(scrape)
        assert len((await call("GET", live.url + "/queues"))[1]["queues"]) == 1


async def test_a_queue_that_somebody_is_subscribed_to_stays(redis: Redis) -> None:
    """Also a queue in which the job of a subscription without a queue was seen, until the client ends it."""
    names = ["named", "seen", "whole"]
    make(redis, [*names, "other"])
    redis.add_job("seen", "1", state="active")
    async with live_bridge(redis.url, **SOON) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {"jobId": "x", "queue": "named"})
        await client.ask("subscribe-queue", "whole")
        await client.ask("subscribe-job", "1")
        obliterate(redis, [*names, "other"])
        await until_forgotten(live, "other")
        assert {"http", *names} == set(live.bridge.queues.by_label)
        make(redis, ["named"])
        sent = redis.add_event("named", "completed", "x", returnvalue="1")
        frames = await client.until("completed")
        assert frames[-1]["id"] == sent
        await client.until_answered("unsubscribe-job", "1")  # the other queues' gaps may come before the answer
        await until_forgotten(live, "seen")
        assert {"http", "named", "whole"} == set(live.bridge.queues.by_label)


async def test_a_queue_that_comes_back_is_found_again(redis: Redis) -> None:
    make(redis, ["back"])
    async with live_bridge(redis.url, **SOON) as live, raw_client(live.url) as client:
        for _ in range(2):
            obliterate(redis, ["back"])
            await until_forgotten(live, "back")
            make(redis, ["back"])
            redis.add_job("back", "1", state="active")
            ack = await client.ask("subscribe-job", {"jobId": "1", "queue": "back"})
            assert [job["state"] for job in ack["data"]["jobs"]] == ["active"]
            finish(redis, "1", "completed", "back", returnvalue="1")
            assert (await client.receive())["event"] == "completed"
            await client.ask("unsubscribe-job", {"jobId": "1", "queue": "back"})


# ---- in the middle of something ----


async def test_a_look_up_in_a_forgotten_queue_finds_nothing_and_all_others(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    queues = {label: Queue(label, "bull", label) for label in ("gone", "http")}
    store = Store(RedisTarget(redis.url), queues, NO_RULES)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        del queues["gone"]
        with anyio.fail_after(EVENTUALLY_SECONDS):
            look_up = await store.look_up({"gone": ["1"], "http": ["1"]})
        tasks.cancel_scope.cancel()
    assert ("gone", "1") not in look_up.found
    assert look_up.moments["gone", "1"] == look_up.ends["gone"] == "0-0"
    assert look_up.found["http", "1"] is not None


async def test_no_lines_are_read_in_a_forgotten_queue(redis: Redis) -> None:
    lines = JobLogs(set(), Counter(), ignore, ignore, ignore)
    store = Store(RedisTarget(redis.url), {}, NO_RULES)
    polls = JobLogPoller(lines, {}, NO_RULES, store, JobLogSchedule(hold_seconds=1.0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        assert await polls._send([Group(("gone", "1"), JobLogReader())]) == set()
        tasks.cancel_scope.cancel()


def test_a_join_goes_on_without_a_queue_that_is_forgotten() -> None:
    """The queue is forgotten between the look-up and the answer. Nothing of it remains."""
    for queue in (None, "gone"):
        labels = dict.fromkeys(("gone", "http"))
        fanout = new_fanout()
        limits = 10, 1 << 20
        connection = JobClient(
            Session(labels, 1 << 18, 10, EVERYTHING), fanout, labels, *limits, lambda: None, lambda _: None
        )
        for label in labels:
            do_all(fanout.fill(label, [], "0-0"))
        data = {"jobId": "1", "queue": queue, "after": {"gone": "5-0"}}
        join = connection.receive(json.dumps({"event": "subscribe-job", "data": data}), 0.0)
        assert join is not None
        query = ask_for(join, labels, fanout)
        del labels["gone"]
        fanout.forget("gone")
        query.keep_answer(LookUp({}, {("http", "1"): "0-0"}, {"http": "0-0"}))
        assert not any(map(query.must_wait_for, join.present))
        do_all(connection.complete(join, query, 0.0))
        (ack,) = [json.loads(frame.payload) for frame in connection.outbox.take()]
        assert ack["event"] == "ack"
        assert ack["data"].get("gap") == (True if queue else None)
        assert ack["data"].get("unknownQueue") == (True if queue else None)
        assert "gone" not in fanout.history._queues


async def test_a_client_that_is_read_back_to_gets_the_rest_when_a_queue_is_forgotten(redis: Redis) -> None:
    """The client must get more replays of two jobs than it reads. It ends one subscription, and the queue vanishes."""
    make(redis, ["gone"])
    for _ in range(EVENTS):
        redis.add_event("gone", "progress", "1", data=json.dumps("x" * 65536))
    ended = finish(redis, "2", "completed", returnvalue="1")
    async with (
        live_bridge(redis.url, outbox_bytes=1 << 20, **SOON) as live,
        trio_websocket.open_websocket_url(live.url.replace("http", "ws") + "/ws", max_message_size=1 << 24) as client,
    ):
        # The client reads messages one by one, so the others wait in the sockets, and then at the bridge.
        jobs = [{"jobId": "1", "queue": "gone", "events": ["*"], "after": "0-0"}, {"jobId": "2", "queue": "http"}]
        await client.send_message(json.dumps({"event": "subscribe-job", "data": {"jobs": jobs}}))
        (connection,) = live.bridge.clients.connected
        await eventually(lambda: not connection.outbox.below_low_water)
        left = {"jobId": "1", "queue": "gone"}
        await client.send_message(json.dumps({"event": "unsubscribe-job", "data": left}))
        obliterate(redis, ["gone"])
        await until_forgotten(live, "gone")
        events: list[str] = []
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while not events or events[-1] not in ("completed", "error"):
                frame = json.loads(await client.get_message())
                events.append(frame["event"])
        assert (frame["event"], frame.get("id")) == ("completed", ended)
        assert events.count("progress") < EVENTS
