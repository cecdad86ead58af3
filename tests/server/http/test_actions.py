"""Retry, promote, remove, pause and resume over HTTP, as far as they need no worker (tests/test_node_actions.py)."""

from __future__ import annotations

import json
import logging
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from jobws.errors import ConfigurationError
from jobws.server.settings import Settings
from tests.support.acting import acting_bridge, events, together
from tests.support.bridge import live_bridge
from tests.support.http import call
from tests.support.tokens import bearer, keyed_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

UNKNOWN_JOB = 'no job of that id in queue "http"; it may have been removed'
NOT_FAILED = "the job has not failed, so it cannot be retried"
NOT_DELAYED = "the job is not delayed, so it cannot be promoted"


async def test_a_failed_job_is_retried_by_one_of_two_clients(redis: Redis) -> None:
    redis.add_job("http", "1", state="failed", failedReason="no", finishedOn=5)
    async with acting_bridge(redis.url) as live:
        done, refused = await together("POST", live.url + "/jobs/http/1/retry")
    assert done == (200, {"queue": "http", "jobId": "1"})
    assert (refused[0], refused[1]["code"], refused[1]["detail"]) == (409, "bad-state-for-action", NOT_FAILED)
    assert redis.client.lrange("bull:http:wait", 0, -1) == [b"1"]
    assert events(redis, "http") == [{b"event": b"waiting", b"jobId": b"1", b"prev": b"failed"}]


async def test_a_job_that_goes_first_is_retried_first(redis: Redis) -> None:
    redis.add_job("http", "1", state="failed", opts='{"lifo":true}')
    redis.add_job("http", "waits")
    async with acting_bridge(redis.url) as live:
        assert (await call("POST", live.url + "/jobs/http/1/retry"))[0] == 200
    assert redis.client.lrange("bull:http:wait", 0, -1) == [b"waits", b"1"]


@pytest.mark.parametrize("opts", ["notjson", "[]", "null", '"x"', b"\xff", "[" * 100_000], ids=lambda opts: opts[:4])
async def test_a_job_without_legible_options_is_retried_last(redis: Redis, opts: str | bytes) -> None:
    for job_id in ("1", "2"):
        redis.add_job("http", job_id, state="failed", opts=opts)
    redis.add_job("http", "waits")
    async with acting_bridge(redis.url) as live:
        for job_id in ("1", "2"):
            assert (await call("POST", f"{live.url}/jobs/http/{job_id}/retry"))[0] == 200
    assert redis.client.lrange("bull:http:wait", 0, -1) == [b"2", b"1", b"waits"]


async def test_a_delayed_job_is_promoted_by_one_of_two_clients(redis: Redis) -> None:
    redis.add_job("http", "1", state="delayed", delay=1000)
    async with acting_bridge(redis.url) as live:
        done, refused = await together("POST", live.url + "/jobs/http/1/promote")
    assert (done[0], refused[0]) == (200, 409)
    assert (refused[1]["code"], refused[1]["detail"]) == ("bad-state-for-action", NOT_DELAYED)
    assert redis.client.hget("bull:http:1", "delay") == b"0"
    assert events(redis, "http") == [{b"event": b"waiting", b"jobId": b"1", b"prev": b"delayed"}]


async def test_a_job_is_removed_by_one_of_two_clients(redis: Redis) -> None:
    redis.add_job("http", "1", state="completed")
    redis.client.rpush("bull:http:1:logs", "a line")
    async with acting_bridge(redis.url) as live:
        done, gone = await together("DELETE", live.url + "/jobs/http/1")
    assert done == (200, {"queue": "http", "jobId": "1"})
    assert (gone[0], gone[1]["code"], gone[1]["detail"]) == (404, "unknown-job", UNKNOWN_JOB)
    assert events(redis, "http") == [{b"event": b"removed", b"jobId": b"1", b"prev": b"completed"}]
    assert not redis.client.exists("bull:http:1", "bull:http:1:logs", "bull:http:completed")


