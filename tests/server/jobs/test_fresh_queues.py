"""Queues that appeared after the last pass of discovery: clients name them, wait for them, and submit to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from jobws.client import connect
from jobws.errors import JobUnknown, ResponseError
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import call
from tests.support.waiting import Held, finish

if TYPE_CHECKING:
    from tests.support.redis import Redis

# After its start, the bridge makes no further pass.
NEVER: dict[str, Any] = {"queues": ("http", "*"), "discover_seconds": 3600}
# A busy machine takes so long to start a bridge and a client.
PAUSE_MILLISECONDS = 4000


def make_job(redis: Redis, queue: str, job_id: str) -> None:
    """Make a queue with an active job."""
    redis.make_queue(queue)
    redis.add_job(queue, job_id, state="active")
    redis.add_event(queue, "active", job_id, prev="waiting")


async def test_a_wait_that_names_a_fresh_queue(redis: Redis) -> None:
    async with live_bridge(redis.url, **NEVER) as live, connect(live.url) as jobs, anyio.create_task_group() as tasks:
        make_job(redis, "fresh", "1")

        async def wait() -> None:
            assert await jobs.wait("1", "fresh") == 3

        tasks.start_soon(wait)
        await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("fresh", "1")))
        finish(redis, "1", "completed", "fresh", returnvalue="3")


async def test_a_client_that_expects_a_queue_waits_for_it(redis: Redis) -> None:
    async with live_bridge(redis.url, **NEVER) as live, connect(live.url) as jobs, anyio.create_task_group() as tasks:
        with pytest.raises(ResponseError, match='1: no queue "fresh"; if it is about to come') as refused:
            await jobs.wait("1", "fresh")
        assert refused.value.code == "unknown-queue"

        async def wait() -> None:
            assert await jobs.wait("1", "fresh", expect=True) == 3

        tasks.start_soon(wait)
        async with jobs.watch("2", "fresh", ["active"]) as events:
            make_job(redis, "fresh", "1")
            finish(redis, "1", "completed", "fresh", returnvalue="3")
            told = [redis.add_event("fresh", "active", "2"), redis.add_event("fresh", "failed", "2", failedReason="x")]
            assert [event.id async for event in events] == told
        with pytest.raises(JobUnknown):
            await jobs.wait("4", "fresh")


async def test_http_looks_for_a_fresh_queue_too(redis: Redis) -> None:
    async with live_bridge(redis.url, **NEVER) as live, anyio.create_task_group() as tasks:
        for path in (
            "/jobs/fresh/1",
            "/jobs?queue=fresh&jobId=1",
            "/queues/fresh/jobs?state=active",
            "/jobs/fresh/1/logs",
        ):
            status, problem = await call("GET", live.url + path)
            assert (status, problem["code"]) == (404, "unknown-queue"), path
        status, problem = await call("GET", live.url + "/jobs/fresh/1?wait=0.1")
        assert (status, problem["code"]) == (404, "unknown-queue")
        _, answer = await call("POST", live.url + "/lookup", [{"jobId": "1", "queue": "fresh"}, "1"])
        assert [each.get("error", {}).get("code") for each in answer["results"]] == ["unknown-queue", None]

        early = Held(live, tasks, "/jobs/fresh/1?wait=30")
        await early.waits()
        make_job(redis, "fresh", "1")
        late = Held(live, tasks, "/jobs/fresh/1?wait=30")
        await eventually(lambda: "fresh" in live.bridge.queues.by_label)
        finish(redis, "1", "completed", "fresh", returnvalue="3")
        assert [(await each.answer())[1]["returnvalue"] for each in (early, late)] == [3, 3]

        make_job(redis, "other", "1")
        assert (await call("GET", live.url + "/queues/other/jobs?state=active"))[1]["jobs"][0]["jobId"] == "1"
        make_job(redis, "third", "1")
        _, answer = await call("POST", live.url + "/lookup", [{"jobId": "1", "queue": "third"}])
        assert [job["queue"] for job in answer["results"][0]["jobs"]] == ["third"]


async def test_a_submit_makes_a_queue_which_is_known_then(redis: Redis) -> None:
    async with live_bridge(redis.url, **NEVER) as live, raw_client(live.url) as client:
        status, answer = await call("POST", live.url + "/jobs/fresh", {"data": 1, "jobId": "a"})
        assert (status, answer["existing"]) == (202, False)
        assert "fresh" in live.bridge.queues.by_label
        ack = await client.ask("subscribe-job", {"jobId": "a", "queue": "fresh"})
        assert [job["state"] for job in ack["data"]["jobs"]] == ["waiting"]
        status, answer = await call("POST", live.url + "/jobs/fresh", {"data": 1, "jobId": "a"})
        assert (status, answer["existing"]) == (202, True)
        status, problem = await call("POST", live.url + "/jobs/a:b", {"data": 1})
        assert (status, problem["code"]) == (400, "bad-queue")


async def test_without_discovery_no_queue_comes(redis: Redis) -> None:
    redis.make_queue("fresh")
    async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
        status, problem = await call("POST", live.url + "/jobs/fresh", {"data": 1})
        assert (status, problem["code"]) == (404, "unknown-queue")
        for _ in range(20):
            refused = await client.ask("subscribe-job", {"jobId": "a", "queue": "fresh"})
            assert refused["data"]["code"] == "unknown-queue"
        assert (await client.closed())[0] == 4502


async def test_looks_are_few_and_shared(redis: Redis) -> None:
    """A client gets at most four searches a second after its burst.

    A name is searched once, however many clients ask for it.
    """

    def asked() -> int:
        return int(redis.client.info("commandstats").get("cmdstat_hexists", {"calls": 0})["calls"])

    async with live_bridge(redis.url, **NEVER) as live, raw_client(live.url) as client:
        before = asked()
        began = anyio.current_time()
        for number in range(24):
            ack = await client.ask("subscribe-job", {"jobId": "1", "queue": f"fresh-{number}"})
            assert ack["data"]["unknownQueue"]
            await client.ask("unsubscribe-job", {"jobId": "1", "queue": f"fresh-{number}"})
        seconds = anyio.current_time() - began
        # And once a second for a subscription that waits.
        assert asked() - before <= 24 + seconds + 1
        assert seconds > 1
        before = asked()
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(call, "GET", live.url + "/jobs/nowhere/1")
        assert asked() - before < 50


async def test_a_client_that_asks_for_a_thousand_queues_holds_up_nobody(redis: Redis) -> None:
    async with live_bridge(redis.url, **NEVER) as live, raw_client(live.url) as many, raw_client(live.url) as one:
        redis.make_queue("fresh")
        await many.send("subscribe-job", {"jobs": [{"jobId": "1", "queue": f"none-{n}"} for n in range(1000)]})
        await eventually(lambda: any(each.catching_up for each in live.bridge.clients.connected))
        ack = await one.ask("subscribe-job", {"jobId": "1", "queue": "fresh"})
        assert "unknownQueue" not in ack["data"]
        # The searches of the other client take a second.
        assert any(each.catching_up for each in live.bridge.clients.connected)
        assert all(result["unknownQueue"] for result in (await many.receive())["data"]["results"])


async def test_a_subscription_without_a_queue_waits_for_the_first_look(redis: Redis) -> None:
    """It comes before the first pass of discovery, which is slow here. It still gets what the queues have."""
    make_job(redis, "early", "1")
    ended = redis.add_event("early", "completed", "1", returnvalue="3")
    redis.client.hset("bull:early:1", mapping={"finishedOn": 1, "returnvalue": "3"})
    redis.client.client_pause(PAUSE_MILLISECONDS)
    async with live_bridge(redis.url, ready=False, queues=("*",)) as live, raw_client(live.url) as client:
        assert not live.bridge.queues.is_scanned
        ack = await client.ask("subscribe-job", "1")
        assert [job["queue"] for job in ack["data"]["jobs"]] == ["early"]
        outcome = await client.receive()
        assert (outcome["event"], outcome["id"]) == ("completed", ended)


async def test_http_without_a_queue_waits_for_the_first_look(redis: Redis) -> None:
    make_job(redis, "early", "1")
    redis.client.client_pause(PAUSE_MILLISECONDS)
    async with live_bridge(redis.url, ready=False, queues=("*",)) as live:
        assert not live.bridge.queues.is_scanned
        _, answer = await call("GET", live.url + "/jobs/1")
        assert [job["queue"] for job in answer["jobs"]] == ["early"]
        _, answer = await call("POST", live.url + "/lookup", ["1"])
        assert [job["queue"] for job in answer["results"][0]["jobs"]] == ["early"]
