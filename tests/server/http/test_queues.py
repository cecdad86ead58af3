"""The queues over HTTP (counts, health, jobs page by page), and metrics, CORS and OpenAPI."""

from __future__ import annotations

import urllib.error
import urllib.request
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import call

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_queues_tell_counts_health_and_retention(redis: Redis) -> None:
    redis.make_queue("http")
    for job_id, state in [("1", "wait"), ("2", "wait"), ("3", "active"), ("4", "failed"), ("5", "paused")]:
        redis.add_job("http", job_id, state="wait" if state == "paused" else state)
    redis.client.hset("bull:http:meta", "paused", 1)
    redis.client.hset("bull:sparql:meta", "opts.maxLenEvents", "101")
    for number in range(200):
        redis.add_entry("sparql", {b"event": "waiting", b"jobId": "1"}, stream_id=f"{1795435729000 + 20 * number}-0")
    async with live_bridge(redis.url) as live:
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while live.bridge.service.problems():
                await anyio.sleep(0.02)
        status, body = await call("GET", live.url + "/queues")
        assert status == 200
        analyzer, http, sparql, techstack = body["queues"]
        assert body["cursor"] is None
        assert http == {
            "queue": "http",
            "found": True,
            "paused": True,
            "counts": {
                **{"waiting": 3, "active": 1, "delayed": 0, "prioritized": 0, "waiting-children": 0},
                **{"completed": 0, "failed": 1},
            },
            "oldestWaitingSeconds": http["oldestWaitingSeconds"],
            "completedPerMinute": 0,
            "failedPerMinute": 0,
            "workers": None,
            "events": 0,
            "maxEvents": 10000,
            "retentionSeconds": None,
            "problem": None,
        }
        assert (sparql["events"], sparql["maxEvents"], sparql["retentionSeconds"]) == (200, 101, 3.98)
        assert [each["found"] for each in (sparql, techstack, analyzer)] == [True, False, False]


async def test_a_queue_that_is_not_read_says_why(redis: Redis) -> None:
    redis.client.set("bull:http:events", "no stream")
    async with live_bridge(redis.url) as live:
        analyzer, http, *others = (await call("GET", live.url + "/queues"))[1]["queues"]
        assert "WRONGTYPE" in http["problem"]
        assert {each["problem"] for each in (analyzer, *others)} == {None}
        assert http["events"] == 0


