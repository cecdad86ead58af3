"""`GET /jobs?queue=&jobId=&event=`: what is too large for a frame, by the position of its event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import call

if TYPE_CHECKING:
    from tests.support.redis import Redis

LARGE = "x" * 2000
EXPECTED = "`event`: expected &queue= beside it, and no &wait= or &children="
GONE = "neither the event nor its job is there any more, or the job has no outcome"


async def get(url: str, event: str, job_id: str = "1") -> tuple[int, dict[str, Any]]:
    return await call("GET", f"{url}/jobs?queue=http&jobId={job_id}&event={event}")


async def test_a_large_result_of_a_job_that_is_removed_on_completion(redis: Redis) -> None:
    """The reference in the event works while the stream has the event, and then no more."""
    job_id = "a/b c?&=é💥"
    async with live_bridge(redis.url, max_result_bytes=1000) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {"jobId": job_id, "queue": "http"})
        added = redis.add_event("http", "completed", job_id, returnvalue=json.dumps(LARGE), prev="active")
        data = (await client.receive())["data"]
        href = data.pop("href")
        assert data == {"queue": "http", "jobId": job_id, "prev": "active", "truncated": True, "bytes": 2002}
        assert urlsplit(href).path == "/jobs"
        assert parse_qs(urlsplit(href).query) == {"queue": ["http"], "jobId": [job_id], "event": [added]}
        whole = {"event": "completed", "queue": "http", "jobId": job_id, "returnvalue": LARGE, "prev": "active"}
        assert await call("GET", live.url + href) == (200, whole)
        redis.client.xtrim("bull:http:events", maxlen=0)
        status, problem = await call("GET", live.url + href)
        assert (status, problem["code"], problem["detail"]) == (410, "gone", GONE)


async def test_an_event_that_the_stream_has_lost_is_the_outcome_of_the_jobs_hash(redis: Redis) -> None:
    redis.add_job("http", "1", state="failed", failedReason=LARGE, finishedOn=17)
    redis.add_job("http", "2", state="active")
    async with live_bridge(redis.url, max_result_bytes=1000) as live, raw_client(live.url) as client:
        expected = {"event": "failed", "queue": "http", "jobId": "1", "failedReason": LARGE}
        assert await get(live.url, "1795435729358-0") == (200, expected)
        assert (await get(live.url, "1795435729358-0", "2"))[0] == 410  # it has no outcome yet
        await client.ask("subscribe-job", {"jobId": "1", "queue": "http"})
        (frame,) = await client.until("failed")
        assert frame["id"] == "0-0~17"
        assert await call("GET", live.url + frame["data"]["href"]) == (200, expected)
        redis.client.hset("bull:http:1", "finishedOn", 18)  # the same id, another life
        assert (await call("GET", live.url + frame["data"]["href"]))[0] == 410


async def test_every_event_of_a_job_can_be_asked_for_and_no_other_jobs(redis: Redis) -> None:
    progress = redis.add_event("http", "progress", "1", data='{ "x": 1.50 }')
    custom = redis.add_event("http", "ack", "1", event_text="é", truncated="no")
    redis.add_event("http", "completed", "2", returnvalue='"secret"')
    other = redis.add_event("http", "completed", "2", returnvalue='"secret"')
    async with live_bridge(redis.url) as live:
        assert await get(live.url, progress) == (
            200,
            {"event": "progress", "queue": "http", "jobId": "1", "data": {"x": 1.5}},
        )
        assert await get(live.url, custom) == (
            200,
            {"event": "custom:ack", "queue": "http", "jobId": "1", "event_text": "é", "truncated": "no"},
        )
        refused = await get(live.url, other)
        assert refused[0] == 410
        assert refused == await get(live.url, "5-0")


@pytest.mark.parametrize(
    ("query", "status", "code", "detail"),
    [
        ("queue=http&jobId=1&event=now", 400, "bad-data", "`event` must be the `id` of an event, as its `href` has it"),
        ("queue=http&jobId=1&event=", 400, "bad-data", "`event` must be the `id` of an event, as its `href` has it"),
        ("jobId=1&event=1-0", 400, "bad-data", EXPECTED),
        ("queue=http&jobId=1&event=1-0&wait=1", 400, "bad-data", EXPECTED),
        ("queue=http&jobId=1&event=1-0&children=1", 400, "bad-data", EXPECTED),
        ("queue=http&jobId=1&event=1-0&event=1-0", 400, "bad-data", "`event` was given twice"),
        ("queue=http&jobId=1:logs&event=1-0", 410, "gone", GONE),
        (
            *("queue=nothing&jobId=1&event=1-0", 404, "unknown-queue"),
            "this bridge has no `queue` of that label; GET /queues lists them",
        ),
    ],
)
async def test_what_cannot_be_answered(redis: Redis, query: str, status: int, code: str, detail: str) -> None:
    redis.client.rpush("bull:http:1:logs", "no job")
    async with live_bridge(redis.url) as live:
        answer, problem = await call("GET", f"{live.url}/jobs?{query}")
        assert (answer, problem["code"], problem["detail"]) == (status, code, detail)
