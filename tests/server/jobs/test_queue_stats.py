"""The numbers of a queue, `queue-stats`: what they say, when they come, to whom, and what they cost Redis."""

from __future__ import annotations

from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
from redis import Redis as Client

from jobws.errors import ConfigurationError
from jobws.server.intervals import USUAL_INTERVALS
from jobws.server.settings import Settings
from tests.chaos.proxy import Proxy
from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.demo_worker import Worker
from tests.support.event_source import frame_source
from tests.support.http import call
from tests.support.node import NodeProcess, install_packages
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.client import Frame, RawClient
    from tests.support.redis import Redis

STATS = {"queue": "http", "events": ["queue-stats"]}
COUNTS = dict.fromkeys(("waiting", "active", "delayed", "prioritized", "waiting-children", "completed", "failed"), 0)
IMPATIENT = USUAL_INTERVALS._replace(workers_seconds=0.0)
often = partial(live_bridge, queues=("http", "sparql"), queue_stats_seconds=0.02)


async def listen(client: RawClient, data: object = STATS) -> Frame:
    """Subscribe, and return the data of the first `queue-stats`."""
    assert (await client.ask("subscribe-queue", data))["event"] == "ack"
    return await told(client)


async def told(client: RawClient) -> Frame:
    frame = await client.receive()
    assert (frame["event"], frame.get("id")) == ("queue-stats", None)
    data: Frame = frame["data"]
    return data


def names(frames: list[Frame]) -> list[str]:
    return [frame["event"] for frame in frames]


def wait_for_worker(redis: Redis, job_id: str) -> None:
    """Add a job as BullMQ does, in one step."""
    pipe = redis.client.pipeline()
    pipe.hset(f"bull:http:{job_id}", mapping={"name": "test", "data": "{}", "timestamp": 1})
    pipe.lpush("bull:http:wait", job_id)
    pipe.xadd("bull:http:events", {"event": "waiting", "jobId": job_id})
    pipe.execute()


@contextmanager
def commands(redis: Redis) -> Iterator[list[str]]:
    """Yield a list that has, at the end, the commands that Redis got."""
    monitor: Any = redis.client.monitor()  # type: ignore[no-untyped-call]
    got: list[str] = []
    with monitor:
        yield got
        redis.client.echo("the end")
        while "the end" not in (command := monitor.next_command()["command"]):
            got.append(command)


async def test_the_numbers_come_after_the_ack_and_when_they_change(redis: Redis) -> None:
    redis.make_queue("http")
    async with often(redis.url) as live, raw_client(live.url) as client:
        expected = {
            **{"queue": "http", "paused": False, "counts": COUNTS, "oldestWaitingSeconds": None},
            **{"completedPerMinute": 0, "failedPerMinute": 0, "workers": 0},
        }
        assert await listen(client) == expected
        wait_for_worker(redis, "1")
        data = await told(client)
        assert data["counts"] == {**COUNTS, "waiting": 1}
        assert 0 <= data["oldestWaitingSeconds"] < 60
        pipe = redis.client.pipeline()
        pipe.lrem("bull:http:wait", 0, "1")
        pipe.zadd("bull:http:failed", {"1": 1})
        pipe.hset("bull:http:meta", "paused", "1")
        pipe.xadd("bull:http:events", {"event": "failed", "jobId": "1", "failedReason": "no"})
        pipe.execute()
        counts = {**COUNTS, "failed": 1}
        while (data := await told(client))["failedPerMinute"] == 0:  # Redis counted before the event was read
            pass
        assert data == {**expected, "paused": True, "counts": counts, "failedPerMinute": 1}


