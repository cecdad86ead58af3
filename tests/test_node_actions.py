"""With BullMQ for Node: what an action does, its queues and workers see, and clients of the bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bridge import live_bridge
from tests.support.client import RawClient, raw_client
from tests.support.http import call
from tests.support.workers import QUEUES, Workers, node_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import Redis


@pytest.fixture
def node(redis: Redis) -> Iterator[Workers]:
    with node_workers(redis) as workers:
        yield workers


async def watch(client: RawClient, queue: str, job_id: str) -> None:
    await client.ask("subscribe-job", {"jobId": job_id, "queue": queue, "events": ["*"]})


async def test_a_retried_job_runs_again(redis: Redis, node: Workers) -> None:
    async with live_bridge(redis.url, queues=QUEUES, allow_actions=True) as live, raw_client(live.url) as client:
        await watch(client, "http", "job")
        await node.ask("add", "http", "job", {"do": "recover"})
        await client.until("failed")
        assert (await call("POST", live.url + "/jobs/http/job/retry"))[0] == 200
        frames = await client.until("completed")
        assert frames[-1]["data"]["returnvalue"] == "at last"
        assert {"jobId": "job", "prev": "failed", "queue": "http"} in [frame["data"] for frame in frames]


async def test_a_promoted_job_runs_now(redis: Redis, node: Workers) -> None:
    async with live_bridge(redis.url, queues=QUEUES, allow_actions=True) as live, raw_client(live.url) as client:
        await watch(client, "http", "job")
        await node.ask("add", "http", "job", {"do": "succeed", "result": 1}, {"delay": 3_600_000})
        assert await node.ask("state", "http", "job") == "delayed"
        assert (await call("POST", live.url + "/jobs/http/job/promote"))[0] == 200
        assert (await client.until("completed"))[-1]["data"]["returnvalue"] == 1


async def test_a_job_that_a_worker_has_is_not_removed(redis: Redis, node: Workers) -> None:
    async with live_bridge(redis.url, queues=QUEUES, allow_actions=True) as live, raw_client(live.url) as client:
        await watch(client, "http", "job")
        await node.ask("add", "http", "job", {"do": "hold"})
        await client.until("active")
        status, problem = await call("DELETE", live.url + "/jobs/http/job")
        assert (status, problem["code"]) == (409, "locked")
        status, problem = await call("POST", live.url + "/jobs/http/job/retry")
        assert (status, problem["code"]) == (409, "bad-state-for-action")
        assert await node.ask("release") == 1
        assert (await client.until("completed"))[-1]["data"]["returnvalue"] == "released"
        assert (await call("DELETE", live.url + "/jobs/http/job"))[0] == 200
        assert (await client.until("removed"))[-1]["data"]["prev"] == "completed"
        assert await node.ask("state", "http", "job") == "unknown"


async def test_the_next_job_of_a_scheduler_is_not_removed(redis: Redis, node: Workers) -> None:
    """BullMQ's Python package would say that it was."""
    job_id = await node.ask("every", "http", "hourly")
    async with live_bridge(redis.url, queues=QUEUES, allow_actions=True) as live:
        status, problem = await call("DELETE", f"{live.url}/jobs/http/{job_id}")
    assert (status, problem["code"]) == (409, "bad-state-for-action")
    assert problem["detail"] == "the job is the next one of a job scheduler; remove the scheduler instead"
    assert redis.client.exists(f"bull:http:{job_id}")


async def test_a_paused_queue_takes_no_job_until_it_is_resumed(redis: Redis, node: Workers) -> None:
    async with live_bridge(redis.url, queues=QUEUES, allow_actions=True) as live, raw_client(live.url) as client:
        assert (await call("POST", live.url + "/queues/http/pause"))[0] == 200
        assert await node.ask("paused", "http") is True
        await watch(client, "http", "job")
        await node.ask("add", "http", "job", {"do": "succeed", "result": 1})
        await client.until("waiting")
        assert (await node.ask("counts", "http"))["waiting"] == 1
        assert (await call("POST", live.url + "/queues/http/resume"))[0] == 200
        assert (await client.until("completed"))[-1]["data"]["returnvalue"] == 1
        assert await node.ask("paused", "http") is False


async def test_all_failed_jobs_run_once_more(redis: Redis, node: Workers) -> None:
    """Those that always fail, too, and then they have failed again."""
    async with live_bridge(redis.url, queues=QUEUES, allow_actions=True) as live, raw_client(live.url) as client:
        ids = [f"job-{number}" for number in range(20)]
        await client.ask("subscribe-job", {"jobs": ids, "queue": "http"})
        for number, job_id in enumerate(ids):
            await node.ask("add", "http", job_id, {"do": "recover" if number % 2 else "fail"})
        for _ in ids:
            assert (await client.receive())["event"] == "failed"
        assert await call("POST", live.url + "/queues/http/retry") == (202, {"queue": "http", "failed": 20})
        ends = sorted([(await client.receive())["event"] for _ in ids])
        assert ends == ["completed"] * 10 + ["failed"] * 10
        counts = await node.ask("counts", "http")
        assert (counts["failed"], counts["completed"]) == (10, 10)


@pytest.mark.parametrize("children", [False, True])
async def test_a_flow_is_removed_with_its_children_only_if_asked(
    redis: Redis, node: Workers, *, children: bool
) -> None:
    """One child has ended, one is delayed, and one is below it. Those that stay run to their end."""
    later = {"delay": 3_600_000}
    tree = {
        **{"name": "test", "queueName": "http", "data": {"do": "succeed"}, "opts": {"jobId": "top"}},
        "children": [
            {"name": "test", "queueName": "sparql", "data": {"do": "succeed"}, "opts": {"jobId": "done"}},
            {
                **{"name": "test", "queueName": "sparql", "data": {"do": "succeed"}, "opts": {"jobId": "middle"}},
                "children": [
                    {
                        **{"name": "test", "queueName": "techstack", "data": {"do": "succeed"}},
                        "opts": {"jobId": "below", **later},
                    }
                ],
            },
        ],
    }
    jobs = {"top": "http", "done": "sparql", "middle": "sparql", "below": "techstack"}
    async with live_bridge(redis.url, queues=QUEUES, allow_actions=True) as live, raw_client(live.url) as client:
        await watch(client, "sparql", "done")
        await node.ask("flow", tree)
        await client.until("completed")
        await client.ask("unsubscribe-job", {"jobId": "done", "queue": "sparql"})
        await watch(client, "sparql", "middle")
        status, body = await call("DELETE", f"{live.url}/jobs/http/top{'?children=1' if children else ''}")
        assert (status, body) == (200, {"queue": "http", "jobId": "top"})
        states = {job: await node.ask("state", queue, job) for job, queue in jobs.items()}
        if children:
            assert states == dict.fromkeys(jobs, "unknown")
            await client.until("removed")
            assert redis.client.keys("bull:*:top*") == []
            return
        assert states == {"top": "unknown", "done": "completed", "middle": "waiting-children", "below": "delayed"}
        assert (await call("POST", live.url + "/jobs/techstack/below/promote"))[0] == 200
        await client.until("completed")
