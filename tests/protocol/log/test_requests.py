"""Which requests `/logs` accepts, and the codes with which it refuses others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobws.protocol.codec import Frame
from jobws.protocol.identifiers import MAX_SAFE_INTEGER
from jobws.protocol.log.records import LogRecord, severity
from jobws.protocol.log.requests import MAX_CHOICES, MAX_TEXT_BYTES, LogFilter, LogSession, SubscribeLogs
from tests.support.sight import EVERYTHING, sight


def receive(data: object, event: str = "subscribe-logs") -> object:
    return LogSession(1 << 18, EVERYTHING).receive(json.dumps({"event": event, "data": data, "ref": 1}), 0.0)


def asks(wanted: LogFilter, tail: int | None, after: str | None) -> SubscribeLogs:
    return SubscribeLogs(wanted, wanted, tail, after, 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, asks(LogFilter(), None, None)),
        ({"tail": 0, "text": "", "other": []}, asks(LogFilter(), 0, None)),
        ({"tail": MAX_SAFE_INTEGER}, asks(LogFilter(), MAX_SAFE_INTEGER, None)),
        ({"after": "7"}, asks(LogFilter(), None, "7-0")),
        ({"level": "WARN"}, asks(LogFilter(severity("warning")), None, None)),
        ({"text": "Ä" * (MAX_TEXT_BYTES // 2)}, asks(LogFilter(text="ä" * 512), None, None)),
        (
            {"source": "a", "queue": ["b", "c"], "jobId": ["1"] * MAX_CHOICES},
            asks(LogFilter(sources=frozenset("a"), queues=frozenset("bc"), job_ids=frozenset("1")), None, None),
        ),
    ],
)
def test_what_is_asked_for(data: object, expected: SubscribeLogs) -> None:
    assert receive(data) == expected


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ([], "bad-data"),
        ("info", "bad-data"),
        ({"tail": 1, "after": "1-0"}, "bad-after"),
        ({"after": "x"}, "bad-after"),
        ({"after": 1}, "bad-after"),
        ({"tail": -1}, "bad-filter"),
        ({"tail": MAX_SAFE_INTEGER + 1}, "bad-filter"),
        ({"tail": True}, "bad-filter"),
        ({"tail": "1"}, "bad-filter"),
        ({"level": "loud"}, "bad-filter"),
        ({"level": 3}, "bad-filter"),
        ({"source": []}, "bad-filter"),
        ({"queue": ["a", 1]}, "bad-filter"),
        ({"jobId": ["1"] * (MAX_CHOICES + 1)}, "bad-filter"),
        ({"text": 1}, "bad-filter"),
        ({"text": "x" * (MAX_TEXT_BYTES + 1)}, "bad-filter"),
        ({"text": "\ud800"}, "bad-filter"),
    ],
)
def test_what_is_refused(data: object, code: str) -> None:
    refused = receive(data)
    assert isinstance(refused, Frame)
    error = json.loads(refused.payload)
    assert (error["event"], error["ref"], error["data"]["code"]) == ("error", 1, code)


def test_an_unknown_request_is_answered_with_those_that_exist() -> None:
    refused = receive(None, "subscribe-job")
    assert isinstance(refused, Frame)
    error = json.loads(refused.payload)["data"]
    assert error["code"] == "unknown-event"
    assert "subscribe-logs, unsubscribe-logs, ping, authenticate" in error["message"]


RECORD = LogRecord(1, "error", "web", "m", queue="http", job_id="7")


@pytest.mark.parametrize(
    ("wanted", "other"),
    [
        ({"severity": severity("error")}, {"severity": severity("critical")}),
        ({"sources": frozenset({"web"})}, {"sources": frozenset({"worker"})}),
        ({"queues": frozenset({"http"})}, {"queues": frozenset({"web"})}),
        ({"job_ids": frozenset({"7"})}, {"job_ids": frozenset({"http"})}),
    ],
)
def test_a_line_passes_each_filter_or_is_not_wanted(wanted: dict[str, Any], other: dict[str, Any]) -> None:
    assert LogFilter(**wanted).wants(RECORD)
    assert not LogFilter(**other).wants(RECORD)


@pytest.mark.parametrize(
    ("scope", "data", "queues", "has_queue"),
    [
        (("admin",), {}, None, False),
        (("read:logs",), {"queue": "http"}, {"http"}, False),
        (("read:logs:*",), {}, None, True),
        (("read:logs:*",), {"queue": ["http", "b"]}, {"http", "b"}, True),
        (("read:logs:http", "read:logs:b", "read:jobs:c"), {}, {"http", "b"}, True),
        (("read:logs:http", "read:logs:b"), {"queue": "b"}, {"b"}, True),
    ],
)
def test_the_lines_that_may_be_read(
    scope: tuple[str, ...], data: object, queues: set[str] | None, has_queue: bool
) -> None:
    asked = {"event": "subscribe-logs", "data": data}
    request = LogSession(1 << 18, sight(*scope)).receive(json.dumps(asked), 0.0)
    assert isinstance(request, SubscribeLogs)
    assert (request.filter.queues, request.filter.has_queue) == (queues, has_queue)
    assert not request.asked.has_queue


@pytest.mark.parametrize(
    ("scope", "data"),
    [
        (("read:jobs:*", "write:logs"), {}),
        (("read:logs:http",), {"queue": "b"}),
        (("read:logs:http",), {"queue": ["http", "b"]}),
    ],
)
def test_lines_that_may_not_be_read(scope: tuple[str, ...], data: object) -> None:
    asked = {"event": "subscribe-logs", "data": data}
    answer = LogSession(1 << 18, sight(*scope)).receive(json.dumps(asked), 0.0)
    assert isinstance(answer, Frame)
    error = {"code": "forbidden", "message": "the token does not allow this", "request": "subscribe-logs"}
    assert json.loads(answer.payload) == {"event": "error", "data": error}
