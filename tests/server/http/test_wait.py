"""`GET /jobs…?wait=` (protocol.md, rule H6): the answer comes when the job has ended."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import pytest

from tests.support import eventually
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.http import call, connections
from tests.support.waiting import Held, finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis

IN_THREAD = anyio.to_thread.run_sync
LONG_AGO = 1_000_000_000_000


@pytest.mark.parametrize(
    ("path", "listed"),
    [("/jobs/http/1?wait=30", False), ("/jobs?queue=http&jobId=1&wait=30.5", False), ("/jobs/1?wait=30", True)],
)
@pytest.mark.parametrize(
    ("state", "fields", "expected"),
    [
        ("completed", {"returnvalue": '{"x":[1,null]}'}, {"returnvalue": {"x": [1, None]}}),
        ("failed", {"failedReason": "no such page"}, {"failedReason": "no such page"}),
    ],
)
async def test_the_end_of_a_job_that_is_kept(
    redis: Redis, path: str, listed: bool, state: str, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    redis.add_job("http", "1", state="active")
    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:
        held = Held(live, tasks, path)
        await held.waits()
        for event in ("progress", "stalled", "waiting", "active"):  # not the end: another attempt follows
            redis.add_event("http", event, "1", data="1")
        finish(redis, "1", state, **fields)
        status, body = await held.answer()
        (job,) = body["jobs"] if listed else (body,)
        assert (status, job["state"], job["name"]) == (200, state, "test")
        assert expected.items() <= job.items()
        assert (await call("GET", live.url + path.partition("?wait")[0].partition("&wait")[0])) == (status, body)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        ("completed", {"returnvalue": '{\n"x":"💥\\ud800"}'}, {"returnvalue": {"x": "💥\ud800"}}),
        ("completed", {"returnvalue": "9" * 4000}, {"returnvalue": int("9" * 4000)}),
        ("completed", {"returnvalue": "no JSON"}, {"returnvalue": "no JSON"}),
        ("completed", {"returnvalue": '"' + "x" * 3_000_000 + '"'}, {"truncated": True}),
        ("failed", {"failedReason": "é\n"}, {"failedReason": "é\n"}),
        ("removed", {"prev": "active"}, {}),
    ],
    ids=["surrogate", "huge integer", "no json", "too large", "failed", "removed"],
)
async def test_the_end_of_a_job_that_is_gone_is_reported_from_its_event(
    redis: Redis, event: str, fields: dict[str, str], expected: dict[str, Any], listed: bool
) -> None:
    redis.add_job("http", "1", state="active", attemptsMade=1)
    redis.add_job("sparql", "1")
    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:
        held = Held(live, tasks, "/jobs/1?wait=30" if listed else "/jobs/http/1?wait=30")
        await held.waits()
        redis.client.delete("bull:http:1", "bull:http:active")
        sent = redis.add_event("http", event, "1", **fields)
        status, body = await held.answer()
        job = body["jobs"][0] if listed else body
        assert (status, job["queue"], job["jobId"], job["state"], job["at"]) == (200, "http", "1", event, sent)
        assert (job["name"], job["attemptsMade"]) == ("test", 1)
        assert expected.items() <= job.items()
        if "href" in job:
            whole = (await call("GET", live.url + job["href"]))[1]
            assert json.dumps(whole["returnvalue"]) == fields["returnvalue"]
        assert ("href" in job) == ("truncated" in job)
        if listed:
            assert [(each["queue"], each["state"]) for each in body["jobs"][1:]] == [("sparql", "waiting")]


async def test_a_job_that_is_submitted_later_and_gone_before_anybody_looks(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:
        held = Held(live, tasks, "/jobs/http/later?wait=30")
        await held.waits()
        for event in ("added", "waiting", "active"):
            redis.add_event("http", event, "later", name="x")
        sent = redis.add_event("http", "completed", "later", returnvalue="5")
        assert await held.answer() == (
            200,
            {"queue": "http", "jobId": "later", "name": "", "state": "completed", "at": sent, "returnvalue": 5},
        )


@pytest.mark.parametrize("path", ["/jobs/http/1?wait=30", "/jobs/1?wait=30"])
async def test_a_client_that_comes_late_is_answered_at_once(redis: Redis, path: str) -> None:
    """From the hash, from the stream alone, and from the stream although another queue has a job with this id, too."""
    async with live_bridge(redis.url) as live:
        redis.add_job("http", "1", state="completed", finishedOn=LONG_AGO, returnvalue="1")
        with anyio.fail_after(20):
            status, body = await call("GET", live.url + path)
            assert (status, (body.get("jobs") or [body])[0]["returnvalue"]) == (200, 1)
    redis.client.flushall()
    redis.add_entry("http", {b"event": b"completed", b"jobId": b"1", b"returnvalue": b"2"}, stream_id=f"{LONG_AGO}-0")
    redis.add_job("sparql", "1", state="active")
    redis.add_event("sparql", "active", "1")
    async with live_bridge(redis.url) as live:
        with anyio.fail_after(20):
            status, body = await call("GET", live.url + path)
            assert (status, (body.get("jobs") or [body])[0]["returnvalue"]) == (200, 2)


async def test_an_end_of_an_earlier_life_is_none(redis: Redis) -> None:
    redis.add_event("http", "completed", "1", returnvalue='"first"')
    redis.add_event("http", "added", "1")
    redis.add_job("http", "1", state="active")
    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:
        held = Held(live, tasks, "/jobs/1?wait=30")
        await held.waits()
        finish(redis, "1", "completed", returnvalue='"second"')
        assert (await held.answer())[1]["jobs"][0]["returnvalue"] == "second"


async def test_a_job_that_lives_again_is_reported_as_it_ended(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:
        held = Held(live, tasks, "/jobs/http/1?wait=30")
        await held.waits()
        with redis.client.pipeline() as together:
            together.xadd("bull:http:events", {"event": "failed", "jobId": "1", "failedReason": "x", "prev": "active"})
            together.xadd("bull:http:events", {"event": "waiting", "jobId": "1", "prev": "failed"})
            together.execute()
        job = (await held.answer())[1]
        assert (job["state"], job["failedReason"]) == ("failed", "x")


async def test_a_silent_end_is_an_end(redis: Redis) -> None:
    redis.add_job("http", "1", state="wait")
    async with live_bridge(redis.url, sweep_seconds=0.2) as live, anyio.create_task_group() as tasks:
        held = Held(live, tasks, "/jobs/http/1?wait=30")
        await held.waits()
        redis.client.delete("bull:http:1", "bull:http:wait")
        job = (await held.answer())[1]
        assert (job["state"], job["at"], job["name"]) == ("removed", "0-0", "test")


async def test_when_the_time_is_over_it_is_as_without(redis: Redis) -> None:
    redis.add_job("http", "1", state="active", progress="50")
    async with live_bridge(redis.url) as live:
        for path in ("/jobs/http/1", "/jobs/1", "/jobs/http/none", "/jobs/none"):
            began = time.monotonic()
            held = await call("GET", f"{live.url}{path}?wait=0.3")
            assert time.monotonic() - began >= 0.3
            assert held == await call("GET", live.url + path) == await call("GET", f"{live.url}{path}?wait=0")
        assert not live.bridge.fanout.rooms


@pytest.mark.parametrize("wait", ["", "x", "-1", "2.01", "1e0", "nan", "inf", "٣", "1_0", " 1", "0x1", "9" * 400])
async def test_a_wait_that_is_none(redis: Redis, wait: str) -> None:
    async with live_bridge(redis.url, max_wait_seconds=2.0) as live:
        for path in ("/jobs/http/1?", "/jobs/1?", "/jobs?jobId=1&"):
            status, body = await call("GET", f"{live.url}{path}wait={wait}".replace(" ", "%20").replace("٣", "%D9%A3"))
            assert (status, body["code"]) == (400, "bad-data")
            assert body["detail"] == "`wait` must be a number of seconds from 0 to 2"
        status, body = await call("GET", live.url + "/jobs/1?wait=1&wait=2")
        assert (status, body["detail"]) == (400, "`wait` was given twice")


async def test_more_queues_than_a_connection_may_have_subscriptions(redis: Redis) -> None:
    redis.add_job("c", "1", state="active")
    async with (
        live_bridge(redis.url, queues=("a", "b", "c"), max_subscriptions=1) as live,
        anyio.create_task_group() as tasks,
    ):
        held = Held(live, tasks, "/jobs/1?wait=30")
        await held.waits()
        finish(redis, "1", "completed", "c", returnvalue="3")
        (job,) = (await held.answer())[1]["jobs"]
        assert (job["queue"], job["returnvalue"]) == ("c", 3)


async def test_a_client_that_leaves_is_gone_at_once(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        with socket.create_connection(("127.0.0.1", urlsplit(live.url).port or 0)) as sock:
            sock.sendall(b"GET /jobs/1?wait=60 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await eventually(lambda: bool(live.bridge.fanout.rooms))
        await eventually(lambda: not live.bridge.fanout.rooms and not live.bridge.clients.connected)


async def test_it_outlasts_the_silence_that_a_websocket_may_keep(redis: Redis) -> None:
    async with live_bridge(redis.url, silence_seconds=0.2) as live:
        began = time.monotonic()
        status, _ = await call("GET", live.url + "/jobs/http/1?wait=1")
        assert status == 404
        assert time.monotonic() - began >= 1


async def test_a_redis_that_goes_away_meanwhile_is_503(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:
        held = Held(live, tasks, "/jobs/http/1?wait=0.5")
        await held.waits()
        await IN_THREAD(redis.server.kill)
        status, body = await held.answer()
        assert (status, body["code"]) == (503, "unavailable")


async def test_a_bridge_that_restarts_says_so(redis: Redis) -> None:
    with BridgeProcess("--port", "0", "--redis", redis.url, "--shutdown-seconds", "40") as bridge:
        url = await IN_THREAD(bridge.started)
        answers: list[tuple[int, Any]] = []

        async def ask() -> None:
            answers.append(await call("GET", url + "/jobs/http/1?wait=60"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await eventually(lambda: connections(url) == 1)
            began = time.monotonic()
            assert await IN_THREAD(bridge.terminate) == 0
            assert time.monotonic() - began < 20
        status, body = answers[0]
        assert (status, body["detail"]) == (503, "the bridge restarts; ask again")
    assert json.dumps(bridge.lines).count("Traceback") == 0
