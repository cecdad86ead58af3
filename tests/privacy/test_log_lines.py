"""Lines of the log that name a queue whose lines are hidden."""

from __future__ import annotations

import json

from jobws.hub.log.line import Line
from jobws.privacy.parse import parse_privacy
from jobws.protocol.log.records import OWN_SOURCE
from jobws.protocol.log.requests import LogFilter

PRIVACY = parse_privacy(["label:logs"], [], [], [], {"label": "name", "other": "other"}, discovers=False)


def line(*fields: bytes) -> Line:
    return Line((b"1-0", [b"time", b"5", b"message", b"geheim", *fields]), PRIVACY)


def test_they_have_no_text_and_no_fields() -> None:
    rest = {"time": 5, "level": "error", "source": "api", "jobId": "1"}
    told = (b"level", b"error", b"source", b"api", b"jobId", b"1", b"fields", b'{"x":1}', b"more", b"y")
    for queue in (b"label", b"name"):
        found = line(b"queue", queue, *told)
        data = json.loads(found.frame.payload)["data"]
        assert data == {**rest, "queue": queue.decode(), "message": "[redacted]"}
        assert not found.passes(LogFilter(text="geheim"))
    for fields in ((b"queue", b"other"), ()):
        found = line(*fields, *told)
        assert found.record.message == "geheim"
        assert found.record.fields == {"x": 1, "more": "y"}
        assert found.passes(LogFilter(text="geheim"))


def test_the_bridges_own_lines_stay_as_they_are() -> None:
    own = line(b"queue", b"label", b"source", OWN_SOURCE.encode())
    assert own.record.message == "geheim"
