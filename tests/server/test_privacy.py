"""A value that stands only where a rule names it is in nothing that the bridge sends or logs."""

from __future__ import annotations

import json
import logging
import re
import shlex
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio.to_thread
import pytest

from jobws.protocol.job_log_position import digest
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.client import RawClient, raw_client
from tests.support.documents import block, page
from tests.support.event_source import poll
from tests.support.http import Answer, exchange
from tests.support.recorded import recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.redis import Redis

CORE: Final = "geheimnisvoll7"
SECRET: Final = f'x"{CORE}"\n\u00e9'
PUBLIC: Final = "offen5"
REDACT: Final = (
    *("http:data.user.password", "http:progress.*.token", "http:returnvalue.rows.*.secret", "http:failedReason"),
    *("http:logs", "http:note", "http:name"),
)
DATA: Final = json.dumps({"user": {"password": SECRET, "name": PUBLIC}})
PROGRESS: Final = json.dumps({PUBLIC: {"token": SECRET}, "done": [1.0]})
ROWS: Final = json.dumps({"rows": [{"secret": SECRET}, {"secret": {"of": [SECRET]}, "n": PUBLIC}]}, ensure_ascii=False)
DOUBLED: Final = f'{{"rows":[{{"secret":"{CORE}","secret":1}}]}}'
LARGE: Final = json.dumps({"rows": [{"secret": SECRET, "n": PUBLIC * 500}]})
TRACE: Final = json.dumps([f"Error: {SECRET}\n at x"])
SUBSCRIPTION: Final = {"jobs": ["1", "2", "3", "4", "5"], "queue": "http", "events": ["*"], "logs": True, "after": {}}
# All requests of `/ws`, as its own sentence has them.
SENT: Final = ("subscribe-job", "unsubscribe-job", "subscribe-queue", "unsubscribe-queue", "ping", "authenticate")
# Each operation of /openapi.json, and what is sent for it; a question mark is followed by what the query is.
REQUESTS: Final[dict[str, list[tuple[str, Any]]]] = {
    "GET /jobs": [
        *(("/jobs?queue=http&jobId=" + job_id, None) for job_id in "12345"),
        *(("/jobs?jobId=1", None), ("/jobs?queue=http&jobId=3&wait=0.01", None), ("/jobs?queue=sparql&jobId=1", None)),
        ("/jobs?queue=http&jobId=1&event=7", None),
    ],
    "POST /jobs": [
        ("/jobs?queue=http", {"data": json.loads(DATA), "name": SECRET}),
        ("/jobs?queue=http", {"data": json.loads(DATA), "opts": {"delay": SECRET}}),
        ("/jobs?queue=http", {"data": json.loads(DATA), "jobId": 7.5}),
    ],
    "GET /jobs/{queue}": [("/jobs/1", None), ("/jobs/none", None)],
    "POST /jobs/{queue}": [("/jobs/http", {"data": json.loads(DATA), "jobId": "new"}), ("/jobs/http", [SECRET])],
    "GET /jobs/{queue}/{jobId}": [("/jobs/http/1", None), ("/jobs/http/2?wait=0.01", None), ("/jobs/http/3", None)],
    "DELETE /jobs/{queue}/{jobId}": [("/jobs/http/new", None), ("/jobs/http/new", None)],
    "POST /jobs/{queue}/{jobId}/retry": [("/jobs/http/5/retry", None), ("/jobs/http/1/retry", None)],
    "POST /jobs/{queue}/{jobId}/promote": [("/jobs/http/2/promote", None)],
    "GET /jobs/{queue}/{jobId}/logs": [("/jobs/http/1/logs", None), ("/jobs/http/1/logs?start=-1", None)],
    "GET /job-logs": [("/job-logs?queue=http&jobId=1", None), ("/job-logs?queue=sparql&jobId=1", None)],
    "GET /events": [("/events?job=1&job=2&job=4&queue=http&events=*&logs=1&until=end", None)],
    "POST /events": [("/events?wait=0", [{"event": "subscribe-job", "data": SUBSCRIPTION}])],
    "POST /analyze/{queue}": [("/analyze/http", json.loads(DATA))],
    "POST /lookup": [("/lookup", {"jobs": ["1", "2", "3", "4", "5"], "queue": "http"}), ("/lookup", ["1"])],
    "POST /logs": [("/logs", {"message": PUBLIC}), ("/logs", [{"message": 7}, {"level": SECRET, "message": ""}])],
    "GET /whoami": [("/whoami", None)],
    "GET /queues": [("/queues", None)],
    "GET /queues/{queue}/jobs": [
        (f"/queues/http/jobs?state={state}", None) for state in ("waiting", "active", "completed", "failed", "none")
    ],
    "GET /queue-jobs": [("/queue-jobs?queue=http&state=completed", None), ("/queue-jobs?queue=http", None)],
    "POST /queues/{queue}/retry": [("/queues/http/retry", None)],
    "POST /queues/{queue}/pause": [("/queues/http/pause", None)],
    "POST /queues/{queue}/resume": [("/queues/http/resume", None)],
    "POST /actions": [("/actions?action=retry&queue=http&jobId=1", None), ("/actions?action=x", None)],
    "GET /healthz": [("/healthz", None)],
    "GET /readyz": [("/readyz", None)],
    "GET /metrics": [("/metrics", None)],
    "GET /": [("/", None)],
    "GET /page.js": [("/page.js", None)],
    "GET /page.css": [("/page.css", None)],
    "GET /page.svg": [("/page.svg", None)],
    "GET /jobws.js": [("/jobws.js", None)],
    "GET /jobws-http.js": [("/jobws-http.js", None)],
    "GET /jobws-all.js": [("/jobws-all.js", None)],
    "GET /jobws-queues.js": [("/jobws-queues.js", None)],
    "GET /elements.js": [("/elements.js", None)],
    "GET /src/{module}": [("/src/errors.js", None)],
    "GET /src/elements/{module}": [("/src/elements/job.js", None)],
}


