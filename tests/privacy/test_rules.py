"""What rules do to the fields of events and of jobs' hashes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET

from jobws.bullmq import snapshot
from jobws.bullmq.events import payload
from jobws.bullmq.keys import Queue
from jobws.privacy.parse import parse_privacy
from jobws.protocol.messages import JobSnapshot

if TYPE_CHECKING:
    from jobws.privacy.rules import QueueRules


def rules(*redact: str, no_results: bool = False) -> QueueRules:
    found = parse_privacy(redact, ["q"] if no_results else [], [], [], {"q": "q"}, discovers=False).of("q")
    assert found is not None
    return found


def data(of: QueueRules, *fields: str) -> dict[str, Any]:
    """The payload of an event with these fields, without `queue`."""
    encoded, anomalies = payload("q", b"1-0", [each.encode() for each in fields], 1 << 20, of)
    assert anomalies == []
    found: dict[str, Any] = json.loads(encoded)
    assert found.pop("queue") == "q"
    return found


RESULT = '{"user":{"password":"x","n":1.0}}'


@pytest.mark.parametrize(
    ("redact", "fields", "expected"),
    [
        ("q:returnvalue", ("event", "completed", "returnvalue", RESULT), {"returnvalue": "[redacted]"}),
        (
            *("q:returnvalue.user.password", ("event", "completed", "returnvalue", RESULT, "prev", "active")),
            {"returnvalue": {"user": {"password": "[redacted]", "n": 1.0}}, "prev": "active"},
        ),
        ("q:returnvalue.user", ("event", "completed", "returnvalue", "no JSON", "prev", "x"), {"prev": "x"}),
        ("q:returnvalue.a", ("event", "completed", "returnvalue", '{"a":1,"a":2}'), {}),
        ("q:returnvalue.a", ("event", "completed", "returnvalue", "7"), {"returnvalue": 7}),
        ("q:failedReason", ("event", "failed", "failedReason", "x"), {"failedReason": "[redacted]"}),
        # Custom events may have any field, as text, in any order.
        ("q:token", ("token", "x", "event", "mine", "jobId", "1"), {"token": "[redacted]", "jobId": "1"}),
        (
            "q:tokén",
            ("event", "completed", "tokén", "x", "returnvalue", "1"),
            {"tokén": "[redacted]", "returnvalue": 1},
        ),
        ("q:data", ("event", "mine", "data", "x"), {"data": "[redacted]"}),
        ("q:data.a", ("event", "mine", "data", '{"a":1,"b":2}'), {"data": '{"a":"[redacted]","b":2}'}),
        ("q:data.a", ("event", "mine", "data", "x"), {}),
        ("q:name", ("event", "added", "name", "x"), {"name": "[redacted]"}),
        ("q:delay", ("event", "delayed", "delay", "5"), {"delay": "[redacted]"}),
        # The progress is in the field `data`, which in a job is something else.
        ("q:progress", ("event", "progress", "data", "1"), {"data": "[redacted]"}),
        ("q:progress.a", ("event", "progress", "data", '{"a":1}'), {"data": {"a": "[redacted]"}}),
        ("q:progress.a", ("event", "progress", "data", ""), {}),
        ("q:data", ("event", "progress", "data", "1"), {"data": 1}),
        ("q:progress", ("event", "mine", "progress", "x"), {"progress": "[redacted]"}),
        ("q:logs", ("event", "mine", "logs", "x"), {"logs": "[redacted]"}),
    ],
)
def test_an_event(redact: str, fields: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert data(rules(redact), *fields) == expected


def test_results_that_are_not_shown() -> None:
    none = rules("q:token", no_results=True)
    assert data(none, "event", "completed", "returnvalue", "1", "prev", "active") == {"prev": "active"}
    assert data(none, "event", "failed", "failedReason", "x", "token", "x") == {"token": "[redacted]"}
    assert data(none, "event", "mine", "returnvalue", "x") == {}
    assert data(none, "event", "progress", "data", "1") == {"data": 1}


def test_a_field_counts_as_too_large_after_it_was_redacted() -> None:
    fields = [b"event", b"completed", b"jobId", b"1", b"returnvalue", b'{"a":"' + b"x" * 1000 + b'","b":1}']
    encoded, anomalies = payload("q", b"1-0", fields, 100, rules("q:returnvalue.a"))
    assert (json.loads(encoded)["returnvalue"], anomalies) == ({"a": "[redacted]", "b": 1}, [])
    encoded, anomalies = payload("q", b"1-0", fields, 100, rules("q:returnvalue.b"))
    assert (json.loads(encoded)["bytes"], anomalies) == (len('{"a":"","b":"[redacted]"}') + 1000, ["truncated"])


def test_a_jobs_hash() -> None:
    hash: dict[str, bytes | None] = {
        **{"name": b"x", "progress": b'{"a":1,"b":2}', "failedReason": None, "data": b'{"a":1,"b":2}'},
        **{"returnvalue": b'{"a":1,"a":2}', "timestamp": b"5"},
    }
    assert rules("q:progress.a", "q:returnvalue.a", "q:failedReason").job(hash) == {
        **{"name": b"x", "progress": b'{"a":"[redacted]","b":2}', "failedReason": None, "data": b'{"a":1,"b":2}'},
        **{"returnvalue": None, "timestamp": b"5"},
    }
    assert rules("q:timestamp", "q:finishedOn").job(hash) == hash  # by which outcomes are told apart
    assert rules("q:data", "q:name", "q:progress").job(hash) == {
        **hash,
        **{"name": b"[redacted]", "progress": b'"[redacted]"', "data": b'"[redacted]"'},
    }


@pytest.mark.parametrize(
    ("progress", "seen", "truncated"),
    [
        ('{"a":1,"b":2}', {"a": "[redacted]", "b": 2}, False),
        ('{"b":"' + "x" * 2048 + '"}', None, True),
        ('{"a":[' + "1," * 1000 + "1]}", {"a": "[redacted]"}, False),
        ('{"c":[' + ",".join(['{"a":1}'] * 200) + "]}", None, True),
        ("no JSON", None, False),
    ],
)
def test_the_progress_in_a_snapshot(progress: str, seen: object, truncated: bool) -> None:
    """It is too large if it is so before or after it was redacted."""
    queue = Queue("q", "bull", "q")
    job: list[object] = [b"x", b"5", None, None, progress.encode(), None, None]
    replies = [[], [], *([None] for _ in range(5)), job]
    (found,) = snapshot.parse(queue, [b"1"], replies, rules("q:progress.a", "q:progress.c.*.a"))
    assert isinstance(found, JobSnapshot)
    assert (None if found.progress is UNSET else json.loads(bytes(found.progress))) == seen
    assert (found.truncated is True) == truncated
