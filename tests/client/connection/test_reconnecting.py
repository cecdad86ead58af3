"""The client's connection, with a fake bridge: losses, refusals, tokens, silence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
import trio_websocket

from jobws.client import connect
from jobws.client.connection.reconnecting import Session, running
from jobws.client.connection.token import Credentials
from jobws.client.jobs import subscriptions
from jobws.client.jobs.subscriptions import Subscriptions
from jobws.errors import ClientError, RefusedError, UnreachableError
from tests.support import EVENTUALLY_SECONDS
from tests.support.fake_bridge import FakeBridge, FakeConnection, fake_bridge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def wait(bridge: FakeBridge, script: Callable[[FakeConnection], Awaitable[None]]) -> object:
    """Return the result of a wait for job 1, while the bridge does what a test wants on the first connection."""
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            await script(await bridge.accept())

        nursery.start_soon(follow)
        async with connect(bridge.url) as jobs:
            return await jobs.wait("1", "q")


async def test_what_is_asked_for_within_one_tick_is_one_list() -> None:
    async with fake_bridge() as bridge, connect(bridge.url) as jobs, trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(jobs.wait, str(number), "q")
        connection = await bridge.accept()
        assert len((await connection.receive())["data"]["jobs"]) == 50
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("code", [1001, 1011, 1012, 4000, 4001, 4004, 4444])
async def test_it_comes_back_with_its_position(code: int) -> None:
    async with fake_bridge() as bridge:

        async def script(connection: FakeConnection) -> None:
            await connection.subscribed({"q": "5-0"})
            await connection.job_event("progress", id="6-0")
            await connection.close(code)
            connection = await bridge.accept()
            assert (await connection.subscribed({"q": "7-0"}))["jobs"][0]["after"] == {"q": "6-0"}
            await connection.job_event("completed", id="8-0", data={"returnvalue": 1})

        assert await wait(bridge, script) == 1


@pytest.mark.parametrize("code", [1008, 4500, 4501, 4502])
async def test_it_stays_away_when_told_so(code: int) -> None:
    async with fake_bridge() as bridge:

        async def script(connection: FakeConnection) -> None:
            await connection.receive()
            await connection.close(code, "not you")

        with pytest.RaisesGroup(pytest.RaisesExc(RefusedError, match=f"{code} not you")):
            await wait(bridge, script)
        assert bridge.attempts == 1


async def test_a_bridge_that_is_away_is_tried_again_and_one_that_refuses_is_not() -> None:
    async with fake_bridge() as bridge, connect(bridge.url) as jobs, trio.open_nursery() as nursery:

        async def wait_in_vain() -> None:
            with pytest.raises(RefusedError, match="origin refused"):
                await jobs.wait("1", "q")

        nursery.start_soon(wait_in_vain)
        connection = await bridge.accept()
        await connection.receive()
        bridge.refusal = (503, "too many connections")
        await connection.close(1012)
        while bridge.attempts < 4:
            await trio.sleep(0.01)
        bridge.refusal = (403, "origin refused")
        with trio.fail_after(EVENTUALLY_SECONDS):
            while nursery.child_tasks:
                await trio.sleep(0.01)
        attempts = bridge.attempts
        with pytest.raises(RefusedError):
            await jobs.wait("2", "q")
        await trio.sleep(0.3)
        assert bridge.attempts == attempts


async def test_the_first_connect_is_not_tried_again() -> None:
    async with fake_bridge() as bridge:
        for refusal, error in (((503, "full"), UnreachableError), ((403, "go away"), RefusedError)):
            bridge.refusal = refusal
            with pytest.raises(error, match=refusal[1]):
                async with connect(bridge.url):
                    pass
        assert bridge.attempts == 2


async def test_tokens() -> None:
    """A function is called before each connection, and when a token is about to expire."""
    given: list[str] = []

    async def token() -> str:
        given.append(f"token-{len(given)}")
        return given[-1]

    async with fake_bridge() as bridge, connect(bridge.url, token=token):
        first = await bridge.accept()
        assert first.headers["authorization"] == "Bearer token-0"
        await first.send("expiring", {"seconds": 30})
        assert await first.receive() == {"event": "authenticate", "data": {"token": "token-1"}}
        await first.close(4001, "token expired")
        assert (await bridge.accept()).headers["authorization"] == "Bearer token-2"
    async with fake_bridge() as bridge, connect(bridge.url, token="fixed") as jobs:
        connection = await bridge.accept()
        assert connection.headers["authorization"] == "Bearer fixed"
        await connection.send("expiring", {"expires": 1})
        await connection.close(4001, "the token has expired")
        sentence = "the token has expired; a function as `token` may return a new one"
        with pytest.raises(RefusedError, match=f"^{re.escape(sentence)}$"):
            await jobs.wait("1")
        assert bridge.attempts == 1


async def test_without_a_token_none_is_sent() -> None:
    async with fake_bridge() as bridge, connect(bridge.url):
        connection = await bridge.accept()
        await connection.send("expiring", {"expires": 1})
        await trio.testing.wait_all_tasks_blocked(0.01)
    with pytest.raises(trio_websocket.ConnectionClosed):
        await connection.receive()


async def test_two_tokens_are_not_sent_in_a_row() -> None:
    """The function may return the same token as before, or one that expires soon, too."""
    given: list[float] = []

    def token() -> str:
        given.append(trio.current_time())
        return "same"

    exchange = Subscriptions(lambda: 0.5)
    async with (
        fake_bridge() as bridge,
        running(Session(bridge.url, Credentials(token), exchange, "/ws", renew_seconds=0.2)),
    ):
        connection = await bridge.accept()
        for _ in range(3):
            await connection.send("expiring", {"expires": 1})
            assert (await connection.receive())["event"] == "authenticate"
    assert len(given) == 4
    assert given[3] - given[1] >= 0.4
    for wrong in ("two words", "", "é"):
        with pytest.raises(ClientError, match="a token must be printable ASCII without spaces"):
            async with connect("http://127.0.0.1:1", token=wrong):
                pass

    def broken() -> str:
        raise LookupError("no key here")

    with pytest.raises(ClientError, match="no key here"):
        async with connect("http://127.0.0.1:1", token=broken):
            pass


async def test_a_silent_bridge_is_left() -> None:
    """Neither events nor pongs come, so the bridge is gone, although the connection is open."""
    async with fake_bridge(heartbeat=1.0) as bridge, connect(bridge.url):
        began = trio.current_time()
        await bridge.accept()
        with trio.fail_after(EVENTUALLY_SECONDS):
            await bridge.accept()
        assert 6 < trio.current_time() - began < 20


async def test_it_pings_as_often_as_the_bridge_does() -> None:
    async with fake_bridge(heartbeat=1.0) as bridge, connect(bridge.url):
        connection = await bridge.accept()
        began = trio.current_time()
        with trio.fail_after(EVENTUALLY_SECONDS):
            for _ in range(2):
                assert await connection.receive() == {"event": "ping"}
        assert trio.current_time() - began > 1.5


async def test_what_is_no_bridge() -> None:
    async with fake_bridge(protocol=None, limits=3) as bridge:
        with pytest.raises(UnreachableError, match=r"does not speak jobws\.v1"):
            async with connect(bridge.url):
                pass


@pytest.mark.parametrize("moment", ["backlog", "reconnect", "connecting"])
@pytest.mark.parametrize("how", ["leave", "cancel", "error"])
async def test_leaving_is_clean(moment: str, how: str) -> None:
    async with fake_bridge() as bridge:
        with trio.fail_after(EVENTUALLY_SECONDS):
            try:
                with trio.CancelScope() as scope:
                    async with connect(bridge.url) as jobs, trio.open_nursery() as nursery:
                        connection = await bridge.accept()
                        nursery.start_soon(jobs.wait, "1", "q")
                        await connection.receive()
                        if moment == "backlog":
                            for number in range(3000):
                                await connection.job_event("progress", id=f"{number}-1", data={"data": "x" * 1000})
                        else:
                            if moment == "connecting":
                                bridge.refusal = (503, "full")
                            await connection.close(1012)
                            await trio.testing.wait_all_tasks_blocked()
                        nursery.cancel_scope.cancel()
                        if how == "cancel":
                            scope.cancel()
                            await trio.sleep_forever()
                        if how == "error":
                            raise ZeroDivisionError
            except* ZeroDivisionError:
                assert how == "error"
    # A task that the client left running would keep the nursery of `connect` open, and unclosed sockets warn.


async def test_pings_that_come_while_it_leaves_do_not_matter() -> None:
    async with fake_bridge() as bridge, connect(bridge.url):
        # trio-websocket answers one ping after the other, and the client leaves meanwhile.
        await (await bridge.accept()).send_pings(1000)


async def test_who_does_not_read_is_left_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "BACKLOG_BYTES", 10_000)
    async with fake_bridge() as bridge, trio.open_nursery() as nursery, connect(bridge.url) as jobs:
        connection = await bridge.accept()
        nursery.start_soon(connection.subscribed, {"q": "5-0"})
        async with jobs.watch("1", "q", ["progress"]) as events:
            for number in range(10, 22):
                await connection.job_event("progress", id=f"{number}-0", data={"data": "x" * 1000})
            left = await connection.receive()
            assert left["event"] == "unsubscribe-job"
            assert left["data"]["jobs"] == [{"sub": 1, "jobId": "1", "queue": "q"}]
            got = [(await anext(events)).id for _ in range(6)]
            again = await connection.receive()
            (item,) = again["data"]["jobs"]
            position = item["after"]["q"]
            await connection.send("ack", {"results": [{"jobs": []}], "after": {"q": position}}, ref=again["ref"])
            for number in range(int(position.split("-")[0]) + 1, 23):
                await connection.job_event("progress", id=f"{number}-0", replayed=True)
            await connection.job_event("completed", id="30-0")
            got += [event.id async for event in events]
            assert got == [f"{number}-0" for number in range(10, 23)] + ["30-0"]
