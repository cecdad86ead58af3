"""Submit, state and result over HTTP, for programs without a WebSocket."""

from __future__ import annotations

import json
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from jobws.server.intervals import Intervals
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import JSON, call

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_the_walk_from_submitting_to_the_outcome(redis: Redis) -> None:
    """POST → 202 with the id → subscribe → completed, and then the result over HTTP."""
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        status, body = await call("POST", live.url + "/analyze/techstack", {"path": "é💥", "n": [1, None]})
        assert (status, body["queue"], body["existing"]) == (202, "techstack", False)
        job_id = body["jobId"]
        assert json.loads(redis.client.hget(f"bull:techstack:{job_id}", "data") or b"") == {
            "path": "é💥",
            "n": [1, None],
        }
        ack = await client.ask("subscribe-job", {"jobId": job_id, "queue": "techstack"})
        assert ack["data"]["jobs"][0]["state"] == "waiting"
        redis.client.lrem("bull:techstack:wait", 1, job_id)
        redis.client.hset(f"bull:techstack:{job_id}", mapping={"returnvalue": '{"x":1}', "finishedOn": "5"})
        redis.client.zadd("bull:techstack:completed", {job_id: 5})
        redis.add_event("techstack", "completed", job_id, returnvalue='{"x":1}')
        assert (await client.receive())["data"]["returnvalue"] == {"x": 1}
        status, job = await call("GET", live.url + body["links"]["job"])
        assert (status, job["state"], job["returnvalue"], job["jobId"]) == (200, "completed", {"x": 1}, job_id)


async def test_a_submit_is_what_bullmq_would_write(redis: Redis) -> None:
    async with live_bridge(redis.url, queues=("shown={my:app}:hidden",)) as live:
        body = {"name": "näme", "data": [1], "jobId": "mine", "opts": {"attempts": 3, "priority": 2}}
        assert (await call("POST", live.url + "/jobs/shown", body))[0] == 202
        job = redis.client.hgetall("{my:app}:hidden:mine")
        assert (job[b"name"], job[b"data"], job[b"priority"]) == ("näme".encode(), b"[1]", b"2")
        assert json.loads(job[b"opts"])["attempts"] == 3
        status, again = await call("POST", live.url + "/jobs/shown", body)
        assert (status, again["existing"]) == (202, True)
        entries: Any = redis.client.xrange("{my:app}:hidden:events")
        events = [fields[b"event"] for _, fields in entries]
        assert events == [b"added", b"waiting", b"duplicated"]


async def test_a_repeated_submit_makes_one_job(redis: Redis) -> None:
    """Also while Redis is silent for longer than redis-py waits before it tries again."""
    async with live_bridge(redis.url) as live:
        submit = partial(call, "POST", live.url + "/jobs/http", {"data": 1}, Idempotency_Key="k")
        first = (await submit())[1]["jobId"]
        redis.client.client_pause(7000, all=False)
        status, body = await submit()
        assert (status, body["jobId"]) == (202, first)
        assert (await submit())[1]["jobId"] == first
        other = (await call("POST", live.url + "/jobs/sparql", {"data": 1}, Idempotency_Key="k"))[1]["jobId"]
        assert other != first
        assert redis.client.lrange("bull:http:wait", 0, -1) == [first.encode()]


async def test_state_and_result_by_each_form(redis: Redis) -> None:
    redis.add_job("http", "1", state="failed", finishedOn="5", failedReason="no such page")
    redis.add_job("sparql", "1", failedReason="will be tried again")
    async with live_bridge(redis.url) as live:
        status, job = await call("GET", live.url + "/jobs/http/1")
        assert (status, job["state"], job["failedReason"]) == (200, "failed", "no such page")
        status, body = await call("GET", live.url + "/jobs/1")
        assert [(job["queue"], job["state"], job.get("failedReason")) for job in body["jobs"]] == [
            ("http", "failed", "no such page"),
            ("sparql", "waiting", None),
        ]
        status, body = await call("POST", live.url + "/lookup", {"jobs": ["1", "", "2"], "queue": "http"})
        assert [job["state"] for job in body["results"][0]["jobs"]] == ["failed"]
        assert body["results"][1]["error"]["code"] == "bad-job-id"
        assert body["results"][2] == {"jobs": []}


