"""The snapshot of a job whose flow is followed counts the jobs below that the client may read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support.authorizer import scope_authorizer
from tests.support.client import raw_client
from tests.support.flows import FLOW, add_child, add_flow, end_child, flow_bridge
from tests.support.http import call
from tests.support.signing import SECRET
from tests.support.tokens import bearer

if TYPE_CHECKING:
    from tests.support.bridge import Live
    from tests.support.redis import Redis

TOP = "read:jobs:http/top"
KEYS: Any = {"jwt_secret": SECRET.decode()}
WHOLE = {"done": 1, "failed": 1, "total": 3}


def make_flow(redis: Redis) -> None:
    """A flow in which `c` has completed and `b` has failed."""
    add_flow(redis)
    end_child(redis, ("sparql", "a"), "techstack", "c")
    end_child(redis, ("http", "top"), "techstack", "b", "failed")


async def trees(live: Live, headers: dict[str, str]) -> list[Any]:
    """Return `tree`, or None, as the ack of a subscription has it, and as both forms of `GET /jobs` have it."""
    async with raw_client(live.url, headers=list(headers.items())) as client:
        ack = await client.ask("subscribe-job", FLOW)
    found = [ack["data"]["jobs"][0]]
    for path in ("/jobs/http/top?", "/jobs?queue=http&jobId=top&"):
        status, body = await call("GET", f"{live.url}{path}children=1", **headers)
        assert status == 200
        found.append(body)
    return [each.get("tree") for each in found]


@pytest.mark.parametrize(
    ("scope", "tree"),
    [
        (f"{TOP}:children", WHOLE),
        ("admin", WHOLE),
        ("read:jobs:*", WHOLE),
        (TOP, {"done": 0, "failed": 0, "total": 0}),
        # `c` is below `a`, which is not there for the client
        (f"{TOP} read:jobs:techstack", {"done": 0, "failed": 1, "total": 1}),
        (f"{TOP} read:jobs:sparql", {"done": 0, "failed": 0, "total": 1}),
        (f"{TOP} read:jobs:sparql/a read:jobs:techstack/c", {"done": 1, "failed": 0, "total": 2}),
    ],
)
@pytest.mark.parametrize("asked", [False, True], ids=["scope", "authorizer"])
async def test_the_tree_counts_what_the_client_may_read(redis: Redis, scope: str, tree: object, asked: bool) -> None:
    make_flow(redis)
    with scope_authorizer() as authorizer:
        more: dict[str, Any] = {"authorize_url": authorizer.url, "authorize_seconds": 30} if asked else {}
        async with flow_bridge(redis.url, **KEYS, **more) as live:
            if scope != "admin" or not asked:  # an authorizer is not asked about every right
                assert await trees(live, bearer(scope)) == [tree] * 3


async def test_each_job_counts_once_and_jobs_of_other_bridges_do_not(redis: Redis) -> None:
    make_flow(redis)
    # Above itself, below two jobs, and of a queue that the bridge does not serve.
    redis.client.sadd("bull:sparql:a:dependencies", "bull:http:top", "bull:techstack:b", "bull:other:x")
    async with flow_bridge(redis.url) as live:
        assert await trees(live, {}) == [WHOLE] * 3


@pytest.mark.parametrize("event", ["ignoreDependencyOnFailure", "failParentOnFailure"])
async def test_jobs_that_failed_count_whatever_their_parent_does(redis: Redis, event: str) -> None:
    add_flow(redis)
    redis.client.srem("bull:http:top:dependencies", "bull:techstack:b")
    if event == "ignoreDependencyOnFailure":
        redis.client.hset("bull:http:top:failed", "bull:techstack:b", "no")
    else:
        redis.client.zadd("bull:http:top:unsuccessful", {"bull:techstack:b": 1})
    async with flow_bridge(redis.url) as live:
        assert await trees(live, {}) == [{"done": 0, "failed": 1, "total": 3}] * 3


async def test_a_job_without_children_has_an_empty_tree_and_none_unless_it_is_asked_for(redis: Redis) -> None:
    redis.add_job("http", "top")
    async with flow_bridge(redis.url) as live:
        assert await trees(live, {}) == [{"done": 0, "failed": 0, "total": 0}] * 3
        async with raw_client(live.url) as client:
            ack = await client.ask("subscribe-job", {"jobId": "top", "queue": "http"})
            assert "tree" not in ack["data"]["jobs"][0]
            assert (await client.ask("subscribe-job", {**FLOW, "jobId": "none"}))["data"]["jobs"] == []
        assert "tree" not in (await call("GET", live.url + "/jobs/http/top"))[1]


async def test_each_item_of_a_list_has_the_tree_that_it_asks_for(redis: Redis) -> None:
    make_flow(redis)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        items = [
            FLOW,
            {**FLOW, "jobId": "a", "queue": "sparql"},
            {"jobId": "top", "queue": "http"},
            {**FLOW, "sub": []},
        ]
        ack = await client.ask("subscribe-job", items)
        *answered, refused = ack["data"]["results"]
        found = [each["jobs"][0].get("tree") for each in answered]
        assert found == [WHOLE, {"done": 1, "failed": 0, "total": 1}, None]
        assert refused["error"]["code"] == "bad-sub"


async def test_more_than_the_bridge_counts_have_no_tree(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    make_flow(redis)
    async with flow_bridge(redis.url) as live:
        monkeypatch.setattr("jobws.server.jobs.trees.MAX_JOBS", 3)
        assert await trees(live, {}) == [WHOLE] * 3
        add_child(redis, ("techstack", "b"), "http", "d")
        assert await trees(live, {}) == [None] * 3


async def test_a_flow_that_redis_does_not_tell_has_no_tree(redis: Redis) -> None:
    make_flow(redis)
    rules = "few reset on >secret ~* &* +@all -hlen"
    redis.client.execute_command("ACL", "SETUSER", *rules.split())  # type: ignore[no-untyped-call]
    try:
        async with flow_bridge(f"redis://few:secret@127.0.0.1:{redis.server.port}") as live:
            assert await trees(live, {}) == [None] * 3
    finally:
        redis.client.acl_deluser("few")


@pytest.mark.parametrize("query", ["children=0", "children=", "children=yes"])
async def test_what_children_can_be(redis: Redis, query: str) -> None:
    sentence = "`children` can only be 1 or true, and needs the job's `queue`"
    async with flow_bridge(redis.url) as live:
        for path in (f"/jobs/http/top?{query}", "/jobs/top?children=1", "/jobs?jobId=top&children=true"):
            status, body = await call("GET", live.url + path)
            assert (status, body["code"], body["detail"]) == (400, "bad-data", sentence)


async def test_the_tree_is_counted_after_the_wait(redis: Redis) -> None:
    add_flow(redis)
    async with flow_bridge(redis.url) as live:
        found: list[Any] = []

        async def ask() -> None:
            found.append((await call("GET", live.url + "/jobs/http/top?wait=60&children=true"))[1])

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            while not live.bridge.fanout.rooms:
                await anyio.sleep(0.01)
            end_child(redis, ("sparql", "a"), "techstack", "c")
            end_child(redis, ("other", "none"), "http", "top")
        assert (found[0]["state"], found[0]["tree"]) == ("completed", {"done": 1, "failed": 0, "total": 3})
