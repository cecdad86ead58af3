"""How the adapter's connection begins, is checked, and ends, in Node: tokens, refusals, silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.support import EVENTUALLY_SECONDS
from tests.support.adapter import SOON, Rejected, in_node
from tests.support.blocking_proxy import BlockingProxy
from tests.support.bridge import live_bridge
from tests.support.fake_bridge import fake_bridge

if TYPE_CHECKING:
    from tests.support.fake_bridge import FakeConnection
    from tests.support.redis import Redis

# In milliseconds: so long that no ping is sent unless there is a reason.
NEVER: Final = 1_000_000
NOBODY: Final = "http://127.0.0.1:1"


def token(connection: FakeConnection) -> str | None:
    """Return the token in the handshake. Browsers can send it only as a subprotocol."""
    (protocol, *tokens) = connection.subprotocols
    assert protocol == "jobws.v1"
    return tokens[0].removeprefix("bearer.") if tokens else None


@pytest.mark.parametrize("option", ["token", "auth"])
@pytest.mark.parametrize("given", ["secret", {"token": "secret"}], ids=["text", "object"])
async def test_a_token(option: str, given: Any) -> None:
    async with in_node() as node, fake_bridge() as bridge:
        client = await node.io(bridge.url, **SOON, autoConnect=False, **{option: given})
        await client.on("expiring")
        await client.call("connect")
        connection = await bridge.accept()
        assert token(connection) == "secret"
        # There is no other token.
        await connection.send("expiring", {"seconds": 60})
        await client.until("expiring")
        await client.send("ping")
        assert (await connection.receive())["event"] == "ping"
        await connection.close(1012)
        connection = await bridge.accept()
        assert token(connection) == "secret"
        await connection.close(4001, "the token has expired")
        sentence = "the bridge refuses this client: 4001 the token has expired"
        assert (await client.until("connect_error"))[-1]["data"]["message"] == sentence
        assert bridge.attempts == 2


async def test_no_token() -> None:
    async with in_node() as node, fake_bridge() as bridge:
        for options in ({}, {"auth": {"user": "me"}}, {"token": None}):
            await node.io(bridge.url, **SOON, **options)
            assert token(await bridge.accept()) is None


@pytest.mark.parametrize("how", ["return", "promise", "callback"])
async def test_a_function_gives_a_token_for_each_connection_and_when_one_expires(how: str) -> None:
    async with in_node() as node, fake_bridge() as bridge:
        auth = {"gives": ["one", {"token": "two"}, "three"], "how": how}
        client = await node.io(bridge.url, **SOON, autoConnect=False, auth=auth)
        await client.on("expiring")
        await client.call("connect")
        connection = await bridge.accept()
        assert token(connection) == "one"
        await connection.send("expiring", {"seconds": 60})
        assert await connection.answer("authenticate") == {"token": "two"}
        assert (await client.until("expiring"))[-1]["data"] == {"seconds": 60}
        await connection.close(4001, "the token has expired")
        assert token(await bridge.accept()) == "three"


async def test_two_tokens_are_not_sent_in_a_row() -> None:
    """The function may return the same token as before, or one that expires soon, too."""
    async with in_node() as node, fake_bridge() as bridge:
        client = await node.io(bridge.url, **SOON, autoConnect=False, auth={"gives": ["one", "one", "two"]})
        await client.on("expiring")
        await client.call("connect")
        connection = await bridge.accept()
        for _ in range(2):
            await connection.send("expiring", {"expires": 1})
        assert await connection.answer("authenticate") == {"token": "one"}
        await client.send("ping")
        assert (await connection.receive())["event"] == "ping", "the next one comes after 10 s"


async def test_the_end_of_a_subscription_is_told_to_the_page() -> None:
    async with in_node() as node, fake_bridge() as bridge, trio.open_nursery() as nursery:
        client = await node.io(bridge.url, **SOON, autoConnect=False)
        await client.on("ended")
        await client.call("connect")
        connection = await bridge.accept()
        nursery.start_soon(client.call, "emitWithAck", "subscribe-job", {"jobId": "1", "queue": "q"})
        (item,) = (await connection.subscribed())["jobs"]
        data = {"queue": "q", "jobId": "1", "code": "forbidden", "message": "no"}
        await connection.send("ended", data, sub=item["sub"])
        assert (await client.until("ended"))[-1]["data"] == data
        await connection.send("ended", {"queue": "other", "code": "forbidden", "message": "no"})
        assert (await client.until("ended"))[-1]["data"]["queue"] == "other"


@pytest.mark.parametrize("tokens", [0, 1], ids=["at first", "when one expires"])
async def test_a_function_that_fails_is_the_end_and_says_so(tokens: int) -> None:
    async with in_node() as node, fake_bridge() as bridge:
        gives = [*["one"][:tokens], {"throws": "who are you?"}]
        client = await node.io(bridge.url, **SOON, autoConnect=False, token={"gives": gives})
        await client.call("connect")
        if tokens:
            connection = await bridge.accept()
            await connection.send("expiring", {"seconds": 60})
            assert await connection.closed() == 1000
        sentence = "the token function failed: Error: who are you?"
        assert (await client.until("connect_error"))[-1]["data"]["message"] == sentence
        with pytest.raises(Rejected, match=sentence):
            await client.wait("1")
        assert bridge.attempts == tokens


@pytest.mark.parametrize("code", [4500, 4501, 4502, 4503, 1008])
async def test_told_to_stay_away(code: int) -> None:
    """Everything that waits fails, and later calls, too. Only `connect()` brings the client back."""
    async with in_node() as node, fake_bridge() as bridge, trio.open_nursery() as nursery:
        client = await node.io(bridge.url, **SOON)
        sentence = f"the bridge refuses this client: {code} not for you"
        told: list[Any] = []

        async def wait() -> None:
            with pytest.raises(Rejected, match=sentence) as caught:
                await client.wait("1", queue="q")
            told.append(caught.value.error["code"])

        async def ask(*request: str) -> None:
            told.append(await client.call("emitWithAck", *request))

        connection = await bridge.accept()
        nursery.start_soon(wait)
        await connection.subscribed()
        for request in (("ping",), ("subscribe-job", "2")):
            nursery.start_soon(ask, *request)
            await connection.receive()
        await connection.close(code, "not for you")
        disconnect, error = (await client.until("connect_error"))[-2:]
        assert (disconnect["data"], error["data"]["message"]) == (f"{code} not for you", sentence)
        await wait()
        assert await client.state() == {"connected": False, "active": False, "transport": None}
        assert bridge.attempts == 1
        await client.call("connect")
        await (await bridge.accept()).close(code, "not for you")
    answer = {"error": {"code": code, "message": sentence}}
    assert sorted(told, key=str) == [code, code, answer, answer]


async def test_three_attempts_in_vain_say_what_to_check() -> None:
    """The client goes on trying. In a page, the sentence also names the page's origin (test_origins.py)."""
    async with in_node() as node, fake_bridge() as bridge:
        bridge.refusal = (403, "origin refused")
        client = await node.io(bridge.url, **SOON)
        await client.on("reconnect_attempt", manager=True)
        told = await client.until("connect_error")
        assert [each["data"] for each in told[:-1]] == [1, 2]
        assert told[-1]["data"]["name"] == "JobwsError"
        sentence = f"no jobws bridge at {bridge.url}: is it running there, is that its URL? (refused)"
        assert told[-1]["data"]["message"] == sentence
        bridge.refusal = None
        await client.until("connect")