async def test_a_locked_job_stays_for_both_clients(redis: Redis) -> None:
    redis.add_job("http", "1", state="active")
    redis.client.set("bull:http:1:lock", "token")
    async with acting_bridge(redis.url) as live:
        for _, problem in await together("DELETE", live.url + "/jobs/http/1"):
            assert (problem["status"], problem["code"]) == (409, "locked")
            assert problem["detail"] == "a worker has the job, or a job below it, so nothing was removed"
        for _, problem in await together("POST", live.url + "/jobs/http/1/retry"):
            assert (problem["status"], problem["detail"]) == (409, NOT_FAILED)
        for _, problem in await together("POST", live.url + "/jobs/http/1/promote"):
            assert (problem["status"], problem["detail"]) == (409, NOT_DELAYED)
    assert redis.client.lrange("bull:http:active", 0, -1) == [b"1"]
    assert events(redis, "http") == []


# By what would be the id of a job: the command that makes the key, and its arguments.
OTHER_KEYS = {
    "1:logs": ("RPUSH", "a line"),
    "repeat:daily": ("HSET", "name", "daily"),
    "dn:twice": ("HSET", "name", "held back"),
}


@pytest.mark.parametrize("job_id", OTHER_KEYS)
@pytest.mark.parametrize("action", ["retry", "promote", "remove"])
async def test_other_keys_are_no_jobs(redis: Redis, job_id: str, action: str) -> None:
    """BullMQ's script that removes a job would remove whatever is at the key."""
    key = f"bull:http:{job_id}"
    command, *arguments = OTHER_KEYS[job_id]
    redis.client.execute_command(command, key, *arguments)  # type: ignore[no-untyped-call]
    async with acting_bridge(redis.url) as live:
        query = urllib.parse.urlencode({"action": action, "queue": "http", "jobId": job_id})
        status, problem = await call("POST", f"{live.url}/actions?{query}")
        assert (status, problem["code"]) in [(404, "unknown-job"), (503, "unavailable")]
        status, problem = await call("DELETE", f"{live.url}/jobs/http/meta")
        assert (status, problem["code"]) == (400, "bad-job-id")
    assert redis.client.exists(key)
    assert events(redis, "http") == []


@pytest.mark.parametrize("job_id", ["a/b?c#d", "repeat:x:1", "💥 x", "%2F", ".."], ids=ascii)
async def test_every_id_can_be_named_in_the_query(redis: Redis, job_id: str) -> None:
    redis.add_job("http", job_id, state="failed")
    async with acting_bridge(redis.url) as live:

        async def act(action: str) -> tuple[int, dict[str, Any]]:
            query = urllib.parse.urlencode({"action": action, "queue": "http", "jobId": job_id})
            return await call("POST", f"{live.url}/actions?{query}")

        assert await act("retry") == (200, {"queue": "http", "jobId": job_id})
        assert (await act("promote"))[0] == 409
        assert await act("remove") == (200, {"queue": "http", "jobId": job_id})
        assert (await act("remove"))[0] == 404


BAD = [
    (
        "/actions?action=obliterate&queue=http",
        "`action` can only be retry, promote, remove, retry-failed, pause, resume",
    ),
    ("/actions?action=retry&queue=http", "expected ?action=retry&queue=…&jobId=…"),
    (
        "/actions?action=pause&queue=http&jobId=1",
        "expected ?action=pause&queue=…, and no jobId, since the action is about the queue",
    ),
    ("/actions?action=remove&queue=http&jobId=1&jobId=2", "`jobId` was given twice"),
    (
        "/jobs/http/1/retry?children=1",
        "`children` can only be 1 or true, and only where a job is removed",
    ),
    (
        "/actions?action=remove&queue=http&jobId=1&children=0",
        "`children` can only be 1 or true, and only where a job is removed",
    ),
]


@pytest.mark.parametrize(("path", "detail"), BAD, ids=[path for path, _ in BAD])
async def test_what_is_wrong_is_named(redis: Redis, path: str, detail: str) -> None:
    redis.add_job("http", "1", state="failed")
    async with acting_bridge(redis.url) as live:
        status, problem = await call("POST", live.url + path)
    assert (status, problem["code"], problem["detail"]) == (400, "bad-data", detail)
    assert events(redis, "http") == []


async def test_a_queue_is_paused_and_resumed(redis: Redis) -> None:
    async with acting_bridge(redis.url) as live:
        for _ in range(2):
            assert await call("POST", live.url + "/queues/http/pause") == (200, {"queue": "http"})
        assert redis.client.hget("bull:http:meta", "paused") == b"1"
        assert await call("POST", live.url + "/actions?action=resume&queue=http") == (200, {"queue": "http"})
        assert not redis.client.hexists("bull:http:meta", "paused")
        status, problem = await call("POST", live.url + "/queues/none/pause")
        assert (status, problem["code"]) == (404, "unknown-queue")
    assert [event[b"event"] for event in events(redis, "http")] == [b"paused", b"paused", b"resumed"]


