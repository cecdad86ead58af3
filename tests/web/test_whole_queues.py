"""The adapter watches whole queues, over each way to the bridge, and also across a lost connection."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from jobws.protocol.close_codes import CloseCode
from jobws.protocol.session import Close
from tests.support import eventually
from tests.support.adapter import SOON, Rejected, in_node
from tests.support.blocking_proxy import BlockingProxy
from tests.support.bridge import live_bridge
from tests.support.documents import block
from tests.support.fake_bridge import fake_bridge
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.adapter import Adapter, AdapterClient, Told
    from tests.support.bridge import Live
    from tests.support.browser import Chromium
    from tests.support.fake_bridge import FakeConnection
    from tests.support.redis import Redis

WAYS: Final = ["websocket", "sse", "polling"]


@asynccontextmanager
async def connected(node: Adapter, live: Live, way: str) -> AsyncIterator[AdapterClient]:
    """Yield a client in a network that lets events through only in this way."""
    url = live.url
    async with trio.open_nursery() as nursery:
        if way == "polling":
            proxy = BlockingProxy(int(url.rpartition(":")[2]))
            proxy.buffers = True
            nursery.start_soon(proxy.run)
            url = f"http://127.0.0.1:{proxy.port}"
        options = {} if way == "websocket" else {"WebSocket": False, "timeout": 1000}
        client = await node.io(url, reconnectionDelay=10, reconnectionDelayMax=10, **options)
        while (await client.until("transport"))[-1]["data"] != way:
            pass
        yield client
        nursery.cancel_scope.cancel()


def short(told: Told) -> tuple[str, str, str | None]:
    return told["event"], told["data"]["queue"], told["data"].get("jobId")


async def begun(watched: AsyncIterator[Told]) -> Told:
    """Return the next thing told, which must be an `ack`."""
    told = await anext(watched)
    assert told["event"] == "ack"
    data: Told = told["data"]
    return data


async def events(watched: AsyncIterator[Told], count: int) -> list[tuple[str, str, str | None]]:
    return [short(await anext(watched)) for _ in range(count)]


@pytest.mark.parametrize("way", WAYS)
async def test_one_queue_several_and_every_queue(redis: Redis, way: str) -> None:
    async with live_bridge(redis.url, queues=("http", "sparql", "other")) as live, in_node() as node:
        async with (
            connected(node, live, way) as client,
            client.watch_queue("http") as one,
            client.watch_queue(["http", "sparql"], events=["*"]) as two,
            client.watch_queue("*", events=["failed", "drained"]) as every,
        ):
            assert await begun(one) == {"queue": "http", "after": {"http": "0-0"}}
            assert {(await begun(two))["queue"] for _ in range(2)} == {"http", "sparql"}
            assert await begun(every) == {"queue": "*", "after": dict.fromkeys(("http", "sparql", "other"), "0-0")}
            redis.add_event("http", "active", "1", prev="waiting")
            redis.add_event("http", "completed", "1", returnvalue="1")
            redis.add_event("http", "drained", None)
            redis.add_event("sparql", "failed", "2", failedReason="no")
            redis.add_event("other", "failed", "3", failedReason="no")
            assert await events(one, 1) == [("completed", "http", "1")]
            drained = ("drained", "http", None)
            assert sorted(await events(two, 4), key=str) == sorted(
                [("active", "http", "1"), ("completed", "http", "1"), drained, ("failed", "sparql", "2")], key=str
            )
            assert sorted(await events(every, 3), key=str) == sorted(
                [drained, ("failed", "sparql", "2"), ("failed", "other", "3")], key=str
            )
        await eventually(lambda: not live.bridge.fanout.rooms)


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_missed_comes_and_nothing_comes_twice(redis: Redis, way: str) -> None:
    async with (
        live_bridge(redis.url, queues=("http",), progress_ms=0) as live,
        in_node() as node,
        connected(node, live, way) as client,
        client.watch_queue("*", events=["progress", "completed"]) as watched,
    ):
        await begun(watched)
        for number in range(4):
            redis.add_event("http", "progress", str(number), data="1")
            assert await events(watched, 1) == [("progress", "http", str(number))]
            live.bridge.close_all(Close(CloseCode.SERVICE_RESTART, "again"))
            redis.add_event("http", "completed", str(number), returnvalue="1")
            assert await events(watched, 1) == [("completed", "http", str(number))]


async def test_a_page_begins_where_it_wants(redis: Redis) -> None:
    first = redis.add_event("http", "completed", "1", returnvalue="1")
    second = redis.add_event("http", "completed", "2", returnvalue="1")
    async with live_bridge(redis.url, queues=("http",)) as live, in_node() as node:
        client = await node.io(live.url, **SOON)
        async with client.watch_queue("http", after={"http": first}) as watched:
            assert (await begun(watched))["after"] == {"http": first}
            told = await anext(watched)
            assert (*short(told), told["id"], told["replayed"]) == ("completed", "http", "2", second, True)


@pytest.mark.parametrize("way", WAYS)
async def test_the_numbers_of_a_queue(redis: Redis, way: str) -> None:
    redis.make_queue("http")
    async with (
        live_bridge(redis.url, queues=("http",), queue_stats_seconds=0.02) as live,
        in_node() as node,
        connected(node, live, way) as client,
        client.watch_queue("http", events=["queue-stats"]) as watched,
    ):
        await begun(watched)
        assert short(await anext(watched)) == ("queue-stats", "http", None)
        redis.add_job("http", "1", state="active")
        redis.add_event("http", "active", "1", prev="waiting")
        while (await anext(watched))["data"]["counts"]["active"] == 0:
            pass


async def test_who_polls_for_numbers_asks_once_a_second(redis: Redis) -> None:
    """Each answer has the numbers, so polls in a row would be as fast as the network."""
    redis.make_queue("http")
    async with (
        live_bridge(redis.url, queues=("http",)) as live,
        in_node() as node,
        connected(node, live, "polling") as client,
        client.watch_queue("http", events=["queue-stats"]) as watched,
    ):
        await begun(watched)
        await events(watched, 2)
        before = trio.current_time()
        assert await events(watched, 1) == [("queue-stats", "http", None)]
        assert trio.current_time() - before > 0.9


async def test_a_queue_that_is_refused_ends_the_loop(redis: Redis) -> None:
    async with keyed_bridge(redis.url, queues=("http", "secret")) as live, in_node() as node:
        client = await node.io(live.url, token=jwt("read:jobs:http"))
        async with client.watch_queue(["http", "secret"]) as watched:
            with pytest.raises(Rejected, match=r"JobwsError: secret: the token does not allow this$") as refused:
                await events(watched, 2)
        assert refused.value.error["code"] == "forbidden"
        await eventually(lambda: not live.bridge.fanout.rooms)


async def answer(bridge: FakeConnection, *, gap: bool = False) -> list[dict[str, Any]]:
    """Acknowledge the next request, which must be `subscribe-queue`, and return its items."""
    asked = await bridge.receive()
    assert asked["event"] == "subscribe-queue"
    results = [{"after": {"http": "5-0"}, **({"gap": True} if gap else {})} for _ in asked["data"]]
    await bridge.send("ack", {"request": "subscribe-queue", "results": results}, ref=asked["ref"])
    items: list[dict[str, Any]] = asked["data"]
    return items


async def test_its_positions_are_those_of_events_pongs_and_gaps() -> None:
    options = {**SOON, "pingInterval": 20}
    async with in_node() as node, fake_bridge() as server:
        client = await node.io(server.url, **options)
        bridge = await server.accept()
        async with client.watch_queue("http") as watched:
            (item,) = await answer(bridge)
            assert set(item) == {"sub", "queue"}
            assert (await begun(watched))["after"] == {"http": "5-0"}
            ping = await bridge.receive()
            assert ping["event"] == "ping"
            await bridge.send("pong", {"after": {"http": "6-0", "other": "9-0"}})
            await bridge.close(1012)
            bridge = await server.accept()
            (item,) = await answer(bridge, gap=True)
            assert item["after"] == {"http": "6-0"}
            assert await anext(watched) == {"event": "gap", "data": {"queue": "http"}}
            await bridge.send("drained", {"queue": "http"}, id="7-0", sub=item["sub"])
            assert (await anext(watched))["id"] == "7-0"
            await bridge.send("gap", {"queue": "other", "reason": "trimmed", "jobs": None})
            await bridge.send("gap", {"queue": "http", "reason": "trimmed", "jobs": ["1"]})
            await bridge.send("gap", {"queue": "http", "reason": "trimmed", "jobs": None})
            assert await anext(watched) == {"event": "gap", "data": {"queue": "http", "reason": "trimmed"}}
            await bridge.close(1012)
            bridge = await server.accept()
            (item,) = await answer(bridge)
            assert item["after"] == {"http": "7-0"}
            await bridge.send("gap", {"queue": "http", "reason": "recreated", "jobs": None}, sub=item["sub"])
            assert (await anext(watched))["data"]["reason"] == "recreated"
            await bridge.close(1012)
            bridge = await server.accept()
            assert (await answer(bridge))[0]["after"] == {"http": "0-0"}


async def test_watches_of_the_same_share_a_subscription() -> None:
    async with in_node() as node, fake_bridge() as server:
        client = await node.io(server.url, **SOON)
        bridge = await server.accept()
        stats = {"queue": "http", "counts": {}}
        async with client.watch_queue("http", events=["*"]) as first:
            (item,) = await answer(bridge)
            await begun(first)
            await bridge.send("queue-stats", stats, sub=item["sub"])
            assert (await anext(first))["data"] == stats
            async with client.watch_queue(["http"], events=["*"]) as second:
                assert (await begun(second))["after"] == {"http": "5-0"}
                assert await anext(second) == {"event": "queue-stats", "data": stats}
                await bridge.send("drained", {"queue": "http"}, id="6-0", sub=item["sub"])
                for watched in (first, second):
                    assert (await anext(watched))["id"] == "6-0"
                # What begins elsewhere, or wants something else, is not shared.
                for other in ({"events": ["failed"]}, {"events": ["*"], "after": {"http": "1-0"}}):
                    async with client.watch_queue("http", **other):
                        assert (await answer(bridge))[0].items() >= other.items()
                    assert (await bridge.receive())["event"] == "unsubscribe-queue"
            await bridge.send("drained", {"queue": "http"}, id="7-0", sub=item["sub"])
            assert (await anext(first))["id"] == "7-0"
        left = await bridge.receive()
        assert (left["event"], left["data"]) == ("unsubscribe-queue", [{"sub": item["sub"], "queue": "http"}])
        async with client.watch_queue("http", events=["*"]):
            assert (await answer(bridge))[0]["sub"] > item["sub"]


async def test_a_gap_that_may_be_in_any_queue_names_none() -> None:
    async with in_node() as node, fake_bridge() as server:
        client = await node.io(server.url, **SOON)
        async with client.watch_queue("*", after={"http": "9-0"}) as watched:
            (item,) = await answer(await server.accept(), gap=True)
            assert (item["queue"], item["after"]) == ("*", {"http": "9-0"})
            assert (await begun(watched))["queue"] == "*"
            assert await anext(watched) == {"event": "gap", "data": {"queue": None}}


async def test_jobs_and_queues_are_asked_for_and_left_in_messages_of_their_own() -> None:
    async with in_node() as node, fake_bridge() as server:
        client = await node.io(server.url, **SOON, autoConnect=False)
        async with client.watch_queue(["http", "*"], events=["*"]), client.watch("1", queue="http"):
            await client.call("connect")
            bridge = await server.accept()
            assert [item["jobId"] for item in (await bridge.subscribed())["jobs"]] == ["1"]
            items = await answer(bridge)
            assert [(item["queue"], item["events"]) for item in items] == [("http", ["*"]), ("*", ["*"])]
        left = [await bridge.receive() for _ in range(2)]
        assert [each["event"] for each in left] == ["unsubscribe-job", "unsubscribe-queue"]
        assert left[1]["data"] == [{"sub": item["sub"], "queue": item["queue"]} for item in items]


async def test_what_the_documents_show_runs_in_a_page(redis: Redis, chromium: Chromium) -> None:
    redis.make_queue("http")
    async with (
        live_bridge(redis.url, queues=("http", "sparql")) as live,
        chromium.page(f"{live.url}/queues") as page,
        trio.open_nursery() as nursery,
    ):
        shown = block("js", "watchQueue").replace("http://127.0.0.1:8787", live.url)
        # A function must import in this form what a script imports in its first lines.
        script = re.sub(r"^import (\{.*\}) from ('.*');", r"const \1 = await import(\2);", shown, flags=re.MULTILINE)
        until = "{ log: (...line) => { told.push(line); if (line[0] === 'failed') jobs.disconnect(); } }"
        nursery.start_soon(
            page.run,
            f"async () => {{ const told = window.told = []; const console = {until}; try {{ {script} }} catch {{}} }}",
        )
        await page.until("() => window.told?.filter(([event]) => event === 'queue-stats').length === 2")
        redis.add_event("http", "failed", "43", failedReason="no such page")
        await page.until("() => window.told.at(-1)[0] === 'failed'")
        told = await page.run("() => window.told")
        nursery.cancel_scope.cancel()
    assert {line[0] for line in told} == {"ack", "queue-stats", "failed"}
    assert (told[-1][1], told[-1][2]["failedReason"]) == ("http", "no such page")
