"""Flows of clients that may not see all jobs of them: what they may not see is as if it did not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.authorizer import scope_authorizer
from tests.support.client import raw_client
from tests.support.flows import (
    FLOW,
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
from tests.support.signing import SECRET
from tests.support.tokens import bearer, jwt

if TYPE_CHECKING:
    from tests.support.redis import Redis

TOP = "read:jobs:http/top"
KEYS: Any = {"jwt_secret": SECRET.decode()}


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (f"{TOP}:children", "abc"),
        ("read:jobs:*", "abc"),
        ("admin", "abc"),
        (TOP, ""),
        (f"{TOP} read:jobs:techstack", "b"),  # `c` is below `a`, which is not there for the client
        (f"{TOP} read:jobs:sparql", "a"),
        (f"{TOP} read:jobs:sparql/a read:jobs:techstack/c", "ac"),
        ("read:jobs:http read:jobs:sparql/a:children", "a"),
    ],
)
async def test_a_client_gets_the_jobs_below_that_its_token_allows(redis: Redis, scope: str, seen: str) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url, **KEYS) as live,
        raw_client(live.url, headers=list(bearer(scope).items())) as client,
    ):
        await client.ask("subscribe-job", {**FLOW, "until": "end"})
        end_flow(redis)
        frames = told(await until_top(client))
        assert sorted(job_id for _, job_id, _ in frames[:-1]) == [*seen]


@pytest.mark.parametrize("scope", ["read:jobs:sparql read:jobs:techstack", "read:jobs:http/other:children"])
async def test_without_the_job_itself_there_is_no_flow(redis: Redis, scope: str) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url, **KEYS) as live,
        raw_client(live.url, headers=list(bearer(scope).items())) as client,
    ):
        assert (await client.ask("subscribe-job", FLOW))["data"]["code"] == "forbidden"


async def test_the_right_to_a_flow_allows_its_jobs_through_children_only(redis: Redis) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url, **KEYS) as live,
        raw_client(live.url, headers=list(bearer(f"{TOP}:children").items())) as client,
    ):
        for data in ({"jobId": "a", "queue": "sparql"}, {"jobId": "a", "queue": "sparql", "children": True}):
            assert (await client.ask("subscribe-job", data))["data"]["code"] == "forbidden"


async def test_positions_of_queues_that_the_token_does_not_name_count(redis: Redis) -> None:
    add_flow(redis)
    async with flow_bridge(redis.url, **KEYS) as live:
        headers = list(bearer(f"{TOP}:children").items())
        async with raw_client(live.url, headers=headers) as client:
            await client.ask("subscribe-job", FLOW)
            sent = end_child(redis, ("sparql", "a"), "techstack", "c")
            after: dict[str, str] = {}
            while after.get("techstack") != sent:
                after |= (await client.until("pong"))[-1]["data"]["after"]
        async with raw_client(live.url, headers=headers) as client:
            await client.ask("subscribe-job", {**FLOW, "after": after, "until": "end"})
            end(redis, "http", "top")
            assert told(await until_top(client)) == [("completed", "top", None)]


async def test_an_ack_does_not_say_which_queues_there_are(redis: Redis) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url, **KEYS) as live,
        raw_client(live.url, headers=list(bearer(TOP).items())) as client,
    ):
        after = {"http": "0-0", "sparql": "1-0", "no such": "1-0"}
        assert (await client.ask("subscribe-job", {**FLOW, "after": after}))["data"]["after"] == after


async def test_a_token_that_allows_less_ends_jobs_below_without_a_word(redis: Redis) -> None:
    add_flow(redis)
    async with (
        flow_bridge(redis.url, **KEYS) as live,
        raw_client(live.url, headers=list(bearer(f"{TOP}:children").items())) as client,
    ):
        await client.ask("subscribe-job", {**FLOW, "until": "end"})
        end_child(redis, ("sparql", "a"), "techstack", "c")
        await client.until("completed", jobId="c")
        token = jwt(f"{TOP} read:jobs:techstack")
        await client.send("authenticate", {"token": token})
        await client.until("ack", request="authenticate")
        end_child(redis, ("http", "top"), "sparql", "a")
        end_child(redis, ("http", "top"), "techstack", "b", "failed")
        add_child(redis, ("http", "top"), "sparql", "d")
        end(redis, "http", "top")
        assert told(await until_top(client)) == [("failed", "b", "top"), ("completed", "top", None)]


async def test_a_token_that_allows_more_shows_jobs_below_that_had_ended(redis: Redis) -> None:
    """Their lists do not change any more."""
    add_flow(redis)
    end_flow(redis)
    async with (
        flow_bridge(redis.url, **KEYS) as live,
        raw_client(live.url, headers=list(bearer(TOP).items())) as client,
    ):
        await client.ask("subscribe-job", FLOW)
        await client.until("completed", jobId="top")  # so the lists were read
        await client.until_answered("authenticate", {"token": jwt(f"{TOP}:children")})
        assert sorted(told(await outcomes(client, 3))) == [
            ("completed", "a", "top"),
            ("completed", "c", "a"),
            ("failed", "b", "top"),
        ]


@pytest.mark.parametrize(
    ("scope", "seen"), [(f"{TOP}:children", "abc"), (TOP, ""), (f"{TOP} read:jobs:techstack", "b")]
)
async def test_an_authorizer_decides_about_each_job_below(redis: Redis, scope: str, seen: str) -> None:
    add_flow(redis)
    with scope_authorizer() as authorizer:
        async with (
            flow_bridge(redis.url, authorize_url=authorizer.url, authorize_seconds=30, **KEYS) as live,
            raw_client(live.url, headers=list(bearer(scope).items())) as client,
        ):
            await client.ask("subscribe-job", {**FLOW, "until": "end"})
            end_flow(redis)
            frames = told(await until_top(client))
            assert sorted(job_id for _, job_id, _ in frames[:-1]) == [*seen]
