"""The commands that act on jobs and queues: what they do, print and return."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from tests.support.bridge import live_bridge
from tests.support.command import jobws
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_actions(redis: Redis) -> None:
    redis.add_job("http", "1/2", state="failed")
    redis.add_job("http", "locked", state="active")
    redis.client.set("bull:http:locked:lock", "token")
    async with live_bridge(redis.url, queues=("http",), allow_actions=True) as live:
        run = partial(anyio.to_thread.run_sync, partial(jobws, url=live.url))
        assert await run("retry", "http/1/2") == (0, "", "")
        assert await run("retry", "http/1/2") == (1, "", "jobws: the job has not failed, so it cannot be retried\n")
        assert await run("promote", "http/1/2") == (1, "", "jobws: the job is not delayed, so it cannot be promoted\n")
        redis.add_job("http", "later", state="delayed")
        assert await run("promote", "http/later") == (0, "", "")
        assert (await run("remove", "http/locked"))[:2] == (1, "")
        redis.client.sadd("bull:http:1/2:dependencies", "bull:http:child")
        redis.add_job("http", "child")
        assert await run("remove", "--children", "http/1/2") == (0, "", "")
        assert not redis.client.exists("bull:http:1/2", "bull:http:child")
        gone = 'jobws: no job of that id in queue "http"; it may have been removed\n'
        assert await run("remove", "http/1/2") == (4, "", gone)
        assert await run("pause", "http") == (0, "", "")
        assert redis.client.hexists("bull:http:meta", "paused")
        redis.add_job("http", "3", state="failed")
        assert await run("retry", "http", "--failed") == (0, "1\n", "")
        assert await run("resume", "http") == (0, "", "")
        unknown = "jobws: this bridge has no `queue` of that label; GET /queues lists them\n"
        assert await run("pause", "none") == (2, "", unknown)


async def test_a_token_says_what_they_may(redis: Redis) -> None:
    redis.add_job("http", "1", state="failed")
    async with keyed_bridge(redis.url, queues=("http",)) as live:
        token = jwt("write:jobs:http/1:retry")
        run = partial(anyio.to_thread.run_sync, partial(jobws, url=live.url))
        assert await run("retry", "http/1", "--token", token) == (0, "", "")
        refused = f"jobws: the bridge at {live.url} refuses: the token does not allow this\n"
        assert await run("remove", "http/1", "--token", token) == (6, "", refused)
