"""The Python client's tokens, with a real bridge: renewed without a gap, narrowed, expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from jobws.client import connect, connect_logs
from jobws.errors import RefusedError, ResponseError
from tests.support import eventually
from tests.support.tokens import jwt, keyed_bridge, seconds_left

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_a_token_is_renewed_and_nobody_notices(redis: Redis) -> None:
    given: list[str] = []

    def token() -> str:
        given.append(jwt("read:jobs:http", seconds=3000 if given else 300))
        return given[-1]

    async with (
        keyed_bridge(redis.url, queues=("http",), expiring_seconds=600) as live,
        connect(live.url, token=token) as jobs,
        jobs.watch("1", "http", ["progress"]) as events,
    ):
        (connected,) = live.bridge.clients.connected
        await eventually(lambda: seconds_left(live, connected) > 600)
        redis.add_event("http", "completed", "1", returnvalue="2")
        assert (await anext(events)).data["returnvalue"] == 2
        assert live.bridge.clients.connected == {connected}
    assert len(given) == 2


async def test_a_narrower_token_ends_what_it_does_not_allow(redis: Redis) -> None:
    tokens = iter([jwt("read:jobs:http", seconds=30), jwt("read:jobs:http/2")])
    async with (
        keyed_bridge(redis.url, queues=("http",)) as live,
        connect(live.url, token=lambda: next(tokens)) as jobs,
        trio.open_nursery() as nursery,
    ):
        results: list[object] = []

        async def wait() -> None:
            results.append(await jobs.wait("2", "http", expect=True))

        nursery.start_soon(wait)
        with pytest.raises(ResponseError, match=r"^1: the token does not allow this$") as refused:
            await jobs.wait("1", "http", expect=True)
        assert refused.value.code == "forbidden"
        redis.add_event("http", "completed", "2", returnvalue="7")
        while not results:
            await trio.sleep(0.01)
        assert results == [7]


async def test_a_constant_token_that_has_expired_is_the_end(redis: Redis) -> None:
    sentence = "the token has expired; a function as `token` may return a new one"
    async with keyed_bridge(redis.url, queues=("http",), grace_seconds=0) as live:
        async with connect(live.url, token=jwt("read:jobs:http", seconds=1)) as jobs:
            with pytest.raises(RefusedError, match=sentence):
                await jobs.wait("1", "http", expect=True)
        with pytest.raises(RefusedError, match=sentence):
            async with connect_logs(live.url, token=jwt("read:logs", seconds=-60)):
                pass
        with pytest.raises(RefusedError, match="4500 the token is not accepted"):
            async with connect_logs(live.url, token="nonsense"):
                pass
