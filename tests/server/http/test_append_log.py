"""`POST /logs` writes valid lines, whatever other lines are in the request, and reports invalid ones."""

from __future__ import annotations

import json
import time
from io import StringIO
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from jobws.errors import RequestError
from jobws.server.http.append_log import MAX_RECORDS, parse_records
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import call
from tests.support.log_lines import NDJSON, entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis


def written(redis: Redis) -> list[str]:
    return [entry["message"] for entry in entries(redis)]


async def test_lines_of_which_one_is_bad(redis: Redis) -> None:
    lines = [
        b'{"message":"one","level":"WARN","source":"api","queue":"http","jobId":"7","time":17,"pid":3,"fields":{"a":1}}',
        b"",
        b'{"message":"two","level":"loud"}',
        b"{",
        '{"message":"thr\u2028ee"}\r'.encode(),
        b"[" * 5000,
        b'{"message":"last"}',
    ]
    async with live_bridge(redis.url) as live:
        status, answer = await call("POST", live.url + "/logs", b"\n".join(lines), NDJSON)
    assert (status, answer["accepted"], answer["rejected"]) == (202, 3, 3)
    assert [(error["line"], error["code"]) for error in answer["errors"]] == [
        *((3, "bad-data"), (4, "bad-json"), (6, "too-deep"))
    ]
    assert answer["errors"][0]["message"] == "`level`: expected one of debug, info, warning, error, critical"
    assert answer["errors"][1]["message"].startswith("the record is no JSON (")
    assert written(redis) == ["one", "thr\u2028ee", "last"]
    assert entries(redis)[0] == {
        **{"message": "one", "level": "warning", "source": "api", "queue": "http", "jobId": "7", "time": "17"},
        **{"fields": '{"pid":3,"a":1}'},
    }


async def test_one_record_gets_the_time_and_a_source(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url, path="/logs") as client:
        assert (await client.ask("subscribe-logs"))["event"] == "ack"
        began = time.time() * 1000 - 1
        assert await call("POST", live.url + "/logs", {"message": "m"}) == (
            202,
            {"accepted": 1, "rejected": 0, "errors": []},
        )
        line = (await client.receive())["data"]
        assert began <= line.pop("time") <= time.time() * 1000
        assert line == {"level": "info", "source": "unknown", "message": "m"}


async def test_a_list_of_records(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        status, answer = await call("POST", live.url + "/logs", [{"message": "a"}, 7, {"message": "b"}])
        assert status == 202
        assert answer == {
            **{"accepted": 2, "rejected": 1},
            "errors": [{"line": 2, "code": "bad-data", "message": "a log record must be an object, not a number"}],
        }
        assert written(redis) == ["a", "b"]
        assert (await call("POST", live.url + "/logs", []))[1]["accepted"] == 0


async def test_many_are_written_in_order_and_the_stream_is_kept_short(redis: Redis) -> None:
    body = b"\n".join(b'{"message":"%d"}' % number for number in range(5000))
    async with live_bridge(redis.url, logs_limit_entries=100) as live:
        assert (await call("POST", live.url + "/logs", body, NDJSON))[1]["accepted"] == 5000
    numbers = [int(message) for message in written(redis)]
    assert 100 <= len(numbers) < 300
    assert numbers == list(range(5000 - len(numbers), 5000))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code", "sentence"),
    [
        (b'{"message":7}', "application/json", 400, "bad-data", "`message`: expected a string, got a number"),
        (b"{", "application/json", 400, "bad-json", "the body is no JSON"),
        (b'{"level":"info"}\n[]', NDJSON, 400, "bad-data", "none of 2 records is valid; 1: `message`: expected a st"),
        (b"[7]", "application/json", 400, "bad-data", "none of 1 records is valid; 1: a log record must be an ob"),
        (b"\xff", NDJSON, 400, "bad-json", "the body must be JSON in UTF-8"),
        (b"x", "text/plain", 415, "bad-content-type", "the body must have the content type application/json or app"),
        (b" " * 1_048_577, NDJSON, 413, "too-large", "the body may have 1048576 bytes"),
        (
            b"[" + b"0," * 10_000 + b"0]",
            "application/json",
            400,
            "too-many",
            "the body may have 10000 records, this one",
        ),
        (b'{"message":""}\n' * 10_001, NDJSON, 400, "too-many", "the body may have 10000 records, this one has 10001"),
    ],
)
async def test_what_is_wrong_is_reported(
    body: bytes, content_type: str, status: int, code: str, sentence: str, redis: Redis
) -> None:
    async with live_bridge(redis.url) as live:
        found, problem = await call("POST", live.url + "/logs", body, content_type)
    assert (found, problem["code"]) == (status, code)
    assert problem["detail"].startswith(sentence)
    assert not written(redis)


async def test_a_hundred_errors_are_named(redis: Redis) -> None:
    body = b'{"message":"good"}\n' + b"{\n" * 5000
    async with live_bridge(redis.url) as live:
        _, answer = await call("POST", live.url + "/logs", body, NDJSON)
    assert (answer["accepted"], answer["rejected"], len(answer["errors"])) == (1, 5000, 100)


async def test_without_redis(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    async with live_bridge(redis.url) as live:
        redis.server.kill()
        status, problem = await call("POST", live.url + "/logs", {"message": "m"})
    assert (status, problem["code"]) == (503, "unavailable")
    assert problem["detail"].endswith("; 0 of 1 lines were written before")


async def test_a_redis_that_takes_no_lines(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    redis.client.set("jobws:logs", "no stream")
    async with live_bridge(redis.url) as live:
        status, problem = await call("POST", live.url + "/logs", {"message": "m"})
    assert (status, problem["code"]) == (503, "unavailable")
    assert problem["detail"].startswith("Redis does not take log lines now: WRONGTYPE")


async def test_only_pages_that_may(redis: Redis) -> None:
    async with live_bridge(redis.url, allowed_origins=("http://good.example",)) as live:
        url, good, bad = live.url + "/logs", "http://good.example", "http://bad.example"
        assert (await call("POST", url, {"message": good}, Origin=good))[0] == 202
        # The refusal of a page is a sentence, not a problem in JSON (rule H5).
        with pytest.raises(AssertionError, match=r"403, .*origin http://bad\.example refused"):
            await call("POST", url, {"message": bad}, Origin=bad)
    assert written(redis) == ["http://good.example"]


async def test_what_is_too_large_is_cut(redis: Redis) -> None:
    record = {"message": "é" * 50_000, "fields": {"a": 1}, "source": "s" * 600}
    async with live_bridge(redis.url) as live:
        assert (await call("POST", live.url + "/logs", record))[0] == 202
    (entry,) = entries(redis)
    assert len(entry["message"].encode()) == 65_536
    assert json.loads(entry["fields"]) == {"a": 1, "truncated": True}
    assert len(entry["source"]) == 512


async def test_a_body_that_takes_long_lets_others_come_in_between() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        with pytest.raises(RequestError, match=r"this one has 10001$"):
            await parse_records(StringIO("\n" * 1_000_000 + '{"message":""}\n' * (MAX_RECORDS + 1)), 0)
        tasks.cancel_scope.cancel()
    assert turns > 20  # in some 0.1 s