@pytest.mark.parametrize("text", ['{"event": "welcome"}', "null", "hello", "[]", b"{}"])
async def test_what_is_no_bridge(text: str | bytes) -> None:
    """The client does not wait for another WebSocket server, and passes on nothing from it."""
    async with in_node() as node, fake_bridge() as bridge:
        greeting, bridge.hello = bridge.hello, {}
        client = await node.io(bridge.url, **SOON)
        await client.on("welcome")
        for _ in range(3):
            await (await bridge.accept()).socket.send_message(text)
        (told,) = await client.until("connect_error")
        assert told["data"]["message"].endswith("is that its URL? (what answers does not speak jobws.v1)")
        bridge.hello = greeting
        await client.until("connect")


async def test_attempts_can_be_limited() -> None:
    async with in_node() as node:
        for options, attempts in (({"reconnection": False}, []), ({"reconnectionAttempts": 2}, [1, 2])):
            client = await node.io(NOBODY, **SOON, autoConnect=False, **options)
            await client.on("reconnect_attempt", "reconnect_failed", manager=True)
            await client.call("connect")
            told = await client.until("reconnect_failed")
            assert [each["data"] for each in told if each["event"] == "reconnect_attempt"] == attempts
            sentence = f"no jobws bridge at {NOBODY}: is it running there, is that its URL?"
            with pytest.raises(Rejected, match=sentence.replace("?", r"\?")):
                await client.wait("1")


