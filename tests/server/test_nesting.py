"""JSON at the limit of nesting, one level deeper, and 100,000 levels deep, wherever a bridge gets JSON."""

from __future__ import annotations

import json
import urllib.parse
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import pytest

from jobws.protocol.nesting import MAX_LEVELS
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.event_source import event_source, poll
from tests.support.http import JSON, call
from tests.support.log_lines import NDJSON, entries
from tests.support.nested import nested_list, nested_text

if TYPE_CHECKING:
    from tests.support.redis import Redis

TOO_DEEP = "the JSON is nested too deep; it may have 512 levels"
BEYOND = pytest.mark.parametrize("beyond", [MAX_LEVELS + 1, 100_000])
# Text before the lists that msgspec refuses, so that Python's parser reads them.
SURROGATE = r'"\ud800",'


@pytest.mark.parametrize("path", ["/ws", "/logs"])
@BEYOND
async def test_a_message(redis: Redis, path: str, beyond: int) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url, path=path) as client:
        for levels, strange in ((MAX_LEVELS, ""), (beyond, ""), (MAX_LEVELS, SURROGATE), (beyond, SURROGATE)):
            await client.send_raw('{"event":"ping","data":[' + strange + nested_text(levels - 2) + "]}")
            answer = await client.receive()
            if levels == MAX_LEVELS:
                assert answer["event"] == "pong"
            else:
                assert (answer["event"], answer["data"]) == ("error", {"code": "too-deep", "message": TOO_DEEP})


@BEYOND
async def test_a_job_s_data(redis: Redis, beyond: int) -> None:
    async with live_bridge(redis.url) as live:
        for path, body, own in (("/analyze/http", "%s", 0), ("/jobs/http", '{"data":%s}', 1)):
            text = nested_text(MAX_LEVELS - own)
            status, answer = await call("POST", live.url + path, (body % text).encode())
            assert status == 202, answer
            stored = redis.client.hget(f"bull:http:{answer['jobId']}", "data")
            assert json.loads(stored or b"") == json.loads(text)
            status, answer = await call("POST", live.url + path, (body % nested_text(beyond - own)).encode())
            assert (status, answer["code"], answer["detail"]) == (400, "too-deep", TOO_DEEP)
        status, answer = await call("POST", f"{live.url}/lookup", nested_text(beyond).encode())
        assert (status, answer["code"]) == (400, "too-deep")


@BEYOND
async def test_requests_over_http(redis: Redis, beyond: int) -> None:
    """The list of requests does not count as a level."""
    async with live_bridge(redis.url) as live:
        request = '[{"event":"ping","ref":"deep","data":%s}]'
        frames = await poll(live.url, (request % nested_text(MAX_LEVELS - 1)).encode())
        assert [frame["event"] for frame in frames if frame.get("ref") == "deep"] == ["pong"]
        status, answer = await call("POST", f"{live.url}/events", (request % nested_text(beyond - 1)).encode())
        assert (status, answer["code"], answer["detail"]) == (400, "too-deep", TOO_DEEP)


@pytest.mark.parametrize(("content_type", "form"), [(JSON, "%s"), (JSON, "[%s]"), (NDJSON, '{"message":"m"}\n%s')])
@BEYOND
async def test_records_of_the_log(redis: Redis, content_type: str, form: str, beyond: int) -> None:
    record = '{"message":"deep","fields":{"a":%s}}'
    async with live_bridge(redis.url) as live, raw_client(live.url, path="/logs") as client:
        assert (await client.ask("subscribe-logs", {"text": "deep"}))["event"] == "ack"
        body = form % (record % nested_text(MAX_LEVELS - 2))
        assert (await call("POST", f"{live.url}/logs", body.encode(), content_type))[0] == 202
        assert (await client.receive())["data"]["fields"] == {"a": nested_list(MAX_LEVELS - 2)}
        told = len(entries(redis))
        body = form % (record % nested_text(beyond - 2))
        status, answer = await call("POST", f"{live.url}/logs", body.encode(), content_type)
        if content_type == NDJSON:
            assert answer == {
                **{"accepted": 1, "rejected": 1},
                "errors": [{"line": 2, "code": "too-deep", "message": TOO_DEEP}],
            }
        else:
            assert (status, answer["code"], answer["detail"]) == (400, "too-deep", TOO_DEEP)
            assert len(entries(redis)) == told


@BEYOND
async def test_fields_of_a_line(redis: Redis, beyond: int) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url, path="/logs") as client:
        assert (await client.ask("subscribe-logs"))["event"] == "ack"
        redis.add_log("deep", fields='{"a":' + nested_text(MAX_LEVELS - 1) + "}")
        assert (await client.receive())["data"]["fields"] == {"a": nested_list(MAX_LEVELS - 1)}
        deep = '{"a":' + nested_text(min(beyond, 32_000) - 1) + "}"  # of 64 KiB at most
        redis.add_log("deeper", fields=deep)
        assert (await client.receive())["data"]["fields"] == {"fields": deep}
        redis.add_log("without end", fields='{"a":' + nested_text(100_000))
        assert (await client.receive())["data"]["fields"] == {"truncated": True}


@BEYOND
async def test_what_workers_give(redis: Redis, beyond: int) -> None:
    """Results of workers (live, replayed, from the hash, in a snapshot, over HTTP) are JSON up to the limit, and text
    beyond it.
    """
    value, text, deep = nested_list(MAX_LEVELS), nested_text(MAX_LEVELS), nested_text(beyond)
    strange = "[" + SURROGATE + nested_text(beyond - 1) + "]"
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {"jobId": "7", "queue": "http", "events": ["*"]})
        for given, told in ((text, value), (deep, deep), (strange, strange)):
            redis.add_event("http", "progress", "7", data=given)
            assert (await client.receive())["data"]["data"] == told
            redis.add_event("http", "completed", "7", returnvalue=given)
            assert (await client.receive())["data"]["returnvalue"] == told
            async with raw_client(live.url) as late:
                await late.ask("subscribe-job", {"jobId": "7", "queue": "http"})
                assert (await late.receive())["data"]["returnvalue"] == told
            query = urllib.parse.urlencode({"queue": "http", "jobId": "7", "wait": "5"})
            assert (await call("GET", f"{live.url}/jobs?{query}"))[1]["returnvalue"] == told
        assert live.bridge.fanout.counts["poison"] == 0
        for job_id, given, shown in (("8", text, value), ("9", deep, deep)):
            redis.add_job("http", job_id, state="completed", finishedOn="1", returnvalue=given, progress=given)
            ack = await client.ask("subscribe-job", {"jobs": [job_id], "queue": "http"})
            ((job,),) = (result["jobs"] for result in ack["data"]["results"])
            assert job.get("progress") == (shown if given == text else None)
            assert (await client.receive())["data"]["returnvalue"] == shown
            status, job = await call("GET", f"{live.url}/jobs/http/{job_id}")
            assert (status, job["returnvalue"]) == (200, shown)


@BEYOND
async def test_a_position(redis: Redis, beyond: int) -> None:
    """A position that is nested too deep is refused. The head of a request has room for some 6,000 levels."""
    nested = '{"http":' + nested_text(min(beyond, 6_000)) + "}"
    headers: Any = {"Last-Event-ID": urlsafe_b64encode(nested.encode()).decode()}
    async with live_bridge(redis.url) as live, event_source(live.url, "7", queue="http", headers=headers) as source:
        assert source.status == 400
