"""Which requests `/logs` accepts, and the codes with which it refuses others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobws.protocol.codec import Frame
from jobws.protocol.identifiers import MAX_SAFE_INTEGER
from jobws.protocol.log.records import LogRecord, severity
from jobws.protocol.log.requests import MAX_CHOICES, MAX_TEXT_BYTES, LogFilter, LogSession, SubscribeLogs


def receive(data: object, event: str = "subscribe-logs") -> object:
    return LogSession(1 << 18).receive(json.dumps({"event": event, "data": data, "ref": 1}), 0.0)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, SubscribeLogs(LogFilter(), None, None, 1)),
        ({"tail": 0, "text": "", "other": []}, SubscribeLogs(LogFilter(), 0, None, 1)),
        ({"tail": MAX_SAFE_INTEGER}, SubscribeLogs(LogFilter(), MAX_SAFE_INTEGER, None, 1)),
        ({"after": "7"}, SubscribeLogs(LogFilter(), None, "7-0", 1)),
        ({"level": "WARN"}, SubscribeLogs(LogFilter(severity("warning")), None, None, 1)),
        ({"text": "Ä" * (MAX_TEXT_BYTES // 2)}, SubscribeLogs(LogFilter(text="ä" * 512), None, None, 1)),
        (
            {"source": "a", "queue": ["b", "c"], "jobId": ["1"] * MAX_CHOICES},
            SubscribeLogs(
                LogFilter(sources=frozenset("a"), queues=frozenset("bc"), job_ids=frozenset("1")), None, None, 1
            ),
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


def test_an_unknown_request_is_told_which_there_are() -> None:
    refused = receive(None, "subscribe-job")
    assert isinstance(refused, Frame)
    error = json.loads(refused.payload)["data"]
    assert error["code"] == "unknown-event"
    assert "subscribe-logs, unsubscribe-logs, ping" in error["message"]


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