async def test_a_bridge_that_does_not_answer_is_left() -> None:
    """A half-open connection never ends. A `ping` finds this out, and watches are resumed."""
    async with in_node() as node, fake_bridge() as bridge, trio.open_nursery() as nursery:
        client = await node.io(bridge.url, **SOON, pingInterval=50, pongTimeout=1000)
        connection = await bridge.accept()
        results: list[Any] = []

        async def wait() -> None:
            results.append(await client.wait("1", queue="q"))

        nursery.start_soon(wait)
        await connection.subscribed({"q": "5-0"})
        for _ in range(3):
            ping = await connection.receive()
            assert ping["event"] == "ping"
            await connection.send("pong", {"after": {"q": "6-0"}}, ref=ping.get("ref"))
        assert (await client.until("disconnect"))[-1]["data"] == "ping timeout"
        connection = await bridge.accept()
        assert (await connection.subscribed({"q": "7-0"}))["jobs"][0]["after"] == {"q": "6-0"}
        await connection.job_event("completed", id="8-0", data={"returnvalue": 1})
    assert results == [1]


@pytest.mark.parametrize("event", ["online", "visibilitychange"])
async def test_a_network_that_is_back_and_a_page_that_is_looked_at_are_reasons_to_check(event: str) -> None:
    """If a connection seems to exist, the client sends a ping immediately.

    If there is none, it tries to connect immediately.
    """
    slow = {"transports": ["websocket"], "reconnectionDelay": NEVER, "reconnectionDelayMax": NEVER}
    async with in_node() as node, fake_bridge() as bridge:
        client = await node.io(bridge.url, **slow, pingInterval=NEVER, pongTimeout=100)
        connection = await bridge.accept()
        await client.until("connect")
        await node.do("page", event=event)
        assert (await connection.receive())["event"] == "ping"
        await client.until("disconnect")  # the ping was not answered
        await node.do("page", event=event)
        await bridge.accept()
        await client.until("connect")


async def test_waits_before_attempts_are_random_up_to_what_doubles() -> None:
    """Full jitter: many clients that lost the same bridge do not return at the same moment."""
    async with in_node() as node, fake_bridge() as bridge:
        waits = []
        for _ in range(8):
            client = await node.io(bridge.url, transports=["websocket"], reconnectionDelay=400)
            connection = await bridge.accept()
            await client.until("connect")
            await connection.cut()
            await client.until("disconnect")
            began = trio.current_time()
            await bridge.accept()
            waits.append(trio.current_time() - began)
            await client.call("disconnect")
    assert max(waits) < 0.6
    assert max(waits) - min(waits) > 0.05


async def test_after_an_answer_waits_are_short_again() -> None:
    """There are twenty losses in a row. If the limit went on doubling, the last pauses would be hours long."""
    async with in_node() as node, fake_bridge() as bridge:
        options = {"transports": ["websocket"], "reconnectionDelay": 10, "reconnectionDelayMax": NEVER}
        client = await node.io(bridge.url, **options)
        await client.on("progress")
        await client.send("subscribe-job", {"jobId": "1", "queue": "q"})
        with trio.fail_after(EVENTUALLY_SECONDS):
            for number in range(1, 21):
                connection = await bridge.accept()
                await connection.subscribed()
                await connection.job_event("progress", id=f"{number}-0")
                await client.until("progress")
                await connection.cut()


async def test_without_the_fallback_there_is_none(redis: Redis) -> None:
    """With `transports: ['websocket']`, no WebSocket gets through, and HTTP would."""
    async with in_node() as node, live_bridge(redis.url) as live, trio.open_nursery() as nursery:
        proxy = BlockingProxy(int(live.url.rpartition(":")[2]))
        proxy.websockets = "refuse"
        nursery.start_soon(proxy.run)
        url = f"http://127.0.0.1:{proxy.port}"
        client = await node.io(url, **SOON)
        for _ in range(3):
            told = await client.until("connect_error")
            assert [each["event"] for each in told] == ["connect_error"]
        other = await node.io(url, reconnectionDelay=10)
        assert (await other.until("transport"))[-1]["data"] == "sse"
        nursery.cancel_scope.cancel()
