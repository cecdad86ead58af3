"""Log records: every entry of the stream becomes a line, and a program that sends a wrong record gets the reason."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobws.errors import RequestError
from jobws.protocol.log.records import (
    LEVELS,
    MAX_FIELDS_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_NAME_CHARACTERS,
    LogRecord,
    from_entry,
    log_frame,
    parse_level,
    parse_record,
    severity,
    to_entry,
)
from jobws.protocol.nesting import MAX_LEVELS
from jobws.server.settings import Settings
from tests.support.nested import nested_list, nested_text

ID = "1795435729358-0"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.sampled_from([b"level", b"source", b"message", b"time", b"queue", b"jobId", b"fields", b"pid", b"\xff"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.builds(
    LogRecord,
    st.integers(0, 2**53 - 1),
    st.sampled_from(LEVELS),
    TEXT.filter(bool),
    TEXT,
    st.none() | TEXT.filter(bool),
    st.none() | TEXT.filter(bool),
    st.none() | st.dictionaries(TEXT, JSON, min_size=1, max_size=3),
)


def entry(record: LogRecord) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in to_entry(record).items()}


@given(RECORDS)
def test_what_is_written_is_read(record: LogRecord) -> None:
    assert from_entry(ID, entry(record)) == record


@given(st.dictionaries(NAMES | st.binary(max_size=5), st.binary(max_size=30)))
def test_every_entry_is_a_line(fields: dict[bytes, bytes]) -> None:
    record = from_entry(ID, fields)
    assert record.level in LEVELS
    assert record.source
    frame = json.loads(log_frame(ID.encode(), record, replayed=True).payload.decode())
    assert frame["data"]["message"] == record.message


@given(RECORDS.map(lambda record: {"m": record}) | st.just({}) | JSON)
def test_anyone_who_hands_in_anything_gets_a_line_or_a_sentence(value: Any) -> None:
    try:
        record = parse_record(value, 7)
    except RequestError as error:
        code = error.code
    else:
        code = "" if entry(record) else "nothing"
    assert code in ("", "bad-data")


def test_an_entry_with_all_of_it() -> None:
    fields = {
        **{b"level": b"error", b"source": b"api", b"message": b"no", b"time": b"17", b"queue": b"http"},
        **{b"jobId": b"7", b"fields": b'{"a":[1]}'},
    }
    assert from_entry(ID, fields) == LogRecord(17, "error", "api", "no", "http", "7", {"a": [1]})


def test_an_empty_entry() -> None:
    assert from_entry(ID.encode(), {}) == LogRecord(1795435729358, "info", "unknown", "")


@pytest.mark.parametrize(
    ("text", "level"),
    [("WARN", "warning"), ("Fatal", "critical"), ("trace", "debug"), ("ERROR", "error"), ("30", None), ("", None)],
)
def test_levels_by_their_other_names(text: str, level: str | None) -> None:
    assert parse_level(text) == level
    assert from_entry(ID, {b"level": text.encode()}).level == (level or "info")


def test_levels_are_in_order() -> None:
    assert [severity(level) for level in LEVELS] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("time", [b"x", b"-1", b"1.5", b"9007199254740992", "١".encode(), b"1" * 5000])
def test_a_time_that_is_none_is_the_entry_s(time: bytes) -> None:
    assert from_entry(ID, {b"time": time}).time == 1795435729358


def test_other_fields_are_kept_as_text() -> None:
    assert from_entry(ID, {b"pid": b"7", b"\xff": b"\xfe"}).fields == {"pid": "7", "\ufffd": "\ufffd"}


@pytest.mark.parametrize("text", [b"[1]", b"{", b'"x"', b'{"a":"\xff"}', b"[" * 2000])
def test_fields_that_are_no_object_are_kept_as_text(text: bytes) -> None:
    fields = {b"level": b"info", b"source": b"a", b"message": b"m", b"fields": text}
    assert from_entry(ID, fields).fields == {"fields": text.decode(errors="replace")}


def test_a_field_stands_against_one_beside_it() -> None:
    fields = {b"level": b"", b"source": b"a", b"message": b"m", b"pid": b"7", b"fields": b'{"pid":8}'}
    assert from_entry(ID, fields).fields == {"pid": 8}
    assert parse_record({"message": "m", "pid": 7, "fields": {"pid": 8}}, 0).fields == {"pid": 8}


def test_what_is_too_large_is_cut_and_says_so() -> None:
    record = from_entry(ID, {b"message": b"x" * 1_000_000})
    assert len(record.message) == MAX_MESSAGE_BYTES
    assert record.fields == {"truncated": True}
    assert from_entry(ID, {b"message": b"x" * MAX_MESSAGE_BYTES}).fields is None
    fields = {b"level": b"", b"source": b"a", b"message": b"m", b"pid": b"7"}
    big = b'{"a":"%b"}' % (b"x" * MAX_FIELDS_BYTES)
    assert from_entry(ID, {**fields, b"fields": big}).fields == {"pid": "7", "truncated": True}
    assert from_entry(ID, {**fields, b"more": big}).fields == {"pid": "7", "truncated": True}
    assert len(from_entry(ID, {b"source": "é".encode() * 5000}).source) == MAX_NAME_CHARACTERS


def test_what_is_too_large_is_cut_before_it_is_written() -> None:
    written = entry(LogRecord(0, "info", "a" * 600, "é" * MAX_MESSAGE_BYTES, fields={"a": 1}))
    assert len(written[b"message"]) == MAX_MESSAGE_BYTES
    assert written[b"fields"] == b'{"a":1,"truncated":true}'
    assert len(written[b"source"]) == MAX_NAME_CHARACTERS
    assert entry(LogRecord(0, "info", "a", "m", fields={"a": "x" * MAX_FIELDS_BYTES}))[b"fields"] == (
        b'{"truncated":true}'
    )


class _Hostile:
    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


def test_whatever_a_program_puts_into_fields_is_written() -> None:
    cycle: dict[str, Any] = {}
    cycle["me"] = cycle
    found = [
        from_entry(ID, entry(LogRecord(0, "info", "\ud800", "\ud800", fields=fields))).fields
        for fields in ({"a": {1}}, {"a": "\ud800"}, cycle, {"a": _Hostile()}, {"a": float("nan")})
    ]
    assert found == [
        *({"a": [1]}, {"fields": "{'a': '\\ud800'}"}, {"fields": "{'me': {...}}"}),
        *({"truncated": True}, {"a": None}),
    ]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (7, "a log record must be an object, not a number"),
        ([], "a log record must be an object, not a list"),
        ({}, "`message`: expected a string, got null"),
        ({"message": 7}, "`message`: expected a string, got a number"),
        ({"message": "m", "level": "loud"}, "`level`: expected one of debug, info, warning, error, critical"),
        ({"message": "m", "level": 30}, "`level`: expected one of debug, info, warning, error, critical"),
        ({"message": "m", "time": 1.5}, "`time`: expected epoch milliseconds, an integer from 0 to 2^53-1"),
        ({"message": "m", "time": True}, "`time`: expected epoch milliseconds, an integer from 0 to 2^53-1"),
        ({"message": "m", "time": -1}, "`time`: expected epoch milliseconds, an integer from 0 to 2^53-1"),
        ({"message": "m", "queue": 7}, "`queue`: expected a string, got a number"),
        ({"message": "m", "jobId": 7}, "`jobId`: expected a string, got a number"),
        ({"message": "m", "source": []}, "`source`: expected a string, got a list"),
        ({"message": "m", "fields": "x"}, "`fields`: expected an object, got a string"),
    ],
)
def test_what_is_wrong_with_a_record_is_reported(value: object, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_record(value, 0)
    assert (caught.value.code, caught.value.message) == ("bad-data", sentence)


def test_a_record_as_loggers_write_it() -> None:
    value = {"level": "WARN", "message": "m", "time": None, "pid": 7, "jobId": "1", "queue": "", "fields": {"a": 1}}
    assert parse_record(value, 5) == LogRecord(5, "warning", "unknown", "m", None, "1", {"pid": 7, "a": 1})


def test_the_frame() -> None:
    record = LogRecord(7, "info", "api", "m", job_id="1")
    assert log_frame(b"7-0", record, replayed=False).payload == (
        b'{"event":"log","id":"7-0","data":{"time":7,"level":"info","source":"api","message":"m","jobId":"1"}}'
    )
    assert log_frame(b"7-0", record, replayed=True).payload.startswith(b'{"event":"log","id":"7-0","replayed":true,')


def test_fields_as_deep_as_json_may_be_nested_are_reported() -> None:
    fields = {"a": nested_list(MAX_LEVELS - 1)}
    record = from_entry(ID, entry(LogRecord(7, "info", "api", "m", fields=fields)))
    assert json.loads(log_frame(b"7-0", record, replayed=False).payload)["data"]["fields"] == fields


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 30_000])
def test_fields_that_are_nested_too_deep_are_text(levels: int) -> None:
    text = '{"a":' + nested_text(levels - 1) + "}"
    record = from_entry(ID, {b"message": b"m", b"fields": text.encode()})
    assert json.loads(log_frame(b"7-0", record, replayed=False).payload)["data"]["fields"] == {"fields": text}


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 2000, 100_000])
def test_fields_that_are_nested_too_deep_are_not_written(levels: int) -> None:
    record = LogRecord(7, "info", "api", "m", fields={"a": nested_list(levels - 1)})
    assert entry(record)[b"fields"] == b'{"truncated":true}'


def test_what_goes_in_a_circle_is_not_written_again_and_again() -> None:
    """msgspec follows a circle until its recursion ends, which is 10,000 times in Python 3.13."""
    circle: dict[str, Any] = {"big": "x" * 20_000}
    circle["me"] = [circle]
    tracemalloc.start()
    try:
        text = entry(LogRecord(7, "info", "api", "m", fields=circle))[b"fields"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert text.endswith(b"'me': [{...}]}")
    assert peak < 1_000_000


def test_the_largest_frame_is_within_what_hello_tells() -> None:
    worst = b"\0" * 1_000_000
    fields = dict.fromkeys((b"level", b"source", b"message", b"queue", b"jobId"), worst)
    fields[b"more"] = b"\0" * (MAX_FIELDS_BYTES - 4)
    frame = log_frame(ID.encode(), from_entry(ID, fields), replayed=True)
    assert 750_000 < len(frame) < Settings(max_result_bytes=1, max_subscriptions=1).max_frame_bytes
