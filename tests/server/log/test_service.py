"""`/logs`: lines as they happen, past lines that join them without a loss, and clients that do not keep up."""

from __future__ import annotations

import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from jobws.embedded import EmbeddedRedis
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.redis import Redis
from tests.support.servers import redis_6

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.bridge import Live
    from tests.support.client import RawClient


def log_client(live: Live) -> Any:
    return raw_client(live.url, path="/logs")


@asynccontextmanager
async def subscribed(live: Live, **data: Any) -> AsyncIterator[RawClient]:
    """Yield a client whose subscription was answered."""
    async with log_client(live) as client:
        await subscribe(client, **data)
        yield client


async def subscribe(client: RawClient, **data: Any) -> dict[str, Any]:
    ack = await client.ask("subscribe-logs", data)
    assert ack["event"] == "ack", ack
    answer: dict[str, Any] = ack["data"]
    assert answer.pop("request") == "subscribe-logs"
    return answer


async def messages(client: RawClient, count: int) -> list[str]:
    frames = [await client.receive() for _ in range(count)]
    assert {frame["event"] for frame in frames} <= {"log"}, frames
    return [frame["data"]["message"] for frame in frames]


async def nothing_more(client: RawClient) -> None:
    assert (await client.ask("ping"))["event"] == "pong"


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "asgi"])
async def test_a_line_as_it_happens(redis: Redis, direct: bool) -> None:
    async with live_bridge(redis.url, direct=direct) as live, subscribed(live) as client:
        sent = redis.add_log("hello", queue="http", jobId="7", level="WARN", fields='{"a":[1]}', time=17, pid=3)
        assert await client.receive() == {
            "event": "log",
            "id": sent,
            "data": {
                **{"time": 17, "level": "warning", "source": "test", "message": "hello", "queue": "http"},
                **{"jobId": "7", "fields": {"pid": "3", "a": [1]}},
            },
        }
        assert (await client.ask("ping"))["data"] == {"after": sent}


async def test_nothing_from_before_without_being_asked(redis: Redis) -> None:
    before = redis.add_log("before")
    async with live_bridge(redis.url) as live, log_client(live) as client:
        assert await subscribe(client) == {"after": before}
        redis.add_log("after")
        assert await messages(client, 1) == ["after"]


async def test_the_last_lines_and_then_what_happens(redis: Redis) -> None:
    sent = [redis.add_log(f"m{number}") for number in range(500)]
    async with live_bridge(redis.url) as live, log_client(live) as client:
        ack = await subscribe(client, tail=300)
        assert int(ack["after"].split("-")[0]) <= int(sent[200].split("-")[0])
        redis.add_log("new")
        frames = [await client.receive() for _ in range(301)]
        assert [frame["id"] for frame in frames[:-1]] == sent[200:]
        assert [frame.get("replayed") for frame in frames] == [True] * 300 + [None]
        await nothing_more(client)


async def test_the_tail_counts_lines_that_are_wanted(redis: Redis) -> None:
    for number in range(300):
        redis.add_log(f"m{number}", level="error" if number % 50 == 7 else "info")
    async with live_bridge(redis.url) as live, subscribed(live, tail=3, level="error") as client:
        assert await messages(client, 3) == ["m157", "m207", "m257"]
        await nothing_more(client)


async def test_more_than_there_is(redis: Redis) -> None:
    sent = [redis.add_log(f"m{number}") for number in range(1000)]
    async with live_bridge(redis.url) as live, subscribed(live, tail=1_000_000_000) as client:
        assert [(await client.receive())["id"] for _ in sent] == sent
        await nothing_more(client)


