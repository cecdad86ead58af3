"""Log lines in the adapter, in Node with a real bridge: lines of jobs, and `/logs`. Each line comes once."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from jobws.server.bridge import RESTART
from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.adapter import adapter
from tests.support.blocking_proxy import BlockingProxy
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.fake_bridge import fake_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.adapter import AdapterClient, Told
    from tests.support.bridge import Live
    from tests.support.fake_bridge import FakeConnection
    from tests.support.redis import Redis

RESTARTS: Final = 1012
LOGS: Final = "bull:http:7:logs"
SOON: Final = {"reconnectionDelay": 10, "reconnectionDelayMax": 10}


def names(told: list[Told]) -> list[Any]:
    """Return the lines of each `job-log`, and the names of other events."""
    return [
        item for each in told for item in (each["data"]["lines"] if each["event"] == "job-log" else [each["event"]])
    ]


async def until(watched: AsyncIterator[Told], last: str) -> list[Any]:
    """Return lines and other events up to the line or event `last`."""
    items: list[Any] = []
    with trio.fail_after(EVENTUALLY_SECONDS):
        while last not in items:
            items += names([await anext(watched)])
    return items


async def restart(live: Live) -> None:
    """Close all clients as for a restart, and wait until one has returned."""
    before = set(live.bridge.clients.connected)
    live.bridge.close_all(RESTART)
    await eventually(lambda: bool(live.bridge.clients.connected - before))


WAYS: Final = [({"transports": ["websocket"]}, "websocket"), ({"WebSocket": False}, "sse")]


@pytest.mark.parametrize(("options", "transport"), WAYS)
async def test_lines_are_watched_up_to_the_outcome(redis: Redis, options: dict[str, Any], transport: str) -> None:
    redis.add_job("http", "7", state="active")
    redis.client.rpush(LOGS, "a", "b")
    async with adapter() as node, live_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON, **options)
        async with (
            client.watch("7", queue="http", logs=True) as watched,
            client.watch("7", queue="http", events=["*"]) as others,
        ):
            assert await until(watched, "b") == ["a", "b"]
            redis.client.rpush(LOGS, "c")
            redis.add_event("http", "completed", "7", returnvalue="1")
            assert await until(watched, "completed") == ["c", "completed"]
            assert [each["event"] async for each in others] == ["completed"]
        assert (await client.until("transport"))[-1]["data"] == transport
        assert node.uncaught == []


@pytest.mark.parametrize(("options", "transport"), WAYS)
async def test_whoever_comes_later_gets_all_lines_and_nobody_gets_one_twice(
    redis: Redis, options: dict[str, Any], transport: str
) -> None:
    redis.add_job("http", "7", state="active")
    redis.client.rpush(LOGS, "a", "b")
    async with adapter() as node, live_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON, **options)
        async with client.watch("7", logs=True) as first:
            assert await until(first, "b") == ["a", "b"]
            async with client.watch("7", logs=True) as second, client.watch("7", queue="http", logs=True) as named:
                redis.client.rpush(LOGS, "c")
                assert await until(second, "c") == ["a", "b", "c"]
                assert await until(named, "c") == ["a", "b", "c"]
                assert await until(first, "c") == ["c"]
                redis.client.rpush(LOGS, "d")
                for watched in (first, second, named):
                    assert await until(watched, "d") == ["d"]
        assert (await client.until("transport"))[-1]["data"] == transport


@pytest.mark.parametrize(("options", "transport"), WAYS)
async def test_watchers_that_come_and_go_while_lines_are_written(
    redis: Redis, options: dict[str, Any], transport: str
) -> None:
    """Each watcher subscribes to the job again, after what has come until then, and lines come all the time."""
    redis.add_job("http", "7", state="active")
    async with adapter() as node, live_bridge(redis.url) as live, trio.open_nursery() as nursery:
        client = await node.io(live.url, **SOON, **options)
        expected = [f"{number}" for number in range(200)]

        async def watch() -> None:
            async with client.watch("7", queue="http", logs=True) as watched:
                assert await until(watched, "199") == expected

        async def come_and_go() -> None:
            async with client.watch("7", queue="http", logs=True) as watched:
                await anext(watched)

        for number in range(200):
            redis.client.rpush(LOGS, f"{number}")
            if number % 10 == 0:
                nursery.start_soon(watch)
                nursery.start_soon(come_and_go)
            await trio.sleep(0.005)
        assert (await client.until("transport"))[-1]["data"] == transport


async def test_a_lost_connection_costs_no_line(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    async with adapter() as node, live_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON)
        async with client.watch("7", queue="http", logs=True) as watched:
            for number in range(5):
                redis.client.rpush(LOGS, f"{number}")
                assert await until(watched, f"{number}") == [f"{number}"]
                redis.client.ltrim(LOGS, -2, -1)
                await restart(live)
            redis.add_event("http", "completed", "7", returnvalue="1")
            assert await until(watched, "completed") == ["completed"]


async def test_lines_come_through_a_network_that_holds_streams_back(redis: Redis) -> None:
    """Each answer ends with the lines that it waited for. The next one continues after them."""
    redis.add_job("http", "7", state="active")
    redis.client.rpush(LOGS, "a")
    async with adapter() as node, live_bridge(redis.url) as live, trio.open_nursery() as nursery:
        proxy = BlockingProxy(int(live.url.rpartition(":")[2]))
        proxy.buffers = True
        nursery.start_soon(proxy.run)
        client = await node.io(f"http://127.0.0.1:{proxy.port}", **SOON, WebSocket=False, timeout=1000)
        async with client.watch("7", queue="http", logs=True) as watched:
            assert await until(watched, "a") == ["a"]
            assert (await client.state())["transport"] == "polling"
            for line in "bcd":
                redis.client.rpush(LOGS, line)
                assert await until(watched, line) == [line]
            redis.client.rpush(LOGS, "e")
            redis.add_event("http", "completed", "7", returnvalue="1")
            assert await until(watched, "completed") == ["e", "completed"]
        nursery.cancel_scope.cancel()


async def test_a_page_hands_lines_to_its_handler(redis: Redis) -> None:
    """Only lines of jobs to which it subscribed with `logs` come, also after a position that it kept."""
    for job_id in ("7", "8", "9"):
        redis.add_job("http", job_id, state="active")
        redis.client.rpush(f"bull:http:{job_id}:logs", f"a{job_id}", f"b{job_id}")
    async with adapter() as node, live_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON)
        await client.on("job-log", "completed")
        await client.emit("subscribe-job", {"jobId": "8", "queue": "http"})
        await client.emit("subscribe-job", {"jobs": ["7"], "queue": "http", "logs": True, "until": "end"})
        told = (await client.until("job-log"))[-1]["data"]
        assert (told["jobId"], told["lines"], told["first"]) == ("7", ["a7", "b7"], 0)
        redis.client.rpush("bull:http:8:logs", "c8")
        redis.client.rpush(LOGS, "c7")
        redis.add_event("http", "completed", "7", returnvalue="1")
        assert names(await client.until("completed")) == ["c7", "completed"]
        redis.add_event("http", "completed", "8", returnvalue="1")
        assert names(await client.until("completed")) == ["completed"]

        other = await node.io(live.url, **SOON)
        await other.on("job-log")
        item = {"jobId": "7", "queue": "http"}
        await other.emit("subscribe-job", {**item, "logs": {"after": told["position"]}})
        assert names(await other.until("job-log"))[-1:] == ["c7"]
        assert (await other.emit("subscribe-job", {**item, "queue": "analyzer", "logs": {"after": "no"}}))[0]["error"]


async def told_lines(client: AdapterClient, last: str) -> list[str]:
    """Return messages of the log up to `last`, and "dropped", which must not come."""
    messages: list[str] = []
    with trio.fail_after(EVENTUALLY_SECONDS):
        while last not in messages:
            told = await client.told.receive()
            if told["event"] in ("log", "dropped"):
                messages.append(told["data"].get("message", "dropped"))
    return messages


async def test_the_log_is_filtered_and_has_what_was_before(redis: Redis) -> None:
    for number in range(5):
        redis.add_log(f"{number}", queue="http", jobId="7")
    redis.add_log("other", queue="analyzer")
    async with adapter() as node, live_bridge(redis.url, own_log=False) as live:
        client = await node.io(f"{live.url}/logs", **SOON)
        await client.on("log", "dropped")
        (answer,) = await client.emit("subscribe-logs", {"queue": "http", "tail": 2})
        assert (answer["request"], answer.get("error")) == ("subscribe-logs", None)
        assert await told_lines(client, "4") == ["3", "4"]
        redis.add_log("other", queue="analyzer")
        redis.add_log("5", queue="http")
        assert await told_lines(client, "5") == ["5"]
        (answer,) = await client.emit("subscribe-logs", {"level": "loud"})
        assert answer["error"]["code"] == "bad-filter"
        (answer,) = await client.emit("unsubscribe-logs")
        assert answer == {"request": "unsubscribe-logs", "left": True}
        assert node.uncaught == []


@pytest.mark.parametrize("begin", [{}, {"tail": 3}], ids=["now", "tail"])
async def test_the_bridge_restarts_and_every_line_comes_once(redis: Redis, begin: dict[str, Any]) -> None:
    """Also lines that were written while there was no bridge, and before any other line had come."""
    numbers = count()
    expected: list[str] = []

    def write(many: int) -> str:
        for number in (next(numbers) for _ in range(many)):
            redis.add_log(f"{number}")
            expected.append(f"{number}")
        return expected[-1]

    async with adapter() as node:
        port = 0
        got: list[str] = []
        for turn in range(3):
            with BridgeProcess("--redis", redis.url, "--port", f"{port}", "--queues", "http", "--no-own-log") as bridge:
                url = await trio.to_thread.run_sync(bridge.started)
                if not turn:
                    port = int(url.rpartition(":")[2])
                    client = await node.io(f"{url}/logs", **SOON)
                    await client.on("log", "dropped")
                    await client.emit("subscribe-logs", begin)
                else:
                    got += await told_lines(client, write(20))
                bridge.terminate()
            write(10)
        with BridgeProcess("--redis", redis.url, "--port", f"{port}", "--queues", "http", "--no-own-log") as bridge:
            await trio.to_thread.run_sync(bridge.started)
            got += await told_lines(client, write(1))
            assert got == expected


async def asked(bridge: FakeConnection, event: str) -> dict[str, Any]:
    """Return the next request with this name. Pings may come before it."""
    while (request := await bridge.receive())["event"] != event:
        assert request["event"] == "ping", request
        await bridge.send("pong", {"after": None}, ref=request.get("ref"))
    return request


async def test_where_the_log_goes_on() -> None:
    """After the last line, or the position of an answer. A request that is refused for now is sent again."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(f"{server.url}/logs", **SOON, pingInterval=50)
        await client.on("log", "dropped")
        await client.send("subscribe-logs", {"tail": 3, "level": "info"})

        async def subscribed(bridge: FakeConnection, after: str, **more: Any) -> Any:
            request = await asked(bridge, "subscribe-logs")
            await bridge.send("ack", {"request": "subscribe-logs", "after": after, **more}, ref=request["ref"])
            return request["data"]

        bridge = await server.accept()
        assert await subscribed(bridge, "4-0") == {"tail": 3, "level": "info"}
        await bridge.close(RESTARTS)
        bridge = await server.accept()
        request = await asked(bridge, "subscribe-logs")
        assert request["data"] == {"after": "4-0", "level": "info"}
        await bridge.send("error", {"code": "unavailable", "message": "later"}, ref=request["ref"])
        assert await subscribed(bridge, "2-0", gap=True) == {"after": "4-0", "level": "info"}
        assert (await client.until("dropped"))[-1]["data"] == {"count": 0, "approximate": True}
        await bridge.send("pong", {"after": "8-0"}, ref=(await asked(bridge, "ping")).get("ref"))
        await bridge.close(RESTARTS)
        bridge = await server.accept()
        assert await subscribed(bridge, "8-0") == {"after": "8-0", "level": "info"}
        # There is a second subscription. Lines of the first one that come before the answer do not move its position.
        await client.send("subscribe-logs", {"tail": 1})
        await asked(bridge, "subscribe-logs")
        await bridge.send("log", {"time": 1, "level": "info", "source": "s", "message": "x"}, id="9-0")
        await client.until("log")
        await bridge.close(RESTARTS)
        assert await subscribed(await server.accept(), "9-0") == {"tail": 1}