@pytest.mark.parametrize("job_id", ["a/b?c#d", "a:b:c", "é" * 256, "💥 x", "%2F", "..", "a+b"], ids=ascii)
async def test_the_path_never_reads_another_job(redis: Redis, job_id: str) -> None:
    redis.add_job("http", job_id)
    async with live_bridge(redis.url) as live:
        query = urllib.parse.urlencode({"queue": "http", "jobId": job_id})
        status, job = await call("GET", f"{live.url}/jobs?{query}")
        assert (status, job["jobId"]) == (200, job_id)
        status, body = await call("GET", f"{live.url}/jobs/http/{urllib.parse.quote(job_id, safe='')}")
        if "/" in job_id:
            assert (status, body["detail"]) == (
                400,
                "a slash in a job id or a queue needs a form with ?queue=…, such as /jobs?queue=…&jobId=…",
            )
        else:
            assert (status, body["jobId"]) == (200, job_id)


BAD: list[tuple[str, str, object, str, int, str]] = [
    ("POST", "/jobs/nope", {"data": 1}, JSON, 404, "this bridge has no `queue` of that label; GET /queues lists them"),
    ("POST", "/jobs/http", b"{no", JSON, 400, "the body is no JSON (Expecting property name"),
    ("POST", "/jobs/http", b"\xff", JSON, 400, "the body must be JSON in UTF-8"),
    ("POST", "/jobs/http", b"[" * 10_000, JSON, 400, "the JSON is nested too deep; it may have 512 levels"),
    ("POST", "/jobs/http", {"data": "x" * 2**20}, JSON, 413, "the body may have 1048576 bytes"),
    ("POST", "/jobs/http", {"data": 1}, "text/plain", 415, "the body must have the content type application/json"),
    ("POST", "/jobs/http", [1], JSON, 400, "the body: Expected `object`, got `array`"),
    ("POST", "/jobs/http", {"data": 1, "name": ""}, JSON, 400, "`name`: Expected `str` of length >= 1"),
    ("POST", "/jobs/http", {"data": 1, "jobId": 5}, JSON, 400, "`jobId`: Expected `str | null`, got `int`"),
    ("POST", "/jobs/http", {"data": 1, "jobId": "5"}, JSON, 400, "`jobId` must be no integer and hold no colon"),
    ("POST", "/jobs/http", {"data": 1, "jobId": "a:b"}, JSON, 400, "`jobId` must be no integer and hold no colon"),
    ("POST", "/jobs/http", {"data": 1, "jobId": "meta"}, JSON, 400, 'bad job id: "meta" is the name of'),
    ("POST", "/jobs/http", {"data": 1, "opts": 5}, JSON, 400, "`opts`: Expected `object | null`, got `int`"),
    (
        "POST",
        "/jobs/http",
        {"data": 1, "opts": {"jobId": "x"}},
        JSON,
        400,
        "`opts`: Object contains unknown field `jobId`",
    ),
    ("POST", "/lookup", {"jobs": 1}, JSON, 400, "`jobs` must be a list, not a number"),
    ("GET", "/jobs", None, JSON, 400, "`jobId`: expected ?jobId=, and optionally &queue="),
    ("GET", "/jobs/http/none", None, JSON, 404, 'no job of that id in queue "http"; it may have been removed'),
    ("GET", "/jobs/none", None, JSON, 404, "no job of that id in any queue; it may have been removed"),
    ("GET", "/jobs/nope/1", None, JSON, 404, "this bridge has no `queue` of that label; GET /queues lists them"),
    ("GET", "/nowhere", None, JSON, 404, "nothing is served at this path"),
    ("PUT", "/jobs/http", {"data": 1}, JSON, 405, "PUT is not served here; GET and HEAD and POST are"),
    ("GET", "/jobs/http/meta", None, JSON, 400, 'bad job id: "meta" is the name of'),
    ("GET", "/jobs/http/", None, JSON, 404, "nothing is served at this path"),
    ("GET", "/jobs/http/%FF", None, JSON, 400, "the path must be UTF-8, percent-encoded"),
    ("GET", "/jobs?jobId=%FF", None, JSON, 400, "the query must be UTF-8, percent-encoded"),
    ("GET", "/jobs?jobId=1&jobId=2", None, JSON, 400, "`jobId` was given twice"),
    ("POST", "/jobs", {"data": 1}, JSON, 400, "`queue`: expected ?queue=, the label of the job's queue"),
    ("POST", "/jobs/http", {}, JSON, 400, "the body: Object missing required field `data`"),
    ("POST", "/jobs/http", {"data": 1, "name": "\ud800"}, JSON, 400, "`name`: a lone surrogate is no valid Unicode"),
    ("POST", "/jobs/http", {"data": 1, "opts": {"delay": "5"}}, JSON, 400, "`opts.delay`: Expected `int`, got `str`"),
    ("POST", "/jobs/http", {"data": 1, "opts": {"attempts": 0}}, JSON, 400, "`opts.attempts`: Expected `int` >= 1"),
    ("POST", "/jobs/http", b'{"data":1e999}', JSON, 400, "the body is no JSON (a number is out of range)"),
    ("POST", "/jobs/http", b'{"data":NaN}', JSON, 400, "the body is no JSON (NaN is not JSON)"),
    ("POST", "/jobs/http", b'{"data":1,"\\ud800":2}', JSON, 400, "the body: a key holds a lone surrogate, which is no"),
    ("POST", "/lookup", [str(n) for n in range(1001)], JSON, 400, "a list may have 1000 items, this one has 1001"),
    ("POST", "/jobs/a%2Fb", {"data": 1}, JSON, 400, "a slash in a job id or a queue needs a form with ?queue=…"),
    ("GET", "/queues/http%2Fjobs", None, JSON, 400, "a slash in a job id or a queue needs a form with ?queue=…"),
    ("GET", "/queues/nope/jobs?state=failed", None, JSON, 404, "this bridge has no `queue` of that label"),
    ("GET", "/queue-jobs?state=failed", None, JSON, 400, "expected ?queue=…&state=…"),
    ("GET", "/queues/http/jobs", None, JSON, 400, "`state` must be one of waiting, active, delayed, prioritized,"),
    ("GET", "/queues/http/jobs?state=failed&limit=0", None, JSON, 400, "`limit` must be an integer from 1 to 200"),
    ("GET", "/queues/http/jobs?state=failed&cursor=5", None, JSON, 400, "`cursor` must be the one that came with the"),
]


