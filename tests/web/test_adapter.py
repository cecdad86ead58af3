"""The functions of socket.io-client that job pages use, one by one, in Node."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import trio

from jobws.server.bridge import RESTART
from tests.support import eventually, require
from tests.support.adapter import SOON, Rejected, in_node
from tests.support.bridge import live_bridge
from tests.support.documents import page
from tests.support.fake_bridge import fake_bridge
from tests.support.page_server import ADAPTER

if TYPE_CHECKING:
    from tests.support.redis import Redis


def test_its_names() -> None:
    """`io`, `connect` and the default export are the same function, as in socket.io-client."""
    script = f"""import io, {{ io as named, connect }} from '{ADAPTER.as_uri()}';
        process.exit(io === named && io === connect ? 0 : 1)"""
    done = subprocess.run([require("node"), "--input-type=module", "-e", script], check=False, timeout=60)
    assert done.returncode == 0


async def test_handlers() -> None:
    """`on` calls its handler each time, `once` once, and `off` ends this.

    A handler subscribes the client to its event.
    """
    async with in_node() as node, fake_bridge() as bridge:
        client = await node.io(bridge.url, **SOON)
        await client.on("progress")
        await client.on("active", "waiting", how="once")
        await client.on("stalled")
        await client.on("stalled", how="off")
        await client.send("subscribe-job", {"jobId": "1", "queue": "q"})
        connection = await bridge.accept()
        (item,) = (await connection.subscribed({"q": "1-0"}))["jobs"]
        outcomes = {"completed", "failed", "removed"}
        assert (set(item["events"]), item["queue"], "until" in item) == (
            {"progress", "active", "waiting"} | outcomes,
            "q",
            False,
        )
        for number, event in enumerate(["active", "progress", "active", "stalled", "progress", "waiting"], start=2):
            await connection.job_event(event, id=f"{number}-0", data={"number": number})
        told = [(each["event"], each["data"]["number"]) for each in (await client.until("waiting"))[2:]]
        assert told == [("active", 2), ("progress", 3), ("progress", 6), ("waiting", 7)]

        # The event of a handler that is added later is subscribed to, too.
        await client.on("delayed")
        assert (await connection.receive())["event"] == "unsubscribe-job"  # the subscription goes on under another name
        (item,) = (await connection.subscribed({"q": "8-0"}))["jobs"]
        assert set(item["events"]) == {"progress", "delayed"} | outcomes
        assert item["after"] == {"q": "7-0"}  # nothing that came comes again


async def test_acknowledgements(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    async with in_node() as node, live_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON)
        (answer,) = await client.emit("subscribe-job", "1")
        assert (answer["request"], [job["state"] for job in answer["jobs"]]) == ("subscribe-job", ["active"])
        (answer,) = await client.emit("subscribe-job", {"jobs": [1, "", {"jobId": "2"}], "queue": "http"})
        assert [len(each.get("jobs", ())) for each in answer["results"]] == [1, 0, 0]
        assert answer["results"][1]["error"] == {
            "code": "bad-job-id",
            "message": "a job id is a text of 1 to 512 bytes, or an integer",
        }
        (answer,) = await client.emit("subscribe-job", {"jobId": "1", "queue": "nope"})
        assert answer["error"]["code"] == "unknown-queue"
        assert (await client.call("emitWithAck", "unsubscribe-job", "1"))["left"] is True
        assert (await client.call("emitWithAck", "unsubscribe-job", "1"))["left"] is False
        assert (await client.call("emitWithAck", "what-is-this"))["error"]["code"] == "unknown-event"
        (error, answer) = await client.emit("ping", limit_ms=10_000)
        assert error is None
        assert "after" in answer


async def test_a_time_limit() -> None:
    async with in_node() as node, fake_bridge() as bridge:
        client = await node.io(bridge.url, **SOON)
        (error,) = await client.emit("subscribe-queue", "q", limit_ms=20)
        assert (error["name"], error["message"]) == ("JobwsError", "operation has timed out")


async def test_attempts_count_until_the_bridge_answers() -> None:
    """A bridge that only greets has not answered. After `connect` there is no `reconnect`."""
    async with in_node() as node, fake_bridge() as bridge:
        client = await node.io(bridge.url, **SOON, reconnectionAttempts=2)
        await client.on("reconnect", "reconnect_failed", manager=True)
        for answers in (True, True, False, False):
            connection = await bridge.accept()
            if answers:
                await client.send("ping")
                ping = await connection.receive()
                await connection.send("pong", {}, ref=ping["ref"])
            await connection.close(1012)
        told = [each for each in await client.until("reconnect_failed") if each["event"] == "reconnect"]
        assert [each["data"] for each in told] == [1, 1, 2]
        await client.call("connect")
        await bridge.accept()
        assert [each["event"] for each in await client.until("transport")] == ["connect", "transport"]


async def test_states_and_events() -> None:
    async with in_node() as node, fake_bridge() as bridge:
        client = await node.io(bridge.url, **SOON)
        await client.on("reconnect", "reconnect_attempt", manager=True)
        connection = await bridge.accept()
        await client.until("transport")
        assert await client.state() == {"connected": True, "active": True, "transport": "websocket"}
        await connection.close(1012, "the bridge restarts")
        connection = await bridge.accept()
        assert [(each["event"], each["data"]) for each in await client.until("transport")] == [
            ("disconnect", "1012 the bridge restarts"),
            ("reconnect_attempt", 1),
            ("reconnect", 1),
            ("connect", None),
            ("transport", "websocket"),
        ]
        await connection.cut()
        assert (await client.until("disconnect"))[-1]["data"] == "transport close"
        connection = await bridge.accept()
        await client.until("transport")
        await client.call("disconnect")
        assert await connection.closed() == 1000
        assert (await client.until("disconnect"))[-1]["data"] == "io client disconnect"
        assert await client.state() == {"connected": False, "active": False, "transport": None}
        with pytest.raises(Rejected, match="JobwsError: this client was disconnected"):
            await client.wait("1")
        await client.send("subscribe-job", "1")
        await client.call("connect")
        assert (await (await bridge.accept()).subscribed())["jobs"][0]["jobId"] == "1"


async def test_what_is_emitted_early_waits_for_the_connection() -> None:
    """Requests about jobs are sent in one message."""
    async with in_node() as node, fake_bridge() as bridge:
        client = await node.io(bridge.url, **SOON, autoConnect=False)
        for job in ("1", "2"):
            await client.send("subscribe-job", job)
        await client.send("subscribe-queue", "q")
        assert await client.state() == {"connected": False, "active": False, "transport": None}
        await client.call("connect")
        connection = await bridge.accept()
        assert [item["jobId"] for item in (await connection.subscribed())["jobs"]] == ["1", "2"]
        assert await connection.answer("subscribe-queue") == "q"


async def test_requests_of_a_lost_connection_are_made_again() -> None:
    """Subscriptions to queues are made again.

    Requests that were answered, and are not subscriptions, are not repeated.
    """
    async with in_node() as node, fake_bridge() as bridge, trio.open_nursery() as nursery:
        client = await node.io(bridge.url, **SOON)
        connection = await bridge.accept()
        for request in (("subscribe-queue", "q"), ("subscribe-queue", "other"), ("unsubscribe-queue", "q")):
            await client.send(*request)
            assert await connection.answer(request[0]) == request[1]
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await client.call("emitWithAck", "how-are-you", {"really": True}))

        nursery.start_soon(ask)
        assert (await connection.receive())["event"] == "how-are-you"
        await connection.cut()
        connection = await bridge.accept()
        assert await connection.answer("subscribe-queue") == "other"
        assert await connection.answer("how-are-you", well=True) == {"really": True}
    assert answers == [{"request": "how-are-you", "well": True}]


async def test_a_page_that_subscribes_again_by_hand_gets_nothing_twice(redis: Redis) -> None:
    async with in_node() as node, live_bridge(redis.url) as live:
        client = await node.io(live.url, **SOON)
        await client.on("progress", "completed")
        job = {"jobId": "1", "queue": "http"}
        await client.until("connect")
        await client.emit("subscribe-job", job)
        for number in range(5):
            redis.add_event("http", "progress", "1", data=str(number))
            live.bridge.close_all(RESTART)
            redis.add_event("http", "progress", "1", data=str(number + 100))
            told = await client.until("connect")
            await client.send("subscribe-job", job)
            while [each["data"]["data"] for each in told if each["event"] == "progress"][-1:] != [number + 100]:
                told += await client.until("progress")
            assert [each["data"]["data"] for each in told if each["event"] == "progress"] == [number, number + 100]
        redis.add_event("http", "completed", "1", returnvalue="1")
        assert [each["event"] for each in await client.until("completed")][-1] == "completed"
        # A second answer has the outcome again, but the page does not get it again.
        await client.emit("subscribe-job", job)
        redis.add_event("http", "progress", "1", data='"again"')
        assert [each["data"]["data"] for each in await client.until("progress")] == ["again"]


async def test_logs() -> None:
    """`io(url + '/logs')` reads the log. The next connection asks for what came after the last line."""
    async with in_node() as node, fake_bridge() as bridge:
        client = await node.io(bridge.url + "/logs", **SOON)
        await client.on("log")
        await client.send("subscribe-logs", {"tail": 10, "level": "warning"})
        connection = await bridge.accept()
        assert connection.path == "/logs"
        assert await connection.answer("subscribe-logs") == {"tail": 10, "level": "warning"}
        await connection.send("log", {"message": "hello"}, id="7-0")
        assert (await client.until("log"))[-1]["data"] == {"message": "hello"}
        await connection.close(1012)
        connection = await bridge.accept()
        assert await connection.answer("subscribe-logs") == {"level": "warning", "after": "7-0"}


async def test_paths() -> None:
    async with in_node() as node, fake_bridge() as bridge:
        for url, options, path in [
            ("", {}, "/ws"),
            ("/", {}, "/ws"),
            ("/live", {}, "/live/ws"),
            ("/live/logs", {}, "/live/logs"),
            ("", {"path": "/live"}, "/live/ws"),
            ("", {"path": "/live/ws"}, "/live/ws"),
            ("", {"path": "/socket.io/"}, "/ws"),
        ]:
            client = await node.io(bridge.url + url, **SOON, **options)
            assert (await bridge.accept()).path == path
            await client.call("disconnect")
        client = await node.io(bridge.url.replace("http", "ws"), **SOON)
        assert (await bridge.accept()).path == "/ws"
        assert node.warnings == ["jobws: path /socket.io/ is socket.io's; the bridge's path goes into the URL"]


async def test_what_it_does_not_know_it_says_once() -> None:
    async with in_node() as node, fake_bridge() as bridge:
        for _ in range(2):
            await node.io(
                bridge.url, **SOON, reconnection=True, randomizationFactor=0.5, upgrade=True, withCredentials=True
            )
            await bridge.accept()
        assert node.warnings == ["jobws: unknown options: upgrade, withCredentials"]


async def test_more_rooms_than_a_connection_may_have_take_turns(redis: Redis) -> None:
    count = 30
    async with in_node() as node, live_bridge(redis.url, max_subscriptions=4) as live, trio.open_nursery() as nursery:
        client = await node.io(live.url, **SOON)
        results: dict[int, Any] = {}

        async def wait(number: int) -> None:
            results[number] = await client.wait(number, queue="http", expect=True)

        for number in range(count):
            nursery.start_soon(wait, number)
        # As many jobs as there are places run for long, and must not keep out the others.
        for number in range(4, count):
            redis.add_event("http", "completed", str(number), returnvalue=str(number))
        await eventually(lambda: len(results) == count - 4)
        for number in range(4):
            redis.add_event("http", "completed", str(number), returnvalue=str(number))
    assert results == {number: number for number in range(count)}


def test_defaults_are_told_right() -> None:
    """The types and docs/javascript.md name the right defaults."""
    code = (ADAPTER.parent / "src" / "settings.js").read_text("utf-8")
    defaults = dict(re.findall(r"^  (\w+): (\d+),$", code.split("const DEFAULTS = {")[1].split("}")[0], re.MULTILINE))
    assert len(defaults) == 7
    types = ADAPTER.with_suffix(".d.ts").read_text("utf-8")
    for name, value in defaults.items():
        comment = types.split(f"  {name}?: number;")[0].rpartition("/**")[2]
        assert re.search(rf"default {value}\b", comment), name
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)?) \| ([\d, ]+) \|", page("docs/javascript.md"), re.MULTILINE)
    told = [pair for names, values in rows for pair in zip(names.split(", "), values.split(", "), strict=True)]
    assert {name.strip("`"): value for name, value in told} == defaults
