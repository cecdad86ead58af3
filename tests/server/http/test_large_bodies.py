"""Large bodies of `POST /jobs`, `/analyze` and `/lookup`: they are checked, and built only where they must be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from jobws.protocol.nesting import MAX_BODY_MARKS
from tests.bench.steps import Recorder
from tests.support.bridge import live_bridge
from tests.support.http import call

if TYPE_CHECKING:
    from tests.support.redis import Redis

MIB = 1 << 20
# As many lists and commas as a body may have. The first takes longest to build.
DEEP = "[" + ",".join(["[" * 200 + "]" * 200] * (MAX_BODY_MARKS // 201 - 1)) + "]"
LISTS = "[" + "[]," * (MAX_BODY_MARKS // 2 - 10) + "[]]"
JUNK = "x" * 70_000
# From how many milliseconds on a step is too long. With the values that are not built, it takes 12 to 60.
TOO_LONG = 10


@pytest.mark.parametrize("data", [DEEP, LISTS, '"' + "é\\n" * 100_000 + '"', f' {{"a" : ["{JUNK}" ,\r\n1]}} '])
async def test_data_is_stored_as_it_came(redis: Redis, data: str) -> None:
    async with live_bridge(redis.url) as live:
        for path, body in (("/analyze/http", data), ("/jobs/http", f'{{"name":"n","data":{data}}}')):
            status, answer = await call("POST", live.url + path, body.encode())
            assert status == 202, answer
            stored = redis.client.hmget(f"bull:http:{answer['jobId']}", "name", "data")
            assert stored == [b"n" if "jobs" in path else b"job", data.strip().encode()]


JOBS = json.dumps([{"jobId": f"{number}", "junk": "x" * 100} for number in range(1000)])
NO_JOB = "expected an object with `jobId`, this one has none"
SURROGATES = "lone surrogates are read in up to 65536 characters, this has"
RESULTS: list[tuple[str, list[str | None]]] = [
    (JOBS, [None] * 1000),
    (f'{{"jobs":{JOBS},"queue":"http"}}', [None] * 1000),
    (f'{{"jobs":["1",{{"jobId":2}},3],"queue":"http","junk":{LISTS}}}', [None] * 3),
    (f'["1",{{"jobId":"1","junk":{LISTS[:78001]}[]]}},7]', [None, NO_JOB, None]),
    (f'{{"jobId":"1","junk":{DEEP}}}', [None]),
]


@pytest.mark.parametrize(("body", "errors"), RESULTS, ids=["list", "object", "junk beside", "junk within", "one"])
async def test_jobs_are_found_in_a_large_body(redis: Redis, body: str, errors: list[str | None]) -> None:
    redis.add_job("http", "1", state="active")
    async with live_bridge(redis.url) as live:
        status, answer = await call("POST", live.url + "/lookup", body.encode())
        assert status == 200, answer
        assert [each.get("error", {}).get("message") for each in answer["results"]] == errors
        found = [job["jobId"] for each in answer["results"] for job in each.get("jobs", ())]
        assert found == ["1"]


REFUSED: list[tuple[str, str, str]] = [
    ("/lookup", f'{{"jobs":{{"a":{DEEP}}}}}', "`jobs` must be a list, not an object"),
    ("/lookup", f'{{"jobs":"{JUNK}"}}', "`jobs` must be a list, not a string"),
    ("/lookup", f'{{"junk":"{JUNK}"}}', NO_JOB),
    ("/lookup", f'"{JUNK}"', "bad job id: it has 70000 bytes of UTF-8, the limit is 512"),
    ("/lookup", f"[{'0,' * 100_001}0]", "the body may have 100000 commas, this one has 100001"),
    ("/lookup", f'{{"jobs":[{"0," * 40_000}0]}}', "`jobs` may have 1000 items, this one has 40001"),
    ("/lookup", f'{{"jobs":["{JUNK}"]', "the body is no JSON (Input data was truncated); " + SURROGATES),
    ("/jobs/http", f'{{"data":"{JUNK}"', "the body is no JSON (Input data was truncated); " + SURROGATES),
    ("/jobs/http", f'{{"data":"{JUNK}\\ud800"}}', "the body is no JSON ("),
    ("/jobs/http", f'{{"data":"{JUNK}","opts":{{"delay":"5"}}}}', "`opts.delay`: Expected `int`, got `str`"),
    ("/jobs/http", f'{{"name":"{JUNK}"}}', "the body: Object missing required field `data`"),
    *(
        (path, "[" + "[]," * (MIB // 3 - 40) + "[]]", "the body may have 200000 lists, objects and commas outside of")
        for path in ("/lookup", "/logs", "/analyze/http", "/jobs/http")
    ),
    ("/analyze/http", "[" * 70_000, "the JSON is nested too deep; it may have 512 levels"),
]


@pytest.mark.parametrize(("path", "body", "sentence"), REFUSED)
async def test_a_large_body_that_is_refused(redis: Redis, path: str, body: str, sentence: str) -> None:
    async with live_bridge(redis.url) as live:
        status, answer = await call("POST", live.url + path, body.encode())
        assert status == 400
        assert answer["detail"].startswith(sentence), answer["detail"]


async def test_no_step_is_long(redis: Redis) -> None:
    bodies: list[tuple[str, str]] = [
        *(("/analyze/http", data) for data in (DEEP, LISTS)),
        *(("/jobs/http", f'{{"data":{data}}}') for data in (DEEP, LISTS)),
        *(("/lookup", body) for body, _ in RESULTS),
        *((path, body) for path, body, _ in REFUSED),
    ]
    async with live_bridge(redis.url) as live:
        longest: dict[int, Any] = {}
        for number, (path, body) in enumerate(bodies):
            recorder = Recorder()
            trio.lowlevel.add_instrument(recorder)
            await call("POST", live.url + path, body.encode())
            trio.lowlevel.remove_instrument(recorder)
            if (step := recorder.take())["longest"] > TOO_LONG:
                longest[number] = step
        assert longest == {}
