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
from tests.support.http import call
from tests.support.node import NodeProcess, install_packages
from tests.support.signing import SECRET
from tests.support.tokens import bearer

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


async def add_late(node: NodeProcess, queue: str) -> None:
    """Wait until `c` and `f` run, and add a job below `a`. It ends as soon as a worker of its queue is free."""
    while await ask(node, "state", "techstack", "c") != "active" or await ask(node, "state", "http", "f") != "active":
        await trio.sleep(0.01)
    await ask(node, "add", queue, "late", {"do": "succeed"}, {"parent": {"id": "a", "queue": "bull:sparql"}})


async def end_all(node: NodeProcess) -> None:
    """Let all jobs go on that wait, and wait until all have ended."""
    assert await ask(node, "release") == 2
    while await ask(node, "state", "sparql", "a") != "completed":
        await trio.sleep(0.01)
    while await ask(node, "state", "http", "top") not in ("completed", "failed"):
        await ask(node, "release")


async def outcomes(client: RawClient, count: int) -> list[Frame]:
    """Return the next frames that tell of jobs."""
    frames: list[Frame] = []
    while len(frames) < count:
        frame = await client.receive()
        if frame["event"] not in ("ack", "pong"):
            frames.append(frame)
    return frames


async def quiet(client: RawClient) -> dict[str, str]:
    """Ping until the client has positions in all queues. Nothing else may come. Return these positions."""
    after: dict[str, str] = {}
    while not {*QUEUES} <= after.keys():
        await client.send("ping")
        *frames, pong = await client.until("pong")
        assert told(frames) == []
        after |= pong["data"]["after"]
    return after


def check(frames: list[Frame], option: str, *others: tuple[str, str, str]) -> None:
    """Check the outcomes of `a`, of `f`, of the job at the top, and of others."""
    expected = [*others, ("completed", "a", "top"), ("failed", "f", "top"), (ENDS[option], "top", None)]
    assert sorted(told(frames), key=str) == sorted(expected, key=str)
    order = [job_id for _, job_id, _ in told(frames)]
    assert order.index("f") < order.index("top")
    if option != "failParentOnFailure":
        assert order[-1] == "top"


def reason_of(frames: list[Frame]) -> object:
    """Return why the job at the top has failed, or None if it has not."""
    (top,) = [frame["data"] for frame in frames if frame["data"]["jobId"] == "top"]
    return top.get("failedReason")


async def tree_of(url: str, scope: str) -> Any:
    return (await call("GET", f"{url}/jobs/http/top?children=1", **bearer(scope)))[1]["tree"]


@pytest.mark.parametrize("option", ENDS)
async def test_a_flow_is_followed_to_its_end_also_with_a_token_that_may_not_see_a_queue(
    redis: Redis, node: NodeProcess, option: str
) -> None:
    everything, two_queues = "read:jobs:http/top:children", "read:jobs:http read:jobs:sparql"
    async with (
        flow_bridge(redis.url, jwt_secret=SECRET.decode()) as live,
        raw_client(live.url, headers=list(bearer(everything).items())) as client,
        raw_client(live.url, headers=list(bearer(two_queues).items())) as limited,
    ):
        await ask(node, "flow", tree(option))
        acks = [await each.ask("subscribe-job", FLOW) for each in (client, limited)]
        totals = [ack["data"]["jobs"][0]["tree"]["total"] for ack in acks]
        assert totals == [3, 2]
        await add_late(node, "techstack")
        await end_all(node)
        frames = await outcomes(client, 5)
        check(frames, option, ("completed", "c", "a"), ("completed", "late", "a"))
        seen = await outcomes(limited, 3)
        check(seen, option)
        await limited.send("ping")
        *more, pong = await limited.until("pong")
        assert (told(more), "techstack" in pong["data"]["after"]) == ([], False)
        reasons = [reason_of(each) for each in (frames, seen)]
        assert reasons == (["child bull:http:f failed", "child failed"] if ENDS[option] == "failed" else [None, None])
        # A job with `removeDependencyOnFailure` that has failed is in no list.
        failed = 0 if option == "removeDependencyOnFailure" else 1
        assert await tree_of(live.url, everything) == {"done": 3, "failed": failed, "total": 3 + failed}
        assert await tree_of(live.url, two_queues) == {"done": 1, "failed": failed, "total": 1 + failed}


@pytest.mark.parametrize("option", ENDS)
async def test_across_a_restart_no_outcome_is_missed_and_none_comes_twice(
    redis: Redis, node: NodeProcess, option: str
) -> None:
    await ask(node, "flow", tree(option))
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        after = (await client.ask("subscribe-job", FLOW))["data"]["after"]
        await add_late(node, "sparql")
        while told([frame := await client.receive()]) != [("completed", "late", "a")]:
            assert frame["event"] == "pong"
        after |= (await client.until("pong"))[-1]["data"]["after"]
        after |= await quiet(client)
    await end_all(node)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {**FLOW, "after": after})
        check(await outcomes(client, 4), option, ("completed", "c", "a"))
        after = await quiet(client)
    async with flow_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {**FLOW, "after": after})
        await quiet(client)
