"""A value that stands only where a rule names it is in nothing that the bridge sends or logs."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.client import raw_client
from tests.support.documents import block, page
from tests.support.everything import CORE, PUBLIC, REDACT, ask_everything, forms, get
from tests.support.http import exchange

if TYPE_CHECKING:
    from tests.support.redis import Redis


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


# The ways on which the value comes if no rule hides it. On all others nothing of a job's or a line's is sent.
TELLING = {
    *("/ws", "/logs", "GET /events", "GET /events of a queue", "POST /events"),
    *("GET /jobs", "GET /jobs that waits", "GET /jobs of an event", "GET /jobs/{queue}", "GET /jobs/{queue}/{jobId}"),
    *("POST /lookup", "GET /queues/{queue}/jobs", "GET /queue-jobs", "GET /jobs/{queue}/{jobId}/logs", "GET /job-logs"),
}


async def test_without_any_rule_it_comes_on_every_way_that_tells_of_jobs(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """So the search on these ways is no search of what could not have it."""
    told = await ask_everything(redis, caplog, (), ())
    assert {way for way, sent in told.ways.items() if CORE.encode() in sent} == TELLING


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
