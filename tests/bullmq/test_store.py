"""What a look-up returns, and for which moment it is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from jobws.bullmq.keys import Queue
from jobws.bullmq.store import IDS_PER_TRANSACTION, JOBS_PER_ROUND, Store
from jobws.privacy.rules import NO_RULES
from jobws.protocol.identifiers import position
from jobws.protocol.messages import JobSnapshot
from jobws.redis.connection import RedisTarget

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_each_job_has_the_moment_of_its_own_transaction(redis: Redis) -> None:
    """A job of the first transaction may end before the last one.

    Then the stream's end is too late for the first snapshots.
    """
    ids = [f"j{number}" for number in range(10 * IDS_PER_TRANSACTION)]
    for job_id in ids:
        redis.add_job("http", job_id)
    first = redis.add_event("http", "active", "x")
    store = Store(RedisTarget(redis.url), {"http": Queue("http", "bull", "http")}, NO_RULES)
    done = False

    def write() -> None:
        while not done:
            redis.add_event("http", "active", "x")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        tasks.start_soon(anyio.to_thread.run_sync, write)
        while redis.client.xlen("bull:http:events") == 1:
            await anyio.lowlevel.checkpoint()
        look_up = await store.look_up({"http": ids})
        done = True
        tasks.cancel_scope.cancel()
    for job, found in look_up.found.items():
        assert isinstance(found, JobSnapshot)
        assert look_up.moments[job] == found.at
    moments = [position(look_up.moments["http", job_id]) for job_id in ids]
    assert moments == sorted(moments)
    assert position(first) < moments[0] < moments[-1] == position(look_up.ends["http"])


async def test_jobs_of_many_queues_are_looked_up_in_few_round_trips(redis: Redis) -> None:
    """One round trip for each of ten thousand queues takes longer than an answer may, on a busy machine."""
    queues = {name: Queue(name, "bull", name) for name in (f"q{number}" for number in range(1000))}
    redis.add_job("q999", "1", state="active")
    store = Store(RedisTarget(redis.url), queues, NO_RULES)
    reads = "total_reads_processed"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        await store.look_up({"q0": ["1"]})
        before = redis.client.info("stats")[reads]
        look_up = await store.look_up({name: ["1", "2"] for name in [*queues, "gone"]})
        assert redis.client.info("stats")[reads] - before < 200
        tasks.cancel_scope.cancel()
    assert list(look_up.found) == [("q999", "1")]
    assert set(look_up.ends) == {*queues, "gone"}


async def test_a_job_that_is_sought_is_read_only_where_it_is(redis: Redis) -> None:
    """Job 2 of q1 is read in any case, since a client named its queue. The key of a lock is no job."""
    queues = {name: Queue(name, "bull", name) for name in (f"q{number}" for number in range(300))}
    redis.add_job("q7", "1", state="active")
    redis.add_job("q8", "1", state="active")
    redis.client.set("bull:q9:1", "no hash")
    last = redis.add_event("q3", "active", "x")
    store = Store(RedisTarget(redis.url), queues, NO_RULES)

    def reads() -> int:
        calls: int = redis.client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
        return calls

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        before = reads()
        job_ids = {name: ["1", "2"] if name == "q1" else ["1"] for name in [*queues, "gone"]}
        look_up = await store.look_up(job_ids, sought=["1"])
        assert reads() - before == 4
        tasks.cancel_scope.cancel()
    assert sorted(look_up.found) == [("q7", "1"), ("q8", "1")]
    assert set(look_up.ends) == {*queues, "gone"}
    assert (look_up.moments["q3", "1"], look_up.moments["q4", "1"]) == (last, "0-0")


@pytest.mark.parametrize(("having", "exists_calls"), [([], 3), (["1", "2", "3"], 3), (["1", "3"], 6)])
async def test_sought_jobs_are_counted_and_asked_one_by_one_only_in_a_queue_with_some(
    redis: Redis, having: list[str], exists_calls: int
) -> None:
    queues = {name: Queue(name, "bull", name) for name in ("q1", "q2", "q3")}
    for job_id in having:
        redis.add_job("q2", job_id, state="active")
    last = redis.add_event("q2", "active", "x")
    store = Store(RedisTarget(redis.url), queues, NO_RULES)

    def calls(command: str) -> int:
        return int(redis.client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        before = calls("exists"), calls("hmget")
        look_up = await store.look_up({name: ["1", "2", "3"] for name in queues}, sought=["1", "2", "3"])
        assert (calls("exists") - before[0], calls("hmget") - before[1]) == (exists_calls, len(having))
        tasks.cancel_scope.cancel()
    assert sorted(look_up.found) == [("q2", job_id) for job_id in having]
    assert {look_up.moments["q2", job_id] for job_id in ("1", "2", "3")} == {last}


async def test_a_question_does_not_wait_for_a_large_one_that_came_later(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    store = Store(RedisTarget(redis.url), {"http": Queue("http", "bull", "http")}, NO_RULES)
    answers = {}

    async def look_up(name: str, job_ids: list[str]) -> None:
        answers[name] = await store.look_up({"http": job_ids})

    large = [str(number) for number in range(JOBS_PER_ROUND)]
    async with anyio.create_task_group() as tasks:
        for name, job_ids in (("small", ["1"]), ("large", large), ("last", ["1"])):
            tasks.start_soon(look_up, name, job_ids)
            await anyio.lowlevel.checkpoint()
        async with anyio.create_task_group() as running:
            running.start_soon(store.run)
            while len(answers) < 3:
                await anyio.lowlevel.checkpoint()
            running.cancel_scope.cancel()
    assert list(answers) == ["small", "large", "last"]
    assert [len(answer.moments) for answer in answers.values()] == [1, JOBS_PER_ROUND, 1]


async def test_what_nobody_waits_for_any_more_is_not_asked(redis: Redis) -> None:
    store = Store(RedisTarget(redis.url), {"http": Queue("http", "bull", "http")}, NO_RULES)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.look_up, {"http": [str(number) for number in range(JOBS_PER_ROUND)]})
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    before = redis.client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        await store.look_up({"http": ["2"]})
        tasks.cancel_scope.cancel()
    assert redis.client.info("commandstats")["cmdstat_hmget"]["calls"] == before + 1
