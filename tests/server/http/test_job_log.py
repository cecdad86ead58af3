"""A job's log lines over HTTP: page by page (protocol.md, rule H10), and in streams of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
import pytest

from jobws.server.http.job_log import PAGE_BYTES
from jobws.server.intervals import Intervals
from tests.support import EVENTUALLY_SECONDS
from tests.support.bridge import live_bridge
from tests.support.event_source import cursor_of, event_source, poll
from tests.support.http import call

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def pages(url: str) -> list[dict[str, Any]]:
    """Return all pages from `url` on."""
    found = []
    start: int | None = 0
    while start is not None:
        status, page = await call("GET", f"{url}&start={start}")
        assert status == 200
        found.append(page)
        start = page["next"]
    return found


async def test_lines_come_page_by_page(redis: Redis) -> None:
    redis.add_job("http", "a/b", state="active")
    lines = [f"{number} 💥\n" for number in range(250)]
    redis.client.rpush("bull:http:a/b:logs", *lines)
    async with live_bridge(redis.url) as live:
        query = f"{live.url}/job-logs?queue=http&jobId={quote('a/b', safe='')}"
        found = await pages(query)
        assert [page["first"] for page in found] == [0, 100, 200]
        assert [line for page in found for line in page["lines"]] == lines
        assert found[0] == {
            **{"queue": "http", "jobId": "a/b", "lines": lines[:100], "first": 0, "total": 250, "next": 100}
        }
        for start, limit, first, until in [(-3, 2, 247, 249), (-3, 100, 247, 250), (-999, 3, 0, 3), (300, 1, 300, 300)]:
            _, page = await call("GET", f"{query}&start={start}&limit={limit}")
            assert (page["first"], page["lines"]) == (first, lines[first:until])
            assert page["next"] == (until if until < 250 else None)


async def test_the_path_serves_plain_ids_and_a_job_without_lines_has_none(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    async with live_bridge(redis.url) as live:
        answer = await call("GET", live.url + "/jobs/http/7/logs")
        assert answer == (200, {"queue": "http", "jobId": "7", "lines": [], "first": 0, "total": 0, "next": None})
        redis.client.rpush("bull:http:7:logs", b"\xff")
        _, page = await call("GET", live.url + "/jobs/http/7/logs")
        assert page["lines"] == ["\ufffd"]


async def test_a_page_of_large_lines_ends_early_and_lines_are_whole(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    lines = [f"{number}" * (PAGE_BYTES // 4) for number in range(9)] + ["x" * (PAGE_BYTES + 1)]
    redis.client.rpush("bull:http:7:logs", *lines)
    async with live_bridge(redis.url) as live:
        found = await pages(live.url + "/job-logs?queue=http&jobId=7&limit=1000")
        assert [len(page["lines"]) for page in found] == [4, 4, 1, 1]
        assert [line for page in found for line in page["lines"]] == lines


@pytest.mark.parametrize(
    ("path", "status", "code", "detail"),
    [
        ("/jobs/http/8/logs", 404, "unknown-job", 'no job of that id in queue "http"; it may have been removed'),
        (
            "/jobs/nowhere/8/logs",
            404,
            "unknown-queue",
            "this bridge has no `queue` of that label; GET /queues lists them",
        ),
        ("/jobs/http/wait/logs", 400, "bad-job-id", 'bad job id: "wait" is the name of one of BullMQ\'s own keys'),
        ("/job-logs?queue=http", 400, "bad-data", "expected ?queue=…&jobId=…"),
        (
            *("/jobs/http/7/logs?start=x", 400, "bad-data"),
            "`start` must be the number of a line, or a negative one, counted from the end",
        ),
        ("/jobs/http/7/logs?limit=0", 400, "bad-data", "`limit` must be an integer from 1 to 1000"),
        ("/jobs/http/7/logs?limit=1001", 400, "bad-data", "`limit` must be an integer from 1 to 1000"),
        ("/events?job=7&logs=yes", 400, "bad-logs", "`logs` in the query can only be 1 or true"),
    ],
)
async def test_what_is_wrong_is_named(redis: Redis, path: str, status: int, code: str, detail: str) -> None:
    async with live_bridge(redis.url) as live:
        answer, problem = await call("GET", live.url + path)
        assert (answer, problem["code"], problem["detail"]) == (status, code, detail)


async def test_a_stream_of_events_has_lines_before_the_outcome_and_its_position_waits(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    redis.client.rpush("bull:http:7:logs", "a")
    async with (
        live_bridge(redis.url, intervals=Intervals(keep_alive_seconds=0.1)) as live,
        event_source(live.url, ["7", "8"], logs="1") as source,
    ):
        assert (await source.receive()).event == "ack"
        assert (await source.receive()).data["lines"] == ["a"]
        await source.position()
        redis.client.rpush("bull:http:7:logs", "b")
        ended = redis.add_event("http", "completed", "7", returnvalue="1")
        lines, outcome = await source.receive(), await source.receive()
        assert (lines.event, lines.data["lines"], outcome.event) == ("job-log", ["b"], "completed")
        # The position for the other job comes next.
        assert cursor_of(outcome.id) == {"http": "0-0"}
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while cursor_of(source.parser.last_id) != {"http": ended}:
                await source.position()


async def test_an_answer_that_ends_has_lines_too(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    redis.client.rpush("bull:http:7:logs", "a")
    async with live_bridge(redis.url) as live:
        request = {"event": "subscribe-job", "data": {"jobId": "7", "queue": "http", "logs": True}}
        frames = await poll(live.url, [request], "30")
        assert [frame["event"] for frame in frames] == ["hello", "ack", "job-log", "pong"]