def forms() -> list[bytes]:
    """What the secret may look like. It has a part without any character that is escaped."""
    core = CORE.encode()
    # In base64 a text has one of three places. What depends on the bytes beside it is cut off.
    places = [b64encode(bytes(shift) + core)[4 if shift else 0 : -4] for shift in range(3)]
    return [core, core.hex().encode(), *places, urlsafe_b64encode(digest(SECRET.encode()))]


def fill(redis: Redis) -> None:
    """Write jobs in several states, and lines of logs. Queue `http` has rules, and `sparql` does not show results."""
    one = {"name": SECRET, "data": DATA, "progress": PROGRESS, "returnvalue": ROWS, "finishedOn": "5"}
    redis.add_job("http", "1", state="completed", **one)
    redis.add_job("http", "2", state="failed", data=DATA, failedReason=SECRET, stacktrace=TRACE, finishedOn=6)
    redis.add_job("http", "3", state="active", data=DATA, progress=PROGRESS, failedReason=SECRET)
    redis.add_job("http", "4", state="completed", returnvalue=DOUBLED, finishedOn=7)
    redis.add_job("http", "5", state="failed", failedReason=SECRET, stacktrace=TRACE, finishedOn=6)
    redis.add_job("sparql", "1", state="completed", returnvalue=f'"{CORE}"', finishedOn=5)
    redis.add_job("open", "1", state="completed", data=f'"{PUBLIC}"', returnvalue=f'"{PUBLIC}"', finishedOn=5)
    for queue, line in (("http", SECRET), ("sparql", PUBLIC)):
        redis.client.rpush(f"bull:{queue}:1:logs", line, line)
    redis.client.rpush("bull:http:3:logs", SECRET)
    redis.add_log(SECRET, queue="http", jobId="1", fields=json.dumps({"secret": SECRET}), more=SECRET)
    redis.add_log(PUBLIC, queue="open", fields=json.dumps({"x": PUBLIC}))


def happen(redis: Redis) -> list[str]:
    """Write events. Return the id of one that is too large for a frame."""
    redis.add_event("http", "added", "3", name=SECRET)
    redis.add_event("http", "progress", "3", data=PROGRESS)
    redis.add_event("http", "progress", "3", data=f'{{"a": {SECRET}')
    redis.add_event("http", "mine", "3", note=SECRET, returnvalue=ROWS, other=PUBLIC)
    redis.add_event("http", "cleaned", None, count=1, note=SECRET)
    large = [redis.add_event("http", "completed", job_id, returnvalue=LARGE) for job_id in ("3", "gone")]
    redis.add_event("http", "failed", "3", failedReason=SECRET)
    redis.add_event("sparql", "completed", "1", returnvalue=f'"{CORE}"', prev="active")
    redis.add_event("open", "completed", "1", returnvalue=f'"{PUBLIC}"')
    redis.add_event("open", "progress", "1", data='"the end"')
    return large


