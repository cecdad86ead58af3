"""Flows: one subscription follows a job and all jobs below it, in every queue of the bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobws.server.jobs.flows import client_of
from tests.support import eventually
from tests.support.client import raw_client
from tests.support.flows import (
    FLOW,
    QUEUES,
    add_child,
    add_flow,
    end,
    end_child,
    end_flow,
    flow_bridge,
    outcomes,
    told,
    until_top,
)
from tests.support.tokens import jwt

SECRET = b"x" * 32

if TYPE_CHECKING:
    from tests.support.redis import Redis

OUTCOMES = {("completed", "c", "a"), ("completed", "a", "top"), ("failed", "b", "top")}


async def test_a_flow_is_followed_to_its_end(redis: Redis) -> None:
    add_flow(redis)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await client.ask("subscribe-job", {**FLOW, "until": "end"})
        assert ack["data"]["after"] == {"http": "0-0"}
        assert [job["jobId"] for job in ack["data"]["jobs"]] == ["top"]
        end_flow(redis)
        frames = await until_top(client)
        assert set(told(frames[:-1])) == OUTCOMES
        assert len(frames) == 4
        assert told(frames)[-1] == ("completed", "top", None)
        assert all(frame["sub"] == 5 and "id" not in frame for frame in frames)
        assert frames[0]["data"]["queue"] in QUEUES


async def test_what_happened_before_comes_after_the_ack(redis: Redis) -> None:
    add_flow(redis)
    end_flow(redis)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {**FLOW, "until": "end"})
        frames = await until_top(client)
        assert set(told(frames[:-1])) == OUTCOMES
        assert len(frames) == 4
        assert all(frame["replayed"] for frame in frames)


async def test_children_that_are_added_later_are_found(redis: Redis) -> None:
    add_flow(redis)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {**FLOW, "events": ["added", "completed"]})
        end_child(redis, ("sparql", "a"), "techstack", "c")
        await client.until("completed", jobId="c")  # so the jobs below were looked up
        add_child(redis, ("techstack", "b"), "http", "d")
        assert (await client.until("added", jobId="d"))[-1]["parent"] == {"queue": "techstack", "jobId": "b"}
        end_child(redis, ("techstack", "b"), "http", "d")
        await client.until("completed", jobId="d")


async def test_a_child_that_takes_the_place_of_another_one_is_found(redis: Redis) -> None:
    """The lists of its parent have as many jobs as before."""
    add_flow(redis)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {**FLOW, "events": ["added", "completed"]})
        end_child(redis, ("sparql", "a"), "techstack", "c")
        await client.until("completed", jobId="c")  # so the lists were read
        redis.add_job("sparql", "d", parentKey="bull:http:top")
        with redis.client.pipeline() as together:
            together.srem("bull:http:top:dependencies", "bull:techstack:b")
            together.sadd("bull:http:top:dependencies", "bull:sparql:d")
            together.xadd("bull:techstack:events", {"event": "removed", "jobId": "b", "prev": "wait"})
            together.xadd("bull:sparql:events", {"event": "added", "jobId": "d", "name": "test"})
            together.execute()
        assert (await client.until("added", jobId="d"))[-1]["parent"] == {"queue": "http", "jobId": "top"}


async def test_children_of_a_life_that_ended_before_anybody_looked_are_found(redis: Redis) -> None:
    add_flow(redis)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", FLOW)
        sent = end_child(redis, ("http", "top"), "techstack", "b")
        after: dict[str, str] = {}
        while after.get("techstack") != sent:  # so its lists were read after it had ended
            after |= (await client.until("pong"))[-1]["data"]["after"]
        redis.add_job("sparql", "d", state="completed", parentKey="bull:techstack:b", returnvalue="1", finishedOn=1)
        with redis.client.pipeline() as together:
            together.xadd("bull:techstack:events", {"event": "waiting", "jobId": "b", "prev": "completed"})
            together.xadd("bull:sparql:events", {"event": "added", "jobId": "d", "name": "test"})
            together.hset("bull:techstack:b:processed", "bull:sparql:d", "1")
            together.xadd("bull:sparql:events", {"event": "completed", "jobId": "d", "returnvalue": "1"})
            together.xadd("bull:techstack:events", {"event": "completed", "jobId": "b", "returnvalue": "1"})
            together.execute()
        assert (await client.until("completed", jobId="d"))[-1]["parent"] == {"queue": "techstack", "jobId": "b"}


@pytest.mark.parametrize("restart", [False, True])
async def test_a_client_that_returns_misses_no_outcome_and_gets_none_twice(redis: Redis, restart: bool) -> None:
    add_flow(redis)
    after: dict[str, str] = {}
    async with flow_bridge(redis.url) as live:
        async with raw_client(live.url) as client:
            ack = await client.ask("subscribe-job", FLOW)
            after = ack["data"]["after"]
            sent = end_child(redis, ("sparql", "a"), "techstack", "c")
            await client.until("completed", jobId="c")
            while after.get("techstack") != sent:
                after |= (await client.until("pong"))[-1]["data"]["after"]
        if not restart:
            await back(redis, live.url, after)
    if restart:
        async with flow_bridge(redis.url) as live:
            await back(redis, live.url, after)


async def back(redis: Redis, url: str, after: dict[str, str]) -> None:
    # A child that fails is then in no list (`removeDependencyOnFailure`).
    add_child(redis, ("sparql", "a"), "http", "gone")
    redis.client.srem("bull:sparql:a:dependencies", "bull:http:gone")
    end(redis, "http", "gone", "failed")
    end_child(redis, ("http", "top"), "techstack", "b", "failed")
    async with raw_client(url) as client:
        await client.ask("subscribe-job", {**FLOW, "after": after, "until": "end"})
        end_child(redis, ("http", "top"), "sparql", "a")
        end(redis, "http", "top")
        frames = await until_top(client)
        assert sorted(told(frames[:-1])) == [
            *(("completed", "a", "top"), ("failed", "b", "top"), ("failed", "gone", "a")),
        ]


async def test_a_flow_ends_if_one_of_its_jobs_has_too_many_subscriptions(redis: Redis) -> None:
    add_flow(redis)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        for number in range(16):
            await client.ask("subscribe-job", {"jobId": "c", "queue": "techstack", "sub": number})
        await client.ask("subscribe-job", {**FLOW, "sub": "flow"})
        *_, ended = await client.until("ended")
        assert (ended["sub"], ended["data"]["code"]) == ("flow", "too-many")
        end_flow(redis)
        assert told(await outcomes(client, 16)) == [("completed", "c", None)] * 16
        await client.send("ping")
        assert told(await client.until("pong")) == [], "nothing of the flow follows"


async def test_a_flow_with_too_many_jobs_ends(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobws.server.jobs.flows.MAX_JOBS", 3)
    add_flow(redis)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", FLOW)
        end_child(redis, ("sparql", "a"), "techstack", "c")
        await client.until("completed", jobId="c")  # three jobs are not too many
        add_child(redis, ("techstack", "b"), "http", "d")
        assert (await client.until("ended"))[-1]["data"]["code"] == "too-many"


async def test_a_client_with_many_flows_slows_only_its_own(redis: Redis) -> None:
    add_flow(redis)
    bob, eve = (jwt("read:jobs:*", key=SECRET, sub=sub) for sub in ("bob", "eve"))
    async with (
        flow_bridge(redis.url, jwt_secret=SECRET.decode()) as live,
        raw_client(live.url, headers=[("Authorization", f"Bearer {bob}")]) as client,
        raw_client(live.url, headers=[("Authorization", f"Bearer {eve}")]) as other,
    ):
        await client.ask("subscribe-job", FLOW)
        jobs = [{"jobId": str(number), "queue": "http", "children": True} for number in range(1000)]
        await other.ask("subscribe-job", jobs)
        flows: Any = live.bridge.clients.endpoint._flows  # type: ignore[attr-defined]
        await eventually(lambda: len(flows._followed) == 1001)  # they are admitted after the ack
        pauses = {client_of(flow).payer: flows.pause_seconds(flow) for flow in flows._followed}
        assert pauses[None, "bob"] == flows.seconds
        assert pauses[None, "eve"] > 5
    assert not flows._payers