async def test_every_way_of_writing_a_body_ends_in_a_job(redis: Redis) -> None:
    """Also what JSON allows and other encodings do not: lone surrogates, huge integers, deep nesting."""
    bodies = [b'"\\ud800"', b"1" * 400, b"[" * 400 + b"]" * 400, b"null", b'{"jobId":"x","data":[]}', b" 1.0e-7 "]
    async with live_bridge(redis.url) as live:
        for body in bodies:
            status, answer = await call("POST", live.url + "/analyze/http", body)
            assert status == 202, answer
            stored = redis.client.hget(f"bull:http:{answer['jobId']}", "data")
            assert json.loads(stored or b"") == json.loads(body)


async def test_labels_with_slashes_and_colons(redis: Redis) -> None:
    """The form in the path never reads another queue than the one that is named. The other form serves all labels."""
    labels = ("a/b", "a", "b", "a:b", "é💥", "x" * 512)
    async with live_bridge(redis.url, queues=tuple(f"{label}=p:q{i}" for i, label in enumerate(labels))) as live:
        for label in labels:
            body = {"data": label, "jobId": "same"}
            query = urllib.parse.urlencode({"queue": label})
            assert (await call("POST", f"{live.url}/jobs?{query}", body))[0] == 202
            status, job = await call("GET", f"{live.url}/jobs?jobId=same&{query}")
            assert (status, job["queue"]) == (200, label)
            status, job = await call("GET", f"{live.url}/jobs/{urllib.parse.quote(label, safe='')}/same")
            assert (status, job.get("queue")) == ((400, None) if "/" in label else (200, label))
            status, page = await call("GET", f"{live.url}/queue-jobs?state=waiting&jobId=1&jobId=2&{query}")
            assert (status, [job["queue"] for job in page["jobs"]]) == (200, [label])
        for i, label in enumerate(labels):
            assert json.loads(redis.client.hget(f"p:q{i}:same", "data") or b"") == label
        assert (await call("GET", f"{live.url}/jobs/a/b"))[0] == 404


