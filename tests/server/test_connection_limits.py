"""How many connections an identity and an address may have: sockets, streams and requests that wait count together."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from jobws.server import Identity, Settings
from jobws.server.proxies import Addresses
from jobws.server.websocket.connection_limits import ConnectionLimits
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.client import RawClient, raw_client
from tests.support.event_source import event_source
from tests.support.http import call, exchange
from tests.support.tokens import bearer, jwt, keyed_bridge

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tests.support.redis import Redis

IDENTITY = "there may be 2 connections with this token's holder (max_connections_per_identity)"
ADDRESS = "there may be 2 connections from this address (max_connections_per_address)"


async def test_an_identity_has_a_number_of_connections(redis: Redis) -> None:
    ann, bob = bearer("read:jobs:*", sub="ann"), bearer("read:jobs:*", sub="bob")
    async with keyed_bridge(redis.url, max_connections_per_identity=2) as live:
        async with raw_client(live.url, headers=list(ann.items())), event_source(live.url, "1", headers=ann) as stream:
            await stream.receive()
            async with raw_client(live.url, headers=list(ann.items()), path="/logs") as third:
                assert await third.closed() == (4003, IDENTITY)
            for path in ("/events?job=1", "/jobs/http/1?wait=1"):
                answer = await anyio.to_thread.run_sync(exchange, "GET", live.url + path, None, ann)
                assert (answer.status, answer.content()["code"]) == (429, "rate-limited")
                assert answer.content()["detail"] == IDENTITY
                assert ("retry-after", "10") in answer.headers
            assert (await call("GET", live.url + "/jobs/http/1", **ann))[0] == 404
            async with raw_client(live.url, headers=list(bob.items())) as other:
                assert (await other.ask("ping"))["event"] == "pong"
                # Its new token has another holder, whose connections are counted from then on.
                await other.ask("authenticate", {"token": jwt("read:jobs:*", sub="ann")})
                assert await other.closed() == (4003, IDENTITY)
        await eventually(lambda: not live.bridge.clients.connected)
        async with raw_client(live.url, headers=list(ann.items())) as again:
            assert (await again.ask("ping"))["event"] == "pong"
        metrics = await anyio.to_thread.run_sync(exchange, "GET", live.url + "/metrics", None, bearer("read:metrics"))
        assert 'jobws_limited_total{setting="max_connections_per_identity"} 4.0' in metrics.content()


async def test_tokens_that_come_with_jobs_have_a_limit_each_and_their_address_one_for_all(redis: Redis) -> None:
    """One service gets the tokens of all its users' pages, so they cannot count for the service."""
    service = bearer("write:jobs:http", sub="service")
    async with (
        keyed_bridge(
            redis.url, max_connections_per_identity=1, max_connections_per_address=3, trusted_proxies=("127.0.0.1",)
        ) as live,
        AsyncExitStack() as pages,
    ):

        async def open_page(address: str) -> RawClient:
            token = (await call("POST", live.url + "/jobs/http?withToken=1", {"data": 1}, **service))[1]["token"]
            headers = {"X-Forwarded-For": address, "Authorization": f"Bearer {token}"}
            return await pages.enter_async_context(raw_client(live.url, headers=list(headers.items())))

        for _ in range(3):
            assert (await (await open_page("192.0.2.1")).ask("ping"))["event"] == "pong"
        assert await (await open_page("192.0.2.1")).closed() == (4003, ADDRESS.replace("2", "3", 1))
        assert (await (await open_page("192.0.2.2")).ask("ping"))["event"] == "pong"


@pytest.mark.parametrize("settings", [{}, {"auth": False, "jwt_secret": None}], ids=["keys", "no keys"])
async def test_an_address_has_a_number_of_connections(redis: Redis, settings: dict[str, Any]) -> None:
    async with keyed_bridge(
        redis.url, max_connections_per_address=2, trusted_proxies=("127.0.0.1",), **settings
    ) as live:

        def connect(address: str, sub: str) -> AbstractAsyncContextManager[RawClient]:
            headers = {"X-Forwarded-For": address, **bearer("read:jobs:*", sub=sub)}
            return raw_client(live.url, headers=list(headers.items()))

        async with connect("2001:db8::1", "a"), connect("2001:db8::2", "b"):
            async with connect("2001:db8::3", "c") as third:
                assert await third.closed() == (4003, ADDRESS)
            async with connect("2001:db8:0:1::3", "c") as other:
                assert (await other.ask("ping"))["event"] == "pong"


async def test_an_address_has_twice_as_many_connections_of_any_kind(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those over which nothing was asked count, too. Otherwise one address could take all that the bridge has."""
    monkeypatch.setattr(Addresses, "limited_client", lambda _self, client: client)  # all clients here are on loopback
    async with live_bridge(redis.url, max_connections_per_address=1) as live:
        port = urlsplit(live.url).port

        def crowd() -> bytes:
            with ExitStack() as stack:
                *_, third = (stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3))
                return third.recv(4096)

        assert b"(max_connections_per_address)" in await anyio.to_thread.run_sync(crowd)
        assert live.bridge.limited == {"max_connections_per_address": 1}


async def test_without_keys_nobody_is_an_identity(redis: Redis) -> None:
    async with (
        live_bridge(redis.url, max_connections_per_identity=0) as live,
        raw_client(live.url) as client,
        event_source(live.url, "1") as stream,
    ):
        assert (await client.ask("ping"))["event"] == "pong"
        await stream.receive()


def test_a_connection_counts_once_and_for_its_present_identity() -> None:
    limits = ConnectionLimits(Settings(max_connections_per_identity=1), Counter())
    ann, bob = Identity.of("ann", "read:logs"), Identity.of("bob", "read:logs")
    assert [limits.identify("first", ann) for _ in range(3)] == [None] * 3
    assert limits.identify("first", bob) is None
    assert limits.identify("second", ann) is None
    assert limits.identify("third", ann) is not None
