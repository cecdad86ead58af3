"""Many queues: blocked reads end early when there is more to read, and queues without subscribers wake no reader.

In most tests, reads block for an hour, and queues without subscribers are read once an hour. So what comes within a
test was read because something ended the pause.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from jobws.bullmq.reading.schedule import Pauses
from jobws.bullmq.reading.unblock import Unblocker
from jobws.redis.connection import Connection, RedisTarget
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import get
from tests.support.watching import nothing_more, subscribe

if TYPE_CHECKING:
    from jobws.bullmq.reading.read_state import ReadState
    from tests.support.bridge import Live
    from tests.support.redis import Redis

HOUR = 3600


LONG = Pauses(lazy_seconds=HOUR, block_seconds=HOUR, answer_seconds=2 * HOUR)
patient_bridge = partial(live_bridge, pauses=LONG)


def make_queues(redis: Redis, count: int) -> None:
    for number in range(count):
        redis.make_queue(f"q{number}")


def stream_of(live: Live, queue: str) -> ReadState:
    return live.bridge.queues._streams[queue]


async def keep_busy(live: Live, redis: Redis, queue: str) -> None:
    """Write to a queue until it counts as busy, so that it is read only now and then."""
    for _ in range(100):
        redis.add_event(queue, "progress", "busy", data=1)
    await eventually(lambda: stream_of(live, queue).is_lazy)


async def test_a_queue_that_joins_a_blocked_read_is_read_immediately(redis: Redis) -> None:
    """Also a 17th queue. A subscription without a queue is answered when this queue is read."""
    make_queues(redis, 16)
    async with (
        patient_bridge(redis.url, queues=("*",), discover_seconds=0.05) as live,
        raw_client(live.url) as client,
    ):
        for number in range(16):
            await client.ask("subscribe-queue", f"q{number}")
        for number in range(16, 20):
            redis.make_queue(f"q{number}")
            await eventually(lambda: f"q{number}" in live.bridge.queues.by_label)  # noqa: B023 - waited for in its turn
            await subscribe(client, f"job{number}")
            assert not stream_of(live, f"q{number}").problem
            status, body = await anyio.to_thread.run_sync(get, live.url + "/readyz")
            assert status == 200, body
            await client.ask("subscribe-queue", f"q{number}")
            sent = redis.add_event(f"q{number}", "completed", "1", returnvalue="1")
            assert (await client.receive())["id"] == sent


@pytest.mark.parametrize("rule", ["-client", "-client +client|id"])
async def test_a_user_who_may_not_end_reads_has_short_ones(redis: Redis, rule: str) -> None:
    make_queues(redis, 17)
    redis.client.acl_setuser(
        "reader", reset=True, enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", *rule.split()]
    )
    url = f"redis://reader:secret@127.0.0.1:{redis.server.port}"
    try:
        async with (
            patient_bridge(url, queues=("*",), discover_seconds=0.05) as live,
            raw_client(live.url) as client,
        ):
            await client.ask("subscribe-queue", "q1")
            redis.make_queue("q17")
            await eventually(lambda: "q17" in live.bridge.queues.by_label)
            await subscribe(client, "1")
            await client.ask("subscribe-queue", "q17")
            sent = redis.add_event("q17", "completed", "1", returnvalue="1")
            assert (await client.receive())["id"] == sent
    finally:
        redis.client.acl_deluser("reader")


async def test_a_client_that_subscribes_ends_the_pause_of_a_queue(redis: Redis) -> None:
    async with patient_bridge(redis.url) as live, raw_client(live.url) as client:
        await keep_busy(live, redis, "http")
        unread = redis.add_event("http", "completed", "1", returnvalue="1")
        ack = await subscribe(client, {"jobId": "1", "queue": "http"})
        sent = redis.add_event("http", "completed", "1", returnvalue="2")
        frames = [await client.receive(), await client.receive()]
        assert [frame["id"] for frame in frames] == [unread, sent]
        assert ack["after"]["http"] != "0-0"
        assert stream_of(live, "sparql").is_lazy is False, "a quiet one is waited for"


async def test_an_answer_waits_for_no_pause(redis: Redis) -> None:
    """With more queues than readers, a subscription without a queue makes no queue wanted, but its answer needs all."""
    make_queues(redis, 17)
    async with patient_bridge(redis.url, queues=("*",)) as live, raw_client(live.url) as client:
        await keep_busy(live, redis, "q3")
        redis.add_job("q3", "1", state="completed", finishedOn=time.time() * 1000, returnvalue="1")
        sent = redis.add_event("q3", "completed", "1", returnvalue="1")
        ack = await subscribe(client, {"jobId": "1"})
        assert ack["jobs"][0]["queue"] == "q3"
        assert (await client.receive())["id"] == sent


async def test_a_job_without_a_queue_is_found_where_nobody_listens(redis: Redis) -> None:
    make_queues(redis, 17)
    pauses = LONG._replace(lazy_seconds=0.1)
    async with live_bridge(redis.url, queues=("*",), pauses=pauses) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "events": ["*"]})
        await keep_busy(live, redis, "q3")
        await keep_busy(live, redis, "q4")
        sent = [redis.add_event("q3", "added", "1")]
        assert (await client.receive())["id"] == sent[0]
        sent.append(redis.add_event("q3", "completed", "1", returnvalue="1"))
        assert (await client.receive())["id"] == sent[1]
        assert not stream_of(live, "q3").is_lazy
        assert stream_of(live, "q4").is_lazy
        await client.ask("unsubscribe-job", "1")
        await keep_busy(live, redis, "q3")


async def test_where_queues_are_few_a_job_that_none_has_yet_is_waited_for_in_all(redis: Redis) -> None:
    async with patient_bridge(redis.url) as live, raw_client(live.url) as client:
        await keep_busy(live, redis, "http")
        await keep_busy(live, redis, "sparql")
        await subscribe(client, {"jobId": "1", "events": ["*"]})
        sent = redis.add_event("sparql", "added", "1")
        assert (await client.receive())["id"] == sent
        await keep_busy(live, redis, "http")


async def test_a_busy_queue_that_nobody_listens_to_wakes_nobody(redis: Redis) -> None:
    """An event comes every 4 ms for two seconds, while a client listens to another queue."""

    def reads() -> int:
        stats = redis.client.info("commandstats")
        return int(stats["cmdstat_xread"]["calls"])

    def write() -> str:
        last = ""
        for _ in range(500):
            last = redis.add_event("http", "progress", "busy", data=1)
            time.sleep(0.004)
        return last

    pauses = LONG._replace(lazy_seconds=0.25)
    async with live_bridge(redis.url, pauses=pauses) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "queue": "sparql"})
        await keep_busy(live, redis, "http")
        before = reads()
        began = time.monotonic()
        last = await anyio.to_thread.run_sync(write)
        await eventually(lambda: live.bridge.fanout.cursors["http"] == last)
        assert reads() - before < 100 + 20 * (time.monotonic() - began)
        assert b"busy" in live.bridge.fanout.history.of("http").job_ids
        await nothing_more(client)


@pytest.mark.parametrize("max_length", [20, 999])
async def test_a_stream_that_keeps_little_is_never_left_alone(redis: Redis, max_length: int) -> None:
    redis.client.hset("bull:http:meta", "opts.maxLenEvents", str(max_length))
    async with patient_bridge(redis.url) as live:
        for _ in range(5):
            for _ in range(100):
                last = redis.add_event("http", "progress", "busy", data=1)
            await eventually(lambda: live.bridge.fanout.cursors["http"] == last)  # noqa: B023 - waited for in its turn
        assert not stream_of(live, "http").is_lazy


class Blocked:
    """A reader that is woken before Redis has got its read."""

    is_woken = True

    def __init__(self, client_id: int) -> None:
        self.client_id: int | None = client_id


async def test_redis_may_meet_the_command_before_the_read_that_it_ends(redis: Redis) -> None:
    reading = await Connection.open(RedisTarget(redis.url))
    client_id = await reading.ask("CLIENT", "ID", timeout_seconds=5)
    assert isinstance(client_id, int)
    blocked = Blocked(client_id)
    unblocker = Unblocker(RedisTarget(redis.url), [blocked])  # type: ignore[list-item]

    def asked() -> int:
        stats = redis.client.info("commandstats")
        return sum(int(each["calls"]) for name, each in stats.items() if name.startswith("cmdstat_client"))

    before = asked()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(unblocker.run)
        await eventually(lambda: unblocker.works)
        unblocker.unblock()
        await eventually(lambda: asked() > before + 2)
        assert await reading.ask("XREAD", "BLOCK", 0, "STREAMS", "nothing", "$", timeout_seconds=10) is None
        blocked.client_id = None
        tasks.cancel_scope.cancel()
    reading.close()