async def test_errors_say_what_is_wrong(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        for method, path, body, content_type, status, detail in BAD:
            answer = await call(method, live.url + path, body, content_type)
            assert answer[0] == answer[1]["status"] == status, (path, body)
            assert answer[1]["detail"].startswith(detail), answer[1]["detail"]
        assert redis.client.keys("bull:*") == []


HEAD = (
    b"POST /analyze/http HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
)


def _exchange(url: str, request: bytes, *, half_close: bool = False) -> bytes:
    """Send these bytes, and return everything that the server sends until it closes the connection."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as sock:
        sock.sendall(request)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(65536):
            answer += data
        return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"garbage\r\n\r\n", b"400"),
        (b"GET /queues HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /queues HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", b"431"),
        ("GET /jobs/http/é HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(), b"400"),
    ],
    ids=["garbage", "no host", "head too long", "not ascii"],
)
async def test_what_is_no_request_gets_a_sentence(redis: Redis, request_: bytes, status: bytes) -> None:
    async with live_bridge(redis.url) as live:
        answer = await anyio.to_thread.run_sync(_exchange, live.url, request_)
        assert answer.split(b" ")[1] == status
        assert b"this is no request of HTTP/1.1, its head is too long, or it has both" in answer
        assert b"\r\nx-content-type-options: nosniff\r\n" in answer


async def test_a_body_that_ends_early_is_no_trouble(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    async with live_bridge(redis.url) as live:
        await anyio.to_thread.run_sync(partial(_exchange, live.url, HEAD + b"{", half_close=True))
        assert (await call("GET", live.url + "/queues"))[0] == 200
    assert "Traceback" not in caplog.text
    assert redis.client.keys("bull:*") == []


async def test_a_slow_body_is_not_waited_for(redis: Redis) -> None:
    async with live_bridge(redis.url, intervals=Intervals(body_seconds=0.1)) as live:
        answer = await anyio.to_thread.run_sync(_exchange, live.url, HEAD)
        assert answer.split(b" ")[1] == b"408"
        assert b"the body must come within 0.1 s" in answer


@pytest.mark.parametrize("origin", ["http://[", "http://[x]y", "null", "http://a:99999999", "//"])
async def test_an_origin_that_is_none_is_refused(redis: Redis, origin: str) -> None:
    async with live_bridge(redis.url) as live:
        request = urllib.request.Request(live.url + "/analyze/http", b"1", {"Content-Type": JSON, "Origin": origin})

        def status() -> int:
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=60)
            with caught.value as answer:
                return answer.code

        assert await anyio.to_thread.run_sync(status) == 403


async def test_jobs_that_wait_for_redis_hold_up_nobody(redis: Redis) -> None:
    """There are more jobs than anyio's 40 threads, and the readers must connect again."""
    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:
        await call("POST", live.url + "/analyze/http", 1)
        redis.client.client_pause(60_000, all=False)
        for _ in range(60):
            tasks.start_soon(
                partial(live.bridge.service.submit, live.bridge.service.labels["http"], "x", 1, str(uuid.uuid4()), {})
            )
        await anyio.sleep(0.5)  # so that they wait. Without this, the test would show less, but not fail.
        redis.client.client_kill_filter(_type="normal", skipme=True)
        with anyio.fail_after(20):
            while (await call("GET", live.url + "/jobs/http/none"))[0] != 404:
                pass
        redis.client.client_unpause()


async def test_queues_are_not_empty_because_redis_refuses(redis: Redis) -> None:
    redis.client.hset("bull:http:meta", "opts.maxLenEvents", "9" * 5000)
    redis.client.acl_setuser("blind", enabled=True, passwords=["+p"], keys=["bull:http:*"], commands=["+@all", "-xlen"])
    async with live_bridge(redis.url.replace("redis://:", "redis://default:")) as live:
        assert (await call("GET", live.url + "/queues"))[0] == 200
    async with live_bridge(f"redis://blind:p@127.0.0.1:{redis.server.port}/0", queues=("http",), ready=False) as live:
        status, body = await call("GET", live.url + "/queues")
        assert status == 503
        assert "Redis cannot tell about queues now: NOPERM" in body["detail"]
    redis.client.acl_deluser("blind")


async def test_a_lookup_may_not_ask_for_everything(redis: Redis) -> None:
    queues = tuple(f"q{number}" for number in range(11))
    async with live_bridge(redis.url, queues=queues) as live:
        status, body = await call("POST", live.url + "/lookup", [str(number) for number in range(1000)])
        assert (status, body["detail"]) == (400, "11000 look-ups (ids times queues); name the `queue` of each id")


async def test_a_redis_that_is_away_is_503(own_redis: Any) -> None:
    redis: Redis = own_redis()
    async with live_bridge(redis.url) as live:
        await anyio.to_thread.run_sync(redis.server.kill)
        status, body = await call("GET", live.url + "/jobs/http/1")
        assert (status, body["code"]) == (503, "unavailable")
        status, body = await call("POST", live.url + "/jobs/http", {"data": 1})
        assert (status, body["code"]) == (503, "unavailable")


async def test_a_foreign_page_cannot_submit(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        request = urllib.request.Request(
            live.url + "/jobs/http", b'{"data":1}', {"Content-Type": JSON, "Origin": "http://evil.example"}
        )

        def refusal() -> tuple[int, bytes]:
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=60)
            with caught.value as answer:
                return answer.code, answer.read()

        status, body = await anyio.to_thread.run_sync(refusal)
        assert status == 403
        assert b"origin http://evil.example refused" in body
        assert redis.client.keys("bull:*") == []


async def test_without_the_extra_a_submit_says_which(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bullmq", None)
    async with live_bridge(redis.url) as live:
        status, body = await call("POST", live.url + "/jobs/http", {"data": 1})
        assert status == 501
        assert body["detail"] == "adding jobs needs an extra on the bridge: pip install 'jobws[submit]'"
