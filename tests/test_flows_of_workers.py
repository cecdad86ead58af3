"""With BullMQ for Node and for Python: a flow of three levels over three queues, with a job that fails and one that is
added later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.client import raw_client
from tests.support.flows import FLOW, flow_bridge, outcomes, told
from tests.support.http import call
from tests.support.signing import SECRET
from tests.support.tokens import bearer
from tests.support.workers import QUEUES, Workers, node_workers, python_workers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.support.client import Frame, RawClient
    from tests.support.redis import Redis

EVERYTHING, TWO_QUEUES = "read:jobs:http/top:children", "read:jobs:http read:jobs:sparql"
# What a job that fails does to the job above it, and how that ends.
ENDS = {
    "failParentOnFailure": "failed",
    "ignoreDependencyOnFailure": "completed",
    "removeDependencyOnFailure": "completed",
    "continueParentOnFailure": "completed",
}


@pytest.fixture(params=[node_workers, python_workers], ids=["node", "python"])
def workers(redis: Redis, request: pytest.FixtureRequest) -> Iterator[Workers]:
    with request.param(redis) as workers:
        yield workers


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


async def add_late(workers: Workers, queue: str) -> None:
    """Wait until `c` and `f` run, and add a job below `a`. It ends as soon as a worker of its queue is free."""
    while (
        await workers.ask("state", "techstack", "c") != "active" or await workers.ask("state", "http", "f") != "active"
    ):
        await trio.sleep(0.01)
    await workers.ask("add", queue, "late", {"do": "succeed"}, {"parent": {"id": "a", "queue": "bull:sparql"}})


async def end_all(workers: Workers) -> None:
    """Let all jobs go on that wait, and wait until all have ended."""
    assert await workers.ask("release") == 2
    while await workers.ask("state", "sparql", "a") != "completed":
        await trio.sleep(0.01)
    while await workers.ask("state", "http", "top") not in ("completed", "failed"):
        await workers.ask("release")


async def quiet(client: RawClient, queues: Collection[str] = QUEUES) -> dict[str, str]:
    """Ping until the client has positions in these queues. Nothing else may come. Return these positions."""
    after: dict[str, str] = {}
    while not {*queues} <= after.keys():
        await client.send("ping")
        *frames, pong = await client.until("pong")
        assert told(frames) == []
        after |= pong["data"]["after"]
    assert after.keys() == {*queues}
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
    redis: Redis, workers: Workers, option: str
) -> None:
    async with (
        flow_bridge(redis.url, jwt_secret=SECRET.decode()) as live,
        raw_client(live.url, headers=list(bearer(EVERYTHING).items())) as client,
        raw_client(live.url, headers=list(bearer(TWO_QUEUES).items())) as limited,
    ):
        await workers.ask("flow", tree(option))
        acks = [await each.ask("subscribe-job", FLOW) for each in (client, limited)]
        totals = [ack["data"]["jobs"][0]["tree"]["total"] for ack in acks]
        assert totals == [3, 2]
        await add_late(workers, "techstack")
        await end_all(workers)
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
        assert await tree_of(live.url, EVERYTHING) == {"done": 3, "failed": failed, "total": 3 + failed}
        assert await tree_of(live.url, TWO_QUEUES) == {"done": 1, "failed": failed, "total": 1 + failed}


@pytest.mark.parametrize("option", ENDS)
@pytest.mark.parametrize(
    ("scope", "queues", "seen"),
    [(EVERYTHING, QUEUES, [("completed", "c", "a")]), (TWO_QUEUES, ("http", "sparql"), [])],
    ids=["everything", "two queues"],
)
async def test_across_a_restart_no_outcome_is_missed_and_none_comes_twice(
    redis: Redis, workers: Workers, option: str, scope: str, queues: tuple[str, ...], seen: list[tuple[str, str, str]]
) -> None:
    """`seen` are the outcomes of the hidden queue that this client gets."""
    headers = list(bearer(scope).items())
    await workers.ask("flow", tree(option))
    async with (
        flow_bridge(redis.url, jwt_secret=SECRET.decode()) as live,
        raw_client(live.url, headers=headers) as client,
    ):
        after = (await client.ask("subscribe-job", FLOW))["data"]["after"]
        await add_late(workers, "sparql")
        while told([frame := await client.receive()]) != [("completed", "late", "a")]:
            assert frame["event"] == "pong"
        after |= (await client.until("pong"))[-1]["data"]["after"]
        after |= await quiet(client, queues)
    await end_all(workers)
    for expected in (seen, None):
        async with (
            flow_bridge(redis.url, jwt_secret=SECRET.decode()) as live,
            raw_client(live.url, headers=headers) as client,
        ):
            await client.ask("subscribe-job", {**FLOW, "after": after})
            if expected is not None:
                check(await outcomes(client, 3 + len(expected)), option, *expected)
            after = await quiet(client, queues)
