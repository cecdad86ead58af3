"""Removing a job with the jobs below it: the right to remove each of them is asked for before one is removed."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from jobws.bullmq.scripts import run_script
from tests.support.bridge import live_bridge
from tests.support.http import call
from tests.support.tokens import bearer, keyed_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

# By job, the suffix of the parent's list that has it, and the parent.
FLOW = {
    "http/waits": (":dependencies", "http/top"),
    "sparql/done": (":processed", "http/top"),
    "http/ignored": (":failed", "http/top"),
    "http/failed": (":unsuccessful", "http/top"),
    "techstack/below": (":processed", "sparql/done"),
}
EACH = ("http", "sparql", "techstack")


@pytest.fixture
def flow(redis: Redis) -> Redis:
    """A flow over three queues: a job `top` with four children, one of which has a child."""
    redis.add_job("http", "top", state="waiting-children")
    for job, (suffix, parent) in FLOW.items():
        add_child(redis, job, suffix, parent)
    return redis


def add_child(redis: Redis, job: str, suffix: str, parent: str) -> None:
    queue, job_id = job.split("/")
    parent_key, key = "bull:" + parent.replace("/", ":"), f"bull:{queue}:{job_id}"
    redis.add_job(queue, job_id, state="wait" if suffix == ":dependencies" else "completed", parentKey=parent_key)
    match suffix:
        case ":dependencies":
            redis.client.sadd(parent_key + suffix, key)
        case ":unsuccessful":
            redis.client.zadd(parent_key + suffix, {key: 1})
        case _:
            redis.client.hset(parent_key + suffix, key, "1")


def left(redis: Redis) -> set[str]:
    """The jobs that exist."""
    return {job for job in ("http/top", *FLOW) if redis.client.exists("bull:" + job.replace("/", ":"))}


def dumped(redis: Redis) -> dict[bytes, object]:
    """All of Redis's keys, with what they hold."""
    return {key: redis.client.dump(key) for key in redis.client.scan_iter()}


async def remove(url: str, query: str = "?children=1", **headers: str) -> tuple[int, dict[str, Any]]:
    return await call("DELETE", f"{url}/jobs/http/top{query}", **headers)


async def test_children_of_every_kind_are_found(flow: Redis) -> None:
    async with live_bridge(flow.url, queues=("http",)) as live:
        found = await live.bridge.service.actions.descendants(live.bridge.service.labels["http"], "top")
    assert found == {b"bull:" + job.replace("/", ":").encode() for job in FLOW}


async def test_a_job_is_removed_alone(flow: Redis) -> None:
    async with keyed_bridge(flow.url, queues=EACH) as live:
        assert (await remove(live.url, "", **bearer("write:jobs:http/top:remove")))[0] == 200
    assert left(flow) == set(FLOW)


async def test_with_every_right_the_whole_flow_is_removed(flow: Redis) -> None:
    scope = "write:jobs:http:remove write:jobs:sparql:remove write:jobs:techstack/below:remove"
    async with keyed_bridge(flow.url, queues=EACH) as live:
        assert await remove(live.url, **bearer(scope)) == (200, {"queue": "http", "jobId": "top"})
        assert (await remove(live.url, **bearer(scope)))[1]["code"] == "unknown-job"
    assert left(flow) == set()
    assert flow.client.keys("bull:*:remove*") == []


@pytest.mark.parametrize(
    "scope",
    [
        "write:jobs:http:remove",
        "write:jobs:http:remove write:jobs:sparql:remove",
        "write:jobs:http:remove write:jobs:*/below:remove write:jobs:*:retry",
        "write:jobs:http/top:remove write:jobs:sparql:remove write:jobs:techstack:remove",
    ],
)
async def test_without_one_of_the_rights_nothing_is_removed(flow: Redis, scope: str) -> None:
    before = dumped(flow)
    async with keyed_bridge(flow.url, queues=EACH) as live:
        status, problem = await remove(live.url, **bearer(scope))
    assert (status, problem["code"], problem["detail"]) == (403, "forbidden", "the token does not allow this")
    assert dumped(flow) == before


async def test_a_job_of_a_queue_that_is_not_served_stays(flow: Redis) -> None:
    async with keyed_bridge(flow.url, queues=("http", "sparql")) as live:
        scope = "write:jobs:http:remove write:jobs:sparql:remove write:jobs:techstack:remove"
        assert (await remove(live.url, **bearer(scope)))[0] == 403
        status, problem = await remove(live.url, **bearer("write:jobs:*:remove"))
        assert (status, problem["code"]) == (409, "bad-state-for-action")
        assert problem["detail"] == (
            "a job below it is of a queue that this bridge does not serve, or has an id with a colon"
        )
    assert left(flow) == {"http/top", *FLOW}


