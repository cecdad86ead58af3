"""The log in the Python client, with a fake bridge: losses, gaps, refusals, a slow reader."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from jobws.client import connect_logs
from jobws.client.log import feed as log_feed
from jobws.errors import ClientError, RefusedError, ResponseError, UnreachableError
from tests.support.fake_bridge import FakeConnection, fake_bridge


async def subscribed(connection: FakeConnection, after: str, **more: Any) -> dict[str, Any]:
    """Receive the subscription, acknowledge it, and return its data."""
    request = await connection.receive()
    assert request["event"] == "subscribe-logs", request
    await connection.send("ack", {"request": "subscribe-logs", "after": after, **more}, ref=request["ref"])
    data: dict[str, Any] = request["data"]
    return data


async def log(connection: FakeConnection, stream_id: str, message: str = "x", **keys: Any) -> None:
    data = {"time": 1, "level": "info", "source": "s", "message": message, **keys.pop("data", {})}
    await connection.send("log", data, id=stream_id, **keys)


async def pong(connection: FakeConnection, after: str | None) -> None:
    """Receive a ping, and answer it."""
    request = await connection.receive()
    assert request["event"] == "ping"
    await connection.send("pong", {"after": after})


async def test_filters_are_sent_and_lines_come() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            connection = await bridge.accept()
            assert await subscribed(connection, "4-0") == {
                **{"level": "warning", "source": "a", "queue": ["b", "c"], "jobId": "7", "text": "t", "tail": 3},
            }
            await log(connection, "5-0", data={"queue": "b", "jobId": "7", "fields": {"n": 1}}, replayed=True)

        nursery.start_soon(follow)
        chosen: dict[str, Any] = {"source": "a", "queue": ["b", "c"], "job_id": "7", "text": "t"}
        async with connect_logs(bridge.url, level="warning", **chosen, tail=3) as lines:
            line = await anext(lines)
    assert (line.time, line.level, line.source, line.message) == (1, "info", "s", "x")
    assert (line.queue, line.job_id, line.fields, line.id, line.replayed) == ("b", "7", {"n": 1}, "5-0", True)


@pytest.mark.parametrize(("said", "position"), [("line", "6-0"), ("pong", "8-0"), ("nothing", "4-0")])
async def test_it_comes_back_behind_what_it_has(said: str, position: str) -> None:
    async with fake_bridge(heartbeat=1.0) as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            connection = await bridge.accept()
            assert await subscribed(connection, "4-0") == {"tail": 3, "level": "info"}
            if said == "line":
                await log(connection, "6-0", "first")
            if said == "pong":
                await pong(connection, "8-0")
            await connection.close(1012)
            connection = await bridge.accept()
            assert await subscribed(connection, position) == {"after": position, "level": "info"}
            await log(connection, "9-0", "last")

        nursery.start_soon(follow)
        async with connect_logs(bridge.url, level="info", tail=3) as lines:
            if said == "line":
                assert (await anext(lines)).message == "first"
            assert (await anext(lines)).message == "last"


async def test_what_is_missing_is_told_by_lines_of_its_own() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            connection = await bridge.accept()
            await subscribed(connection, "4-0")
            await connection.send("dropped", {"count": 1200})
            await connection.send("dropped", {"count": 5, "approximate": True})
            await connection.send("dropped", {"count": 0, "approximate": True})
            await connection.close(1001)
            connection = await bridge.accept()
            assert await subscribed(connection, "2-0", gap=True) == {"after": "4-0"}
            await connection.close(1001)
            connection = await bridge.accept()
            assert await subscribed(connection, "2-0") == {"after": "2-0"}
            await log(connection, "3-0")

        nursery.start_soon(follow)
        async with connect_logs(bridge.url) as lines:
            told = [await anext(lines) for _ in range(5)]
    assert [(line.dropped, line.level, line.source, line.id, line.message) for line in told[:4]] == [
        (1200, "warning", "jobws", None, "1,200 lines are missing here"),
        (5, "warning", "jobws", None, "about 5 lines are missing here"),
        (1, "warning", "jobws", None, "lines may be missing here: the stream began again"),
        *((1, "warning", "jobws", None, "lines may be missing here: Redis no longer has all that came meanwhile"),),
    ]
    assert (told[4].id, told[4].dropped) == ("3-0", 0)


async def test_a_reader_that_is_slow_is_told_what_it_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "BACKLOG_BYTES", 1000)
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:
        sent = trio.Event()

        async def follow() -> None:
            connection = await bridge.accept()
            await subscribed(connection, "0-0")
            for number in range(1, 101):
                await log(connection, f"{number}-0", f"{number:03}")
            await connection.send("dropped", {"count": 50})
            await connection.close(1001)
            connection = await bridge.accept()
            assert await subscribed(connection, "100-0") == {"after": "100-0"}
            sent.set()
            await connection.closed()

        nursery.start_soon(follow)
        async with connect_logs(bridge.url) as lines:
            await sent.wait()
            kept = []
            while not (line := await anext(lines)).dropped:
                kept.append(line.message)
        nursery.cancel_scope.cancel()
    assert 5 <= len(kept) <= 15
    assert kept == [f"{number:03}" for number in range(1, len(kept) + 1)]
    assert line.dropped == 150 - len(kept)
    assert line.message == f"{line.dropped} lines were dropped here: they were not read as fast as they came"


async def test_without_follow_it_ends_with_the_last_line_that_was_there() -> None:
    """Also if the filter does not choose the last line: a pong shows that the position has passed it."""
    with trio.fail_after(19):  # the usual pings come every 20 s
        await _without_follow()


async def _without_follow() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:
        sent = trio.Event()

        async def follow() -> None:
            connection = await bridge.accept()
            assert await subscribed(connection, "9-0") == {}
            await log(connection, "10-0", "of the other subscription")
            assert await subscribed(connection, "4-0") == {"level": "error", "tail": 2}
            await log(connection, "5-0", "wanted", replayed=True)
            await pong(connection, "6-0")
            await pong(connection, "9-0")
            await log(connection, "12-0", "too late")
            await pong(connection, "12-0")
            await connection.receive()  # so the line has arrived, too
            sent.set()

        nursery.start_soon(follow)
        async with connect_logs(bridge.url, level="error", tail=2, follow=False) as lines:
            await sent.wait()
            assert [line.message async for line in lines] == ["wanted"]


async def test_an_empty_stream_ends_at_once() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            connection = await bridge.accept()
            await subscribed(connection, "0-0")
            await subscribed(connection, "0-0")

        nursery.start_soon(follow)
        async with connect_logs(bridge.url, tail=2, follow=False) as lines:
            assert [line async for line in lines] == []


async def test_an_error_that_passes_is_waited_out() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            connection = await bridge.accept()
            for _ in range(2):
                request = await connection.receive()
                await connection.send("error", {"code": "unavailable", "message": "later"}, ref=request["ref"])
            await subscribed(connection, "0-0")
            await log(connection, "1-0")

        nursery.start_soon(follow)
        async with connect_logs(bridge.url) as lines:
            assert (await anext(lines)).id == "1-0"


async def test_a_filter_that_is_refused_is_raised_at_the_beginning() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            connection = await bridge.accept()
            request = await connection.receive()
            error = {"code": "bad-filter", "message": "`level` must be one of debug"}
            await connection.send("error", error, ref=request["ref"])

        nursery.start_soon(follow)
        with pytest.raises(ResponseError, match="`level` must be one of debug") as caught:
            async with connect_logs(bridge.url, level="loud"):
                raise AssertionError("entered")
    assert caught.value.code == "bad-filter"


async def test_a_refusal_in_the_middle_is_raised_behind_the_lines() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            connection = await bridge.accept()
            await subscribed(connection, "0-0")
            await log(connection, "1-0")
            await connection.close(4500, "not you")

        nursery.start_soon(follow)
        async with connect_logs(bridge.url) as lines:
            assert (await anext(lines)).id == "1-0"
            with pytest.raises(RefusedError, match="4500 not you"):
                await anext(lines)


async def test_where_no_bridge_is() -> None:
    with pytest.raises(UnreachableError, match=r"no bridge at ws://127.0.0.1:1/logs"):
        async with connect_logs("http://127.0.0.1:1"):
            raise AssertionError("entered")


async def test_a_frame_that_makes_no_sense_ends_the_connection_not_the_client() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            connection = await bridge.accept()
            await subscribed(connection, "0-0")
            await log(connection, "1-0")
            await connection.send("log", {"time": "noon"}, id="2-0")
            connection = await bridge.accept()
            # The client must not ask for this line again, since it would end this connection, too.
            assert await subscribed(connection, "2-0") == {"after": "2-0"}
            await log(connection, "3-0")

        nursery.start_soon(follow)
        async with connect_logs(bridge.url) as lines:
            assert [(await anext(lines)).id for _ in range(2)] == ["1-0", "3-0"]


async def test_an_exception_of_the_body_comes_out_as_it_is() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            await subscribed(await bridge.accept(), "0-0")

        nursery.start_soon(follow)
        with pytest.raises(KeyError):
            async with connect_logs(bridge.url):
                raise KeyError


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_elsewhere_than_on_trio_one_sentence_names_the_way(anyio_backend: str) -> None:
    with pytest.raises(ClientError, match=r"use jobws.sync.connect_logs, which needs no loop"):
        async with connect_logs("http://127.0.0.1:1"):
            raise AssertionError("entered")


async def test_a_subscription_that_a_new_token_does_not_allow_fails() -> None:
    async with fake_bridge() as bridge, trio.open_nursery() as nursery:

        async def follow() -> None:
            connection = await bridge.accept()
            await subscribed(connection, "4-0")
            await log(connection, "5-0")
            await connection.send("ended", {"code": "forbidden", "message": "the token does not allow this"})

        nursery.start_soon(follow)
        async with connect_logs(bridge.url) as lines:
            assert (await anext(lines)).id == "5-0"
            with pytest.raises(ResponseError, match=r"^the token does not allow this$") as refused:
                await anext(lines)
            assert refused.value.code == "forbidden"