async def test_all_jobs_that_bullmq_5_set_aside_come_back(redis: Redis) -> None:
    """The script moves 7,000 of them."""
    aside = [str(number) for number in range(15_000)]
    redis.client.rpush("bull:http:paused", *aside)
    redis.client.rpush("bull:http:wait", "first")
    redis.client.hset("bull:http:meta", "paused", "1")
    async with acting_bridge(redis.url) as live:
        assert (await call("POST", live.url + "/queues/http/resume"))[0] == 200
    assert redis.client.llen("bull:http:wait") == 15_001
    assert not redis.client.exists("bull:http:paused")


async def test_without_keys_actions_are_off(redis: Redis) -> None:
    redis.add_job("http", "1", state="failed")
    async with live_bridge(redis.url, queues=("http",)) as live:
        for path in ("/jobs/http/1/retry", "/jobs/http/none/retry", "/queues/http/pause", "/queues/none/pause"):
            status, problem = await call("POST", live.url + path)
            assert (status, problem["code"]) == (403, "forbidden")
            assert problem["detail"] == "this bridge takes no actions: it has neither keys nor --allow-actions"
    assert events(redis, "http") == []


def test_with_no_auth_actions_need_hosts() -> None:
    Settings(auth=False, allow_actions=True, allowed_hosts=("jobs.example.com",)).check()
    with pytest.raises(ConfigurationError) as raised:
        Settings(auth=False, allow_actions=True).check()
    expected = "--allow-actions with --no-auth needs --allow-host: the names that may be in Host"
    assert str(raised.value) == expected


async def test_each_action_has_a_line_in_the_log(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    redis.add_job("http", "1\n2", state="failed")
    async with keyed_bridge(redis.url, queues=("http",)) as live:
        scope = "write:jobs:http:retry write:jobs:http:remove write:queues:http:pause"
        for _ in range(2):
            await call("POST", live.url + "/jobs/http/1%0A2/retry", **bearer(scope, sub="ann"))
        await call("POST", live.url + "/queues/http/pause", **bearer(scope))
        for query in ("?children=1", "?children=no", ""):
            await call("DELETE", f"{live.url}/jobs/http/1%0A2{query}", **bearer(scope, sub="ann"))
        await call("POST", live.url + "/queues/http/resume", **bearer(scope))
    lines = [record for record in caplog.records if record.getMessage().startswith("audit ")]
    removed = {"sub": "ann", "action": "write:jobs:remove", "queue": "http", "jobId": "1\n2"}
    assert [json.loads(record.getMessage().removeprefix("audit ")) for record in lines] == [
        {"sub": "ann", "action": "write:jobs:retry", "queue": "http", "jobId": "1\n2", "outcome": "done"},
        {
            "sub": "ann",
            "action": "write:jobs:retry",
            "queue": "http",
            "jobId": "1\n2",
            "outcome": "bad-state-for-action",
        },
        {"sub": None, "action": "write:queues:pause", "queue": "http", "jobId": None, "outcome": "done"},
        {**removed, "children": True, "outcome": "done"},
        {**removed, "outcome": "unknown-job"},
    ]
    assert not any("\n" in record.getMessage() for record in lines)
    assert vars(lines[0]).items() >= {"queue": "http", "jobId": "1\n2", "levelname": "INFO"}.items()


async def test_an_action_that_redis_refuses_has_an_unknown_outcome(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    redis.client.acl_setuser("reader", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-evalsha"])
    async with acting_bridge(f"redis://reader:p@127.0.0.1:{redis.server.port}") as live:
        status, problem = await call("POST", live.url + "/queues/http/pause")
    redis.client.acl_deluser("reader")
    assert (status, problem["code"]) == (503, "unavailable")
    assert problem["detail"].startswith("Redis did not take the action: ")
    assert '"outcome":"unknown"' in caplog.text


async def test_without_the_extra_an_action_says_which(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bullmq", None)
    async with acting_bridge(redis.url) as live:
        status, problem = await call("POST", live.url + "/queues/http/pause")
        assert status == 501
        assert (
            problem["detail"] == "acting on jobs and queues needs an extra on the bridge: pip install 'jobws[submit]'"
        )