async def test_an_empty_stream_has_no_tail(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, log_client(live) as client:
        assert await subscribe(client, tail=10) == {"after": "0-0"}
        redis.add_log("first")
        assert await messages(client, 1) == ["first"]


async def test_return_without_a_gap(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        async with subscribed(live) as client:
            redis.add_log("one")
            last = (await client.receive())["id"]
        redis.add_log("two")
        async with log_client(live) as client:
            assert await subscribe(client, after=last) == {"after": last}
            redis.add_log("three")
            assert await messages(client, 2) == ["two", "three"]
            await nothing_more(client)


async def test_a_position_that_was_trimmed_or_is_of_another_stream_is_a_gap(redis: Redis) -> None:
    sent = [redis.add_log(f"m{number}") for number in range(10)]
    redis.client.xtrim("jobws:logs", maxlen=3, approximate=False)
    async with live_bridge(redis.url) as live:
        for after in (sent[2], "0-0", "9999999999999-0", "18446744073709551615-18446744073709551615"):
            async with log_client(live) as client:
                ack = await subscribe(client, after=after)
                assert ack["gap"] is True
                assert await messages(client, 3) == ["m7", "m8", "m9"]
                await nothing_more(client)
        async with log_client(live) as client:
            assert "gap" not in await subscribe(client, after=sent[8])
            assert await messages(client, 1) == ["m9"]


async def test_filters(redis: Redis) -> None:
    wanted: list[tuple[dict[str, Any], list[str]]] = [
        ({"level": "warning"}, ["c", "d"]),
        ({"source": "api"}, ["b"]),
        ({"source": ["api", "worker"]}, ["b", "c"]),
        ({"queue": "http"}, ["c", "d"]),
        ({"queue": "http", "jobId": ["1"]}, ["c"]),
        ({"text": "OO"}, ["Foo"]),
        ({"text": "foo", "level": "error"}, []),
    ]

    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:

        async def watch(data: dict[str, Any], expected: list[str], *, task_status: Any) -> None:
            async with subscribed(live, **data) as client:
                task_status.started()
                assert await messages(client, len(expected) + 1) == [*expected, "Foo, the end"]
                await nothing_more(client)

        for data, expected in wanted:
            await tasks.start(watch, data, expected)
        for message, fields in {
            "a": {},
            "b": {"source": "api"},
            "c": {"source": "worker", "queue": "http", "jobId": "1", "level": "warn"},
            "d": {"queue": "http", "jobId": "2", "level": "fatal"},
            "Foo": {},
        }.items():
            redis.add_log(message, **fields)
        redis.add_log("Foo, the end", source="api", queue="http", jobId="1", level="critical")


async def test_a_second_subscription_replaces_the_first_without_a_seam(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, subscribed(live, level="error") as client, subscribed(live) as other:
        redis.add_log("not wanted")
        redis.add_log("wanted", level="error")
        assert await messages(other, 2) == ["not wanted", "wanted"]
        await client.send("subscribe-logs", {"level": "info"})
        redis.add_log("new")
        frames = await client.until("log", message="new")
        assert [frame["event"] for frame in frames] == ["log", "ack", "log"]
        await nothing_more(client)


async def test_a_client_that_leaves_gets_nothing_more(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, subscribed(live) as client, subscribed(live) as other:
        ack = await client.ask("unsubscribe-logs", ref=1)
        assert ack == {"event": "ack", "data": {"request": "unsubscribe-logs", "left": True}, "ref": 1}
        assert (await client.ask("unsubscribe-logs"))["data"]["left"] is False
        redis.add_log("x")
        assert await messages(other, 1) == ["x"]
        assert (await client.ask("ping"))["data"] == {"after": None}


async def test_nobody_who_watches_costs_redis_nothing(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        queues = len(live.bridge.queues.by_label)
        await eventually(lambda: blocked_reads(redis) == queues)
        async with subscribed(live):
            await eventually(lambda: blocked_reads(redis) == queues + 1)
        await eventually(lambda: blocked_reads(redis) == queues)
        async with subscribed(live) as client:
            redis.add_log("again")
            assert await messages(client, 1) == ["again"]


def blocked_reads(redis: Redis) -> int:
    clients: list[dict[str, str]] = redis.client.client_list()
    return sum(client["cmd"] == "xread" for client in clients)


async def test_redis_away_and_back(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis("appendonly yes", "appendfsync always")
    async with live_bridge(redis.url) as live, subscribed(live) as client:
        redis.add_log("before")
        assert await messages(client, 1) == ["before"]
        await anyio.to_thread.run_sync(redis.server.kill)
        async with log_client(live) as late:
            await late.send("subscribe-logs", {"tail": 1})
            await anyio.to_thread.run_sync(redis.server.start)
            redis.add_log("after")
            assert (await late.receive())["event"] == "ack"
            assert (await messages(late, 1))[0] in ("before", "after")
        assert await messages(client, 1) == ["after"]
        await nothing_more(client)


async def test_redis_that_does_not_come_back(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    async with live_bridge(redis.url, join_seconds=0.3) as live, log_client(live) as client:
        await anyio.to_thread.run_sync(redis.server.kill)
        answer = await client.ask("subscribe-logs", {"tail": 1}, ref=5)
        assert answer["data"]["code"] == "unavailable"
        assert (answer["ref"], answer["data"]["request"]) == (5, "subscribe-logs")


async def test_a_stream_that_is_made_anew_is_read_from_its_beginning(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, subscribed(live) as client:
        redis.client.xadd("jobws:logs", {"message": "old"}, id="9999999999999-0")
        assert await messages(client, 1) == ["old"]
        redis.client.delete("jobws:logs")
        redis.add_log("new")
        assert (await client.receive()) == {"event": "dropped", "data": {"count": 0, "approximate": True}}
        assert await messages(client, 1) == ["new"]


async def test_a_redis_that_does_not_count_is_read_without_a_false_alarm() -> None:
    with EmbeddedRedis(binary=redis_6()) as server, Redis(server) as redis:
        for number in range(500):
            redis.add_log(f"m{number}")
        assert "entries-added" not in redis.client.xinfo_stream("jobws:logs")
        redis.client.xtrim("jobws:logs", maxlen=400, approximate=False)
        async with live_bridge(server.url) as live, subscribed(live, tail=1000) as client:
            assert await messages(client, 400) == [f"m{number}" for number in range(100, 500)]
            redis.add_log("new")
            assert await messages(client, 1) == ["new"]
            await nothing_more(client)


@pytest.mark.counts
async def test_lines_that_were_trimmed_unread_are_counted(own_redis: Callable[..., Redis]) -> None:
    await trimmed_unread(own_redis(), {"count": 30})


async def test_without_counting_it_is_said_that_some_may_be_missing() -> None:
    with EmbeddedRedis(binary=redis_6()) as server, Redis(server) as redis:
        await trimmed_unread(redis, {"approximate": True})


async def trimmed_unread(redis: Redis, dropped: dict[str, Any]) -> None:
    async with live_bridge(redis.url) as live, subscribed(live) as client:
        redis.add_log("before")
        assert await messages(client, 1) == ["before"]
        pipe = redis.client.pipeline(transaction=True)
        for number in range(40):
            pipe.xadd("jobws:logs", {"message": f"m{number}"})
        pipe.xtrim("jobws:logs", maxlen=10, approximate=False)
        pipe.execute()
        frame = await client.receive()
        assert frame["event"] == "dropped"
        assert dropped.items() <= frame["data"].items()
        assert ("approximate" in frame["data"]) == ("approximate" in dropped)
        assert await messages(client, 10) == [f"m{number}" for number in range(30, 40)]


async def test_a_key_that_is_no_stream(redis: Redis) -> None:
    redis.client.set("jobws:logs", "x")
    async with live_bridge(redis.url, join_seconds=0.3) as live, log_client(live) as client:
        assert (await client.ask("subscribe-logs", {}))["data"]["code"] == "unavailable"
        redis.client.delete("jobws:logs")
        await subscribe(client)


async def test_metrics_count_lines_and_who_watches(redis: Redis) -> None:
    redis.add_log("before")

    def metrics(url: str) -> list[str]:
        with urllib.request.urlopen(url + "/metrics", timeout=60) as response:
            text: str = response.read().decode()
        return text.splitlines()

    async with live_bridge(redis.url) as live, subscribed(live, tail=1) as client:
        redis.add_log("now")
        assert await messages(client, 2) == ["before", "now"]
        lines = await anyio.to_thread.run_sync(metrics, live.url)
    counted = {"jobws_connections 1.0", "jobws_log_lines_dropped_total 0.0"}
    assert counted <= set(lines)
    counts = dict(line.split() for line in lines if line.startswith("jobws_log_lines_") and "_total" in line)
    assert float(counts["jobws_log_lines_sent_total"]) + float(counts["jobws_log_lines_replayed_total"]) == 2


async def test_the_stream_can_have_another_name(redis: Redis) -> None:
    async with live_bridge(redis.url, logs_stream="my:log") as live, subscribed(live) as client:
        redis.add_log("here", key="my:log")
        assert await messages(client, 1) == ["here"]