@pytest.mark.parametrize("job_id", ["a:b:c", b"\xed\xb0\x80"], ids=["colons", "no UTF-8"])
async def test_an_id_that_the_script_would_misread_removes_nothing(redis: Redis, job_id: str | bytes) -> None:
    redis.add_job("http", "top", state="waiting-children")
    raw = job_id if isinstance(job_id, bytes) else job_id.encode()
    redis.client.sadd("bull:http:top:dependencies", b"bull:http:" + raw)
    async with live_bridge(redis.url, queues=("http",), allow_actions=True) as live:
        status, problem = await remove(live.url)
        assert (status, problem["code"]) == (409, "bad-state-for-action")
        assert (await remove(live.url, ""))[0] == 200


async def test_a_locked_child_keeps_the_whole_flow(flow: Redis) -> None:
    flow.client.set("bull:http:waits:lock", "token")
    async with live_bridge(flow.url, queues=EACH, allow_actions=True) as live:
        status, problem = await remove(live.url)
        assert (status, problem["code"]) == (409, "locked")
    assert left(flow) == {"http/top", *FLOW}


async def test_a_child_that_is_added_meanwhile_is_judged_too(flow: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the judgement and the removal a child of another queue is added, then nothing more."""
    async with keyed_bridge(flow.url, queues=EACH) as live:
        acts = live.bridge.service.actions
        read, added = acts.descendants, iter(["techstack/late", "http/later"])

        async def then_add(*args: Any) -> frozenset[bytes]:
            found = await read(*args)
            if (job := next(added, None)) is not None:
                add_child(flow, job, ":dependencies", "http/top")
            return found

        monkeypatch.setattr(acts, "descendants", then_add)
        scope = "write:jobs:http:remove write:jobs:sparql:remove write:jobs:techstack/below:remove"
        assert (await remove(live.url, **bearer(scope)))[0] == 403
        assert left(flow) == {"http/top", *FLOW}
        assert (await remove(live.url, **bearer("admin")))[0] == 200
        assert left(flow) == set()
        assert not flow.client.exists("bull:techstack:late", "bull:http:later")


async def test_a_child_that_is_added_at_the_last_moment_is_judged_too(
    flow: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the flow was compared with what was judged, and before the script removes it."""
    added = iter(["techstack/late"])

    async def after_a_child(*args: Any) -> int:
        if (job := next(added, None)) is not None:
            add_child(flow, job, ":dependencies", "sparql/done")
        return await run_script(*args)

    monkeypatch.setattr("jobws.bullmq.actions.run_script", after_a_child)
    async with keyed_bridge(flow.url, queues=EACH) as live:
        scope = "write:jobs:http:remove write:jobs:sparql:remove write:jobs:techstack/below:remove"
        assert (await remove(live.url, **bearer(scope)))[0] == 403
    assert left(flow) == {"http/top", *FLOW}


async def test_a_flow_that_never_stays_the_same_is_not_removed(flow: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with live_bridge(flow.url, queues=EACH, allow_actions=True) as live:
        acts = live.bridge.service.actions
        read = acts.descendants

        async def then_add(*args: Any) -> frozenset[bytes]:
            found = await read(*args)
            add_child(flow, f"http/child-{len(found)}", ":dependencies", "http/top")
            return found

        monkeypatch.setattr(acts, "descendants", then_add)
        status, problem = await remove(live.url)
        assert (status, problem["code"]) == (503, "unavailable")
        assert problem["detail"] == "jobs are added below the job all the time; ask again"
    assert left(flow) == {"http/top", *FLOW}


async def test_the_query_removes_a_flow_too(flow: Redis) -> None:
    async with live_bridge(flow.url, queues=EACH, allow_actions=True) as live:
        query = urllib.parse.urlencode({"action": "remove", "queue": "http", "jobId": "top", "children": "true"})
        assert (await call("POST", f"{live.url}/actions?{query}"))[0] == 200
    assert left(flow) == set()


async def test_a_flow_that_would_hold_up_redis_is_not_removed(redis: Redis) -> None:
    redis.add_job("http", "top", state="waiting-children")
    children = [f"bull:http:{number}" for number in range(1_001)]
    redis.client.sadd("bull:http:top:dependencies", *children)
    async with live_bridge(redis.url, queues=("http",), allow_actions=True) as live:
        status, problem = await remove(live.url)
        assert (status, problem["code"]) == (400, "too-many")
        assert problem["detail"] == "more than 1,000 jobs are below the job; remove parts of the flow first"
        redis.client.srem("bull:http:top:dependencies", children[0])
        assert (await remove(live.url))[0] == 200


async def test_a_flow_that_leads_back_to_itself_has_an_end(redis: Redis) -> None:
    redis.add_job("http", "top", state="waiting-children")
    add_child(redis, "http/child", ":dependencies", "http/top")
    redis.client.sadd("bull:http:child:dependencies", "bull:http:top")
    async with live_bridge(redis.url, queues=("http",)) as live:
        queue = live.bridge.service.labels["http"]
        assert await live.bridge.service.actions.descendants(queue, "top") == {b"bull:http:child"}
