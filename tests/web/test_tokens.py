"""The adapter's tokens, with a real bridge, in Node: renewed without a gap, narrowed, expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import eventually
from tests.support.adapter import Rejected, in_node
from tests.support.tokens import jwt, keyed_bridge, seconds_left

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_a_token_is_renewed_and_nobody_notices(redis: Redis) -> None:
    tokens = [jwt("read:jobs:http", seconds=300), jwt("read:jobs:http", seconds=3000)]
    async with keyed_bridge(redis.url, queues=("http",), expiring_seconds=600) as live, in_node() as node:
        client = await node.io(live.url, auth={"gives": tokens})
        async with client.watch("1", queue="http") as told:
            await eventually(lambda: len(live.bridge.fanout.rooms) == 1)
            (connected,) = live.bridge.clients.connected
            await eventually(lambda: seconds_left(live, connected) > 600)
            redis.add_event("http", "completed", "1", returnvalue="2")
            assert (await anext(told))["data"]["returnvalue"] == 2
            assert live.bridge.clients.connected == {connected}


async def test_a_narrower_token_ends_what_it_does_not_allow(redis: Redis) -> None:
    tokens = [jwt("read:jobs:http", seconds=30), jwt("read:jobs:http/2")]
    async with keyed_bridge(redis.url, queues=("http",)) as live, in_node() as node:
        client = await node.io(live.url, auth={"gives": tokens})
        with pytest.raises(Rejected, match=r"JobwsError: 1: the token does not allow this$") as refused:
            await client.wait("1", queue="http", expect=True)
        assert refused.value.error["code"] == "forbidden"
        redis.add_event("http", "completed", "2", returnvalue="7")
        assert await client.wait("2", queue="http", expect=True) == 7


async def test_a_constant_token_that_has_expired_is_the_end(redis: Redis) -> None:
    async with keyed_bridge(redis.url, queues=("http",), grace_seconds=0) as live, in_node() as node:
        for token, sentence in (
            (jwt("read:jobs:http", seconds=1), "4001 the token has expired"),
            ("nonsense", "4500 the token is not accepted"),
        ):
            client = await node.io(live.url, token=token)
            with pytest.raises(Rejected, match=f"the bridge refuses this client: {sentence}"):
                await client.wait("1", queue="http", expect=True)