def send_all(url: str) -> dict[str, list[Answer]]:
    """Send every request over HTTP."""
    return {
        operation: [exchange(operation.split()[0], url + path, body, {}) for path, body in sent]
        for operation, sent in REQUESTS.items()
    }


async def follow(client: RawClient, redis: Redis) -> list[str]:
    """Send every request of `/ws`, and let events happen. Return the ids of those that are too large for a frame."""
    refused = (await client.ask("none", SECRET))["data"]["message"]
    assert refused == f"unknown event; this bridge knows {', '.join(SENT)}"
    await client.ask("subscribe-job", SUBSCRIPTION)
    for queue in ("http", "sparql", "open"):
        await client.until_answered("subscribe-queue", {"queue": queue, "sub": queue, "events": ["*"]})
    large = happen(redis)
    redis.client.rpush("bull:http:3:logs", SECRET)
    await client.until("progress", data="the end")
    await client.until_answered("ping")
    await client.until_answered("unsubscribe-queue", "http")
    await client.until_answered("unsubscribe-job", SUBSCRIPTION)
    await client.until_answered("authenticate", {"token": "a.b.c"})
    await client.send_raw(f'{{"event": "{CORE[:6]}')
    await client.until("error", code="bad-json")
    return large


class Told(NamedTuple):
    """What a bridge told: every byte that it sent or logged, and the answers by operation, with some others."""

    everything: bytes
    answers: dict[str, list[Any]]
    line: dict[str, Any]
    large: list[Any]


async def ask_everything(
    redis: Redis, log: pytest.LogCaptureFixture, redact: Sequence[str] = REDACT, no_results: Sequence[str] = ("sparql",)
) -> Told:
    """Use every route and every request of a bridge."""
    log.set_level(logging.DEBUG)
    fill(redis)
    async with (
        live_bridge(
            redis.url,
            queues=("http", "sparql", "open"),
            redact=redact,
            no_results=no_results,
            show_data=("*",),
            show_stacktraces=("*",),
            allow_actions=True,
            max_result_bytes=2000,
        ) as live,
        recorded(live.url) as (url, sent),
    ):
        async with raw_client(url) as client:
            large = await follow(client, redis)
        async with raw_client(url, path="/logs") as lines:
            await lines.until_answered("subscribe-logs", {"tail": 100, "text": CORE})  # nor can it be searched
            await lines.until_answered("subscribe-logs", {"tail": 100, "queue": "http"})
            *_, line = await lines.until("log")
            redis.add_log(SECRET, queue="http")
            await lines.until("log")
        answers = await anyio.to_thread.run_sync(send_all, url)
        assert REQUESTS.keys() == operations(await get(url, "/openapi.json"))
        frames = await poll(url, [{"event": "subscribe-job", "data": SUBSCRIPTION}])
        whole = [
            await get(url, f"/jobs?queue=http&jobId={job_id}&event={stream_id}")
            for stream_id, job_id in zip(large, ("3", "gone"), strict=True)
        ]
    bodies = [answer.body for of_operation in answers.values() for answer in of_operation]
    everything = b"\n".join([*sent, *bodies, json.dumps(frames).encode(), log.text.encode()])
    contents = {operation: [answer.content() for answer in found] for operation, found in answers.items()}
    return Told(everything, contents, line["data"], whole)


