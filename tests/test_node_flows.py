"""With BullMQ for Node: a flow of three levels over three queues, with a job that fails and one that is added later."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
import trio

from tests.support.client import raw_client
from tests.support.flows import FLOW, QUEUES, flow_bridge, told
from tests.support.node import NodeProcess, install_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.client import Frame, RawClient
    from tests.support.redis import Redis

# What a job that fails does to the job above it, and how that ends.
ENDS = {
    "failParentOnFailure": "failed",
    "ignoreDependencyOnFailure": "completed",
    "removeDependencyOnFailure": "completed",
    "continueParentOnFailure": "completed",
}


@pytest.fixture
def node(redis: Redis) -> Iterator[NodeProcess]:
    install_packages()
    with node_of(redis) as process:
        yield process


@contextmanager
def node_of(redis: Redis) -> Iterator[NodeProcess]:
    password = redis.server.url.split(":")[2].split("@")[0]
    with NodeProcess("actions.mjs", str(redis.server.port), password, *QUEUES) as process:
        yield process


async def ask(node: NodeProcess, method: str, *arguments: Any) -> Any:
    """Call a method of tests/node/actions.mjs, and return its answer."""
    node.write_line(json.dumps([method, *arguments]))
    return json.loads(await anyio.to_thread.run_sync(node.read_line))


def job(queue: str, job_id: str, do: str, children: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {
        **{"name": "test", "queueName": queue, "data": {"do": do}, "opts": {"jobId": job_id}},
        "children": list(children),
    }


def tree(option: str) -> dict[str, Any]:
    below = job("sparql", "a", "succeed", (job("techstack", "c", "hold"),))
    # BullMQ lets a job run that goes on without its children, but not complete.
    do = "hold" if option == "continueParentOnFailure" else "succeed"
    failing = job("http", "f", "holdAndFail")
    failing["opts"][option] = True
    return job("http", "top", do, (below, failing))


async def happen(node: NodeProcess) -> None:
    """Add a job below `a`, let all jobs go on that wait, and wait until all have ended."""
    while await ask(node, "state", "techstack", "c") != "active" or await ask(node, "state", "http", "f") != "active":
        await trio.sleep(0.01)
    await ask(node, "add", "techstack", "late", {"do": "succeed"}, {"parent": {"id": "a", "queue": "bull:sparql"}})
    assert await ask(node, "release") == 2
    while await ask(node, "state", "sparql", "a") != "completed":
        await trio.sleep(0.01)
    while await ask(node, "state", "http", "top") not in ("completed", "failed"):
        await ask(node, "release")


async def outcomes(client: RawClient) -> list[Frame]:
    """Return the frames of the outcomes of all five jobs."""
    frames: list[Frame] = []
    while len(frames) < 5:
        frame = await client.receive()
        if frame["event"] not in ("ack", "pong"):
            frames.append(frame)
    return frames


def check(frames: list[Frame], option: str) -> None:
    assert sorted(told(frames)) == sorted(
        [
            *(("completed", "c", "a"), ("completed", "late", "a"), ("completed", "a", "top"), ("failed", "f", "top")),
            (ENDS[option], "top", None),
        ]
    )
    order = [job_id for _, job_id, _ in told(frames)]
    assert order.index("f") < order.index("top")
    if option != "failParentOnFailure":
        assert order[-1] == "top"


@pytest.mark.parametrize("option", ENDS)
async def test_a_flow_is_followed_to_its_end(redis: Redis, node: NodeProcess, option: str) -> None:
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await ask(node, "flow", tree(option))
        await client.ask("subscribe-job", FLOW)
        await happen(node)
        check(await outcomes(client), option)


@pytest.mark.parametrize("option", ENDS)
async def test_across_a_restart_no_outcome_is_missed_and_none_comes_twice(
    redis: Redis, node: NodeProcess, option: str
) -> None:
    await ask(node, "flow", tree(option))
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        after = (await client.ask("subscribe-job", FLOW))["data"]["after"]
        while "techstack" not in after:
            await client.send("ping")
            after |= (await client.until("pong"))[-1]["data"]["after"]
    await happen(node)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {**FLOW, "after": after})
        check(await outcomes(client), option)
        while True:
            await client.send("ping", ref="end")
            *frames, pong = await client.until("pong")
            assert told(frames) == []
            after = pong["data"]["after"]
            if {*QUEUES} <= after.keys():
                break
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {**FLOW, "after": after})
        while True:
            await client.send("ping")
            *frames, pong = await client.until("pong")
            assert told(frames) == []
            if {*QUEUES} <= pong["data"]["after"].keys():
                break