async def test_each_subscription_gets_them_under_its_name_and_none_without_asking(redis: Redis) -> None:
    redis.make_queue("http")
    async with often(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-queue", {"queue": "http", "events": ["*"], "sub": "all"})
        await client.ask("subscribe-job", {"jobId": "1", "events": ["queue-stats"], "sub": "job"})
        await listen(client, {**STATS, "sub": 1})
        await client.ask("subscribe-queue", {"queue": "http", "events": ["*", "queue-stats"], "sub": "both"})
        assert (await client.receive())["sub"] == "both"
        wait_for_worker(redis, "2")
        frames = [await client.receive() for _ in range(4)]
        assert {(frame["event"], frame["sub"]) for frame in frames} == {
            *{("waiting", "all"), ("waiting", "both"), ("queue-stats", 1), ("queue-stats", "both")}
        }
        assert (await client.ask("unsubscribe-queue", {"queue": "http", "sub": 1}))["data"]["left"]
        wait_for_worker(redis, "3")
        frames = [await client.receive() for _ in range(3)]
        assert [frame["sub"] for frame in frames if frame["event"] == "queue-stats"] == ["both"]


async def test_a_hundred_listeners_cost_redis_as_much_as_one_and_none_costs_nothing(redis: Redis) -> None:
    redis.make_queue("http")
    redis.client.config_resetstat()
    costs = []
    # The list of Redis's clients is read once in 10 s, and a busy machine takes longer.
    async with often(redis.url, intervals=USUAL_INTERVALS._replace(workers_seconds=3600.0)) as live:
        for listeners in (1, 100, 0):
            async with raw_client(live.url) as other, AsyncExitStack() as stack:
                await other.ask("subscribe-queue", {"queue": "http", "events": ["waiting"]})
                with commands(redis) as got:
                    clients = [await stack.enter_async_context(raw_client(live.url)) for _ in range(listeners)]
                    for client in clients:
                        await listen(client)
                    for number in range(20):
                        wait_for_worker(redis, f"{listeners}-{number}")
                        assert (await other.receive())["event"] == "waiting"
                        for client in clients:
                            await told(client)
                costs.append(sorted(each.split(" ")[0] for each in got if is_about_numbers(each)))
    assert len(costs[0]) == 21 * 14
    assert costs[1] == costs[0]
    assert costs[2] == []
    # MONITOR does not show CLIENT LIST, and Redis 6.2 does not count it by itself.
    assert redis.client.info("commandstats").get("cmdstat_client|list", {"calls": 1})["calls"] == 1


def readings(redis: Redis) -> int:
    """How often the numbers of a queue were read."""
    calls: int = redis.client.info("commandstats")["cmdstat_zcard"]["calls"] // 5
    return calls


def is_about_numbers(command: str) -> bool:
    """Whether only a reading of a queue's numbers sends it. Readers of streams send XLEN to Redis 6.2, too."""
    return command.startswith(("ZCARD", "LLEN", "LRANGE", "HMGET bull:http:meta", "TIME"))


async def test_only_changes_are_told(redis: Redis) -> None:
    """That a job waits for longer is none."""
    redis.make_queue("http")
    async with often(redis.url) as live, raw_client(live.url) as client:
        wait_for_worker(redis, "1")
        redis.add_event("http", "completed", "2", returnvalue="1")
        data = await listen(client)
        while data["completedPerMinute"] == 0:  # from then on they are read again and again
            data = await told(client)
        before = readings(redis)
        await eventually(lambda: readings(redis) > before + 3)
        wait_for_worker(redis, "3")
        assert (await told(client))["counts"]["waiting"] == 2


async def test_one_that_comes_later_gets_the_numbers_of_before_with_the_age_of_now(redis: Redis) -> None:
    redis.make_queue("http")
    wait_for_worker(redis, "1")
    async with (
        live_bridge(redis.url, queues=("http",), queue_stats_seconds=3600) as live,
        raw_client(live.url) as first,
    ):
        before = (await listen(first))["oldestWaitingSeconds"]
        async with raw_client(live.url) as second:
            assert before < (await listen(second))["oldestWaitingSeconds"]


async def test_they_need_the_right_to_the_queue_and_no_other(redis: Redis) -> None:
    redis.make_queue("http")
    async with keyed_bridge(redis.url, queues=("http",), queue_stats_seconds=0.02) as live:

        def client_with(scope: str) -> Any:
            return raw_client(live.url, headers=[("Authorization", f"Bearer {jwt(scope)}")])

        async with client_with("read:queues:http") as client:
            assert (await listen(client))["counts"] == COUNTS
            answer = await client.ask("subscribe-queue", {"queue": "http", "events": ["queue-stats", "completed"]})
            assert answer["data"]["code"] == "forbidden"
            await client.until_answered("authenticate", {"token": jwt("read:jobs:http")})
        async with client_with("read:jobs:http") as client:
            assert (await client.ask("subscribe-queue", STATS))["data"]["code"] == "forbidden"
            await client.ask("subscribe-queue", {"queue": "http", "events": ["waiting", "queue-stats"]})
            wait_for_worker(redis, "1")
            assert (await client.receive())["event"] == "waiting"
            await client.ask("authenticate", {"token": jwt("read:jobs:http read:queues:http")})
            assert (await told(client))["counts"]["waiting"] == 1
            assert "ended" in names(await client.until_answered("authenticate", {"token": jwt("read:queues:http")}))
        async with client_with("read:queues:http") as client:
            await listen(client)
            assert "ended" in names(await client.until_answered("authenticate", {"token": jwt("read:jobs:http")}))


async def test_they_come_over_event_streams_too(redis: Redis) -> None:
    redis.make_queue("http")
    async with often(redis.url) as live:
        async with frame_source(live.url, [{"event": "subscribe-queue", "data": STATS}]) as source:
            assert [(await source.frame())["event"] for _ in range(2)] == ["hello", "ack"]
            while (frame := await source.frame())["event"] == "pong":
                pass
        assert (frame["event"], frame["data"]["counts"]) == ("queue-stats", COUNTS)


async def workers(url: str, queue: str = "http") -> int | None:
    _, body = await call("GET", url + "/queues")
    (found,) = [each["workers"] for each in body["queues"] if each["queue"] == queue]
    number: int | None = found
    return number


async def test_workers_of_both_languages_are_counted(redis: Redis, tmp_path: Path) -> None:
    await anyio.to_thread.run_sync(install_packages)
    arguments = (str(redis.server.port), redis.server.url.split(":")[2].split("@")[0], "bull", "http")
    with Worker(redis.url, tmp_path) as python, NodeProcess("worker.mjs", *arguments):
        await anyio.to_thread.run_sync(python.ready)
        async with often(redis.url, intervals=IMPATIENT) as live:
            with anyio.fail_after(EVENTUALLY_SECONDS):
                while [await workers(live.url), await workers(live.url, "sparql")] != [2, 1]:
                    await anyio.sleep(0.05)


async def test_workers_of_another_database_are_not_counted(redis: Redis) -> None:
    url = redis.url.rpartition("/")[0]
    with Client.from_url(f"{url}/1", single_connection_client=True) as worker:
        worker.client_setname("bull:aHR0cA==")
        for db, expected in ((0, 0), (1, 1)):
            async with often(f"{url}/{db}") as live:
                assert await workers(live.url) == expected


async def test_the_list_of_clients_is_read_once_for_all_queues_and_requests(redis: Redis) -> None:
    redis.client.config_resetstat()
    queues = tuple(f"q{number}" for number in range(10))
    async with live_bridge(redis.url, queues=queues) as live, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(call, "GET", live.url + "/queues")
    # Redis 6.2 does not count it by itself.
    assert redis.client.info("commandstats").get("cmdstat_client|list", {"calls": 1})["calls"] == 1


async def test_no_wrong_number_of_workers_is_told(own_redis: Callable[[], Redis]) -> None:
    redis = own_redis()  # a right is taken from its user
    redis.make_queue("http")
    async with often(redis.url, intervals=IMPATIENT) as live:
        assert await workers(live.url) == 0
        redis.add_job("http", "1", state="active")
        assert await workers(live.url) is None
        redis.client.delete("bull:http:active")
        redis.client.acl_setuser("default", enabled=True, commands=["-client"])
        assert await workers(live.url) is None


async def test_they_go_on_when_redis_is_back(redis: Redis) -> None:
    redis.make_queue("http")
    proxy = Proxy(redis.server.port)
    url = redis.url.replace(f":{redis.server.port}", f":{proxy.port}")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(proxy.run)
        async with often(url) as live, raw_client(live.url) as client:
            await listen(client)
            proxy.open = False
            proxy.cut()
            wait_for_worker(redis, "1")
            proxy.open = True
            while (frame := await client.receive())["event"] != "queue-stats":
                pass  # `gap` is allowed
            assert frame["data"]["counts"]["waiting"] == 1
        tasks.cancel_scope.cancel()


def test_the_interval_is_above_zero() -> None:
    with pytest.raises(ConfigurationError, match=r"^queue_stats_seconds must be above 0$"):
        Settings(queue_stats_seconds=0).check()