async def test_a_redacted_value_is_nowhere(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    told = await ask_everything(redis, caplog)
    assert [form for form in forms() if form in told.everything] == []
    check_what_is_shown(told.answers)
    assert told.line.keys() == {"time", "level", "source", "message", "queue", "jobId"}
    rows = [{"secret": "[redacted]", "n": PUBLIC * 500}]
    assert [event["returnvalue"] for event in told.large] == [{"rows": rows}] * 2
    assert len(told.everything.split(b"[redacted]")) > 50
    assert len(told.everything.split(PUBLIC.encode())) > 50


@pytest.mark.parametrize("rule", [*REDACT, None])
async def test_without_one_of_the_rules_it_is_found(
    redis: Redis, caplog: pytest.LogCaptureFixture, rule: str | None
) -> None:
    """None stands for the queue whose results are not shown."""
    redact = [each for each in REDACT if each != rule]
    told = await ask_everything(redis, caplog, redact, () if rule is None else ("sparql",))
    assert CORE.encode() in told.everything


async def get(url: str, path: str) -> Any:
    return (await anyio.to_thread.run_sync(exchange, "GET", url + path, None, {})).content()


def operations(document: Any) -> set[str]:
    return {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}


def check_what_is_shown(answers: dict[str, list[Any]]) -> None:
    """Everything beside the secret is told."""
    one, failed, active, doubled, *_ = answers["GET /jobs"]
    assert (one["name"], one["data"]) == ("[redacted]", {"user": {"password": "[redacted]", "name": PUBLIC}})
    assert one["returnvalue"] == {"rows": [{"secret": "[redacted]"}, {"secret": "[redacted]", "n": PUBLIC}]}
    assert (failed["failedReason"], "stacktrace" in failed) == ("[redacted]", False)
    assert active["progress"] == {PUBLIC: {"token": "[redacted]"}, "done": [1.0]}
    assert (doubled["state"], "returnvalue" in doubled, doubled["data"]) == ("completed", False, {})
    jobs = {job["queue"]: job for job in answers["GET /jobs/{queue}"][0]["jobs"]}
    assert jobs["http"] == one | {"at": jobs["http"]["at"]}
    assert (jobs["open"]["returnvalue"], jobs["open"]["data"]) == (PUBLIC, PUBLIC)
    assert (jobs["sparql"]["state"], "returnvalue" in jobs["sparql"]) == ("completed", False)
    assert [found["lines"] for found in answers["GET /job-logs"]] == [["[redacted]"] * 2, [PUBLIC] * 2]


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, {}),
        ({"show_data": ("http",)}, {"data": {"x": 1}}),
        ({"show_data": ("*",), "show_stacktraces": ("http",)}, {"data": {"x": 1}, "stacktrace": ["at x"]}),
        ({"show_data": ("open",)}, {}),
    ],
)
async def test_data_and_stack_traces_are_shown_where_somebody_asked_for_it(
    redis: Redis, settings: dict[str, Any], shown: dict[str, Any]
) -> None:
    """Only in look-ups of single jobs over HTTP."""
    fields = {"data": '{"x":1}', "stacktrace": '["at x"]', "failedReason": "y"}
    redis.add_job("http", "1", state="failed", **fields)
    async with live_bridge(redis.url, queues=("http", "open"), **settings) as live:

        def looked_up() -> list[Any]:
            paths = ("/jobs/http/1", "/jobs?queue=http&jobId=1", "/jobs/1")
            first, second, third = (exchange("GET", live.url + path, None, {}).content() for path in paths)
            listed = exchange("GET", live.url + "/queues/http/jobs?state=failed", None, {}).content()
            found = exchange("POST", live.url + "/lookup", "1", {}).content()
            return [first, second, *third["jobs"], *listed["jobs"], *found["results"][0]["jobs"]]

        *whole, listed, found = await anyio.to_thread.run_sync(looked_up)
        for job in whole:
            assert {name: job[name] for name in fields if name in job} == {**shown, "failedReason": "y"}
        async with raw_client(live.url) as client:
            (acknowledged,) = (await client.ask("subscribe-job", "1"))["data"]["jobs"]
        for job in (listed, found, acknowledged):
            assert not job.keys() & fields.keys()


async def test_the_command_of_the_docs(redis: Redis) -> None:
    _, _, *flags = shlex.split(block("sh", "--redact"))
    before, after = re.findall(r'`(\{"rows": .*?\]\})`', page("docs/privacy.md"))
    redis.add_job("http", "1", state="completed", returnvalue=before, finishedOn=1)
    with BridgeProcess("--port", "0", "--redis", redis.url, *flags) as bridge:
        url = await anyio.to_thread.run_sync(bridge.started)
        assert (await get(url, "/jobs/http/1"))["returnvalue"] == json.loads(after)
