"""Requests that are under way when their token expires or is revoked, and what a right to write does not reveal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from jobws.server.http import token_end
from jobws.server.intervals import Intervals
from tests.support import eventually
from tests.support.authorizer import ANN, Authorizer, asking_bridge
from tests.support.bridge import live_bridge
from tests.support.event_source import event_source, frame_source
from tests.support.http import call
from tests.support.signing import SECRET
from tests.support.tokens import bearer, keyed_bridge, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis

EXPIRED = ("close", {"code": 4001, "reason": "the token has expired"})


async def test_streams_end_when_the_token_expires(redis: Redis) -> None:
    async with keyed_bridge(redis.url) as live:
        headers = bearer("admin", seconds=2)
        async with (
            event_source(live.url, "1", headers=headers) as source,
            frame_source(live.url, [{"event": "ping"}], headers=headers) as frames,
            frame_source(live.url, [{"event": "subscribe-job", "data": "1"}], headers=headers, wait="30") as poll,
        ):
            for each in (source, frames, poll):
                last = (await each.rest())[-1]
                assert (last.event, last.data) == EXPIRED
        await eventually(lambda: not live.bridge.clients.connected)


async def test_a_long_poll_ends_when_the_token_expires(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    async with keyed_bridge(redis.url) as live:
        status, body = await call("GET", live.url + "/jobs/http/1?wait=30", **bearer("read:jobs:http/1", seconds=2))
    assert (status, body["code"], body["detail"]) == (401, "expired", "the token has expired; get a new one")


async def test_what_runs_ends_when_the_token_is_revoked(redis: Redis, tmp_path: Path) -> None:
    redis.add_job("http", "1", state="active")
    file = tmp_path / "revoked"
    file.write_text("")
    settings: dict[str, Any] = {"jwt_secret": SECRET.decode(), "revoked_file": str(file)}
    async with live_bridge(redis.url, intervals=Intervals(look_seconds=0.05), **settings) as live:
        headers = bearer("read:jobs:*", jti="one")
        async with event_source(live.url, "1", headers=headers) as source, anyio.create_task_group() as tasks:
            await source.receive()
            answers = []

            async def wait() -> None:
                answers.append(await call("GET", live.url + "/jobs/http/1?wait=30", **headers))

            tasks.start_soon(wait)
            await eventually(lambda: len(live.bridge.clients.connected) == 2)
            replace_file(file, "one\n")
            last = (await source.rest())[-1]
        assert (last.event, last.data) == ("close", {"code": 4501, "reason": "the token is no longer accepted"})
        assert [(status, body["code"]) for status, body in answers] == [(401, "bad-token")]


async def test_a_right_to_write_tells_nothing_of_jobs(redis: Redis) -> None:
    redis.add_job("http", "taken")
    job = {"data": 1, "jobId": "taken"}
    async with keyed_bridge(redis.url) as live:
        status, body = await call("POST", live.url + "/jobs/http", job, **bearer("write:jobs:http"))
        assert (status, set(body)) == (202, {"queue", "jobId", "links"})
        both = bearer("write:jobs:http read:jobs:http/taken")
        assert (await call("POST", live.url + "/jobs/http", job, **both))[1]["existing"] is True


async def test_the_same_key_of_another_holder_is_another_job(redis: Redis) -> None:
    async with keyed_bridge(redis.url) as live:
        ids = []
        for sub in ("ann", "ann", "bob"):
            headers = bearer("write:jobs:http", sub=sub)
            ids.append((await call("POST", live.url + "/analyze/http", 1, Idempotency_Key="k", **headers))[1]["jobId"])
        assert (ids[0] == ids[1], ids[0] == ids[2]) == (True, False)


@pytest.mark.parametrize("source", ["jobws", "jobws ", "\tJOBWS"])
async def test_nobody_writes_lines_of_the_bridge_or_what_passes_for_them(redis: Redis, source: str) -> None:
    sentence = "`source`: only the bridge itself writes lines of jobws"
    line = {"message": "x", "source": source}
    async with live_bridge(redis.url) as live:
        for body in (line, [line]):
            status, answer = await call("POST", live.url + "/logs", body)
            assert status == 400
            assert answer["detail"].endswith(sentence)


async def test_only_queues_whose_counts_may_be_read_are_listed(redis: Redis) -> None:
    async with keyed_bridge(redis.url, queues=("a", "b", "c")) as live:
        headers = bearer("read:queues:a read:queues:c read:jobs:b")
        first = (await call("GET", live.url + "/queues?limit=1", **headers))[1]
        rest = (await call("GET", f"{live.url}/queues?limit=1&cursor={first['cursor']}", **headers))[1]
    assert [each["queue"] for each in (*first["queues"], *rest["queues"])] == ["a", "c"]
    assert rest["cursor"] is None


async def test_they_end_when_the_authorizer_says_that_the_token_has_expired(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first it does not say when that will be."""
    monkeypatch.setattr(token_end, "LOOK_SECONDS", 0.05)
    redis.add_job("http", "1", state="active")
    with Authorizer("read:jobs http/1", ttl=0.1) as authorizer:
        async with (
            asking_bridge(redis.url, authorizer) as live,
            event_source(live.url, "1", queue="http", headers=ANN) as source,
        ):
            await source.receive()
            authorizer.extra = {"exp": time.time() - 1}
            last = (await source.rest())[-1]
    assert (last.event, last.data) == EXPIRED