@pytest.mark.parametrize("state", ["completed", "failed", "delayed", "prioritized", "waiting-children"])
async def test_pages_hold_each_job_once_while_others_end(redis: Redis, state: str) -> None:
    for number in range(10):
        redis.add_job("http", str(number), state=state)
        # Three jobs end in each millisecond.
        redis.client.zadd(f"bull:http:{state}", {str(number): 1795435730000 + number // 3})
    async with live_bridge(redis.url) as live:
        seen: list[str] = []
        cursor = ""
        while True:
            status, body = await call("GET", f"{live.url}/queues/http/jobs?state={state}&limit=2{cursor}")
            assert status == 200
            assert {job["state"] for job in body["jobs"]} <= {state}
            seen += [job["jobId"] for job in body["jobs"]]
            redis.add_job("http", f"new{len(seen)}", state=state)
            redis.client.zadd(f"bull:http:{state}", {f"new{len(seen)}": 1795435739999})
            if body["cursor"] is None:
                break
            cursor = f"&cursor={body['cursor']}"
        assert seen == ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]


@pytest.mark.parametrize(("state", "key"), [("waiting", "wait"), ("active", "active")])
async def test_pages_of_lists(redis: Redis, state: str, key: str) -> None:
    for number in range(5):
        redis.add_job("http", str(number), state=key)
    async with live_bridge(redis.url) as live:
        base = f"{live.url}/queues/http/jobs?state={state}"
        _, first = await call("GET", base + "&limit=3")
        _, second = await call("GET", f"{base}&limit=3&cursor={first['cursor']}")
        assert [job["jobId"] for job in first["jobs"] + second["jobs"]] == ["4", "3", "2", "1", "0"]
        assert second["cursor"] is None
        assert (await call("GET", base.replace(state, "failed")))[1] == {"jobs": [], "cursor": None}


async def test_metrics_count_what_passes(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", "1")
        redis.add_event("http", "completed", "1", returnvalue="1")
        await client.receive()
        redis.add_event("http", "completed", "2", returnvalue="1")
        await eventually(lambda: live.bridge.fanout.counts["entries"] == 2)
        redis.add_job("http", "3", state="completed", finishedOn=1, returnvalue="1")
        await client.ask("subscribe-job", ["2", "3"])
        assert {"~" in (await client.receive())["id"] for _ in range(2)} == {True, False}
        redis.add_job("http", "4", state="active")
        redis.client.rpush("bull:http:4:logs", "a", "b")
        await client.ask("subscribe-job", {"jobId": "4", "queue": "http", "logs": True})
        assert (await client.receive())["event"] == "job-log"

        def scrape() -> dict[str, float]:
            with urllib.request.urlopen(live.url + "/metrics", timeout=60) as response:
                text = response.read().decode()
            families = text_string_to_metric_families(text)
            return {
                sample.name + "".join(sample.labels.values()): sample.value
                for each in families
                for sample in each.samples
            }

        found = await anyio.to_thread.run_sync(scrape)
        assert (found["jobws_connections"], found["jobws_entries_total"], found["jobws_deliveries_total"]) == (1, 2, 1)
        ways = {name: found[f"jobws_{name}_total"] for name in ("held", "replayed", "from_hash", "gaps")}
        assert ways == {"held": 0, "replayed": 1, "from_hash": 1, "gaps": 0}
        assert found["jobws_job_log_lines_total"] == 2
        assert not [name for name in found if name.startswith("jobws_anomalies")]
        assert 0 <= found["jobws_seconds_since_readhttp"] < 5
        assert found["jobws_stream_reader_crashes_total"] == 0
        assert found["process_resident_memory_bytes"] > 0


def _fetch(method: str, url: str, **headers: str) -> tuple[int, dict[str, str], str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return (
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                response.read().decode(),
            )
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {}, error.read().decode()


PATHS = [
    *("/jobs/http/1", "/jobs/1", "/jobs?jobId=1", "/jobs/http", "/analyze/http", "/lookup", "/queues"),
    *("/queues/http/jobs", "/queue-jobs", "/healthz", "/readyz", "/metrics", "/openapi.json"),
    *("/", "/page.js", "/jobws.js", "/jobws-http.js", "/jobws-all.js", "/jobws-queues.js", "/elements.js"),
    "/src/jobws.js",
]


async def test_allowed_origins_may_read_every_route(redis: Redis) -> None:
    redis.add_job("http", "1")
    origin = "https://app.example"
    allowed = (origin, "moz-extension://*")
    async with live_bridge(redis.url, allowed_origins=allowed) as live:
        for path in PATHS:
            asking = partial(
                _fetch,
                "OPTIONS",
                live.url + path,
                Origin=origin,
                Access_Control_Request_Method="POST",
                Access_Control_Request_Headers="content-type, idempotency-key",
            )
            status, headers, _ = await anyio.to_thread.run_sync(asking)
            assert (status, headers["access-control-allow-origin"]) == (200, origin)
        for each in (origin, "moz-extension://0b1e"):
            asking = partial(_fetch, "GET", live.url + "/jobs/http/1", Origin=each)
            assert (await anyio.to_thread.run_sync(asking))[1]["access-control-allow-origin"] == each
        asking = partial(_fetch, "GET", live.url + "/jobs/http/1", Origin="https://evil.example")
        status, headers, _ = await anyio.to_thread.run_sync(asking)
        assert "access-control-allow-origin" not in headers


async def test_a_refused_preflight_says_what_to_allow(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        asking = partial(
            _fetch,
            "OPTIONS",
            live.url + "/analyze/http",
            Origin="http://localhost:5173",
            Access_Control_Request_Method="POST",
        )
        status, _, body = await anyio.to_thread.run_sync(asking)
        assert (status, body) == (
            403,
            "origin http://localhost:5173 refused; allow it with --allow-origin http://localhost:5173\n",
        )


async def test_no_queue_is_labelled_as_every_queue(redis: Redis) -> None:
    """A right to `*` is one to every queue, and no scope can name a queue of that label alone."""
    redis.make_queue("*")
    redis.make_queue("a")
    async with live_bridge(redis.url, queues=("*",)) as live:
        assert [each["queue"] for each in (await call("GET", live.url + "/queues"))[1]["queues"]] == ["a"]
        for path in ("/jobs/*", "/analyze/*"):
            status, body = await call("POST", live.url + path, {"data": 1})
            assert (status, body["code"]) == (404, "unknown-queue")
