"""Of a large record only what a line has room for is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobws.errors import RequestError
from jobws.protocol.log.large_record import LARGE, decode_record
from jobws.protocol.log.records import MAX_MESSAGE_BYTES, parse_record, to_entry
from jobws.protocol.nesting import MAX_LEVELS

LONG = "é" * LARGE
MANY: list[int] = [0] * LARGE
CUT = {**dict.fromkeys(("level",), "info"), "source": "unknown", "time": "17", "fields": '{"truncated":true}'}


def entry_of(value: object) -> dict[str, str]:
    return to_entry(parse_record(decode_record(json.dumps(value, ensure_ascii=False), "it"), 17))


def test_a_small_record_is_read_whole() -> None:
    value = {"message": "m", "pid": 3, "fields": {"a": [1]}}
    assert decode_record(json.dumps(value), "it") == value


def test_a_long_message_is_cut_as_that_of_a_small_record() -> None:
    expected = to_entry(parse_record({"message": LONG, "level": "warn", "time": 1, "jobId": "7"}, 17))
    assert entry_of({"message": LONG, "level": "warn", "time": 1, "jobId": "7"}) == expected
    assert len(expected["message"].encode()) == MAX_MESSAGE_BYTES


def test_message_and_fields_that_have_room_are_kept() -> None:
    value = {"message": "m" * (LARGE - 10), "queue": "http", "fields": {"a": "f" * (LARGE - 10)}}
    entry = entry_of(value)
    assert entry["message"] == value["message"]
    assert json.loads(entry["fields"]) == value["fields"]
    assert entry["queue"] == "http"


@pytest.mark.parametrize("more", [{"fields": {"a": MANY}}, {"a": MANY}, {"a": MANY, "fields": None}])
def test_values_without_room_are_left_out(more: dict[str, Any]) -> None:
    assert entry_of({"message": "m", **more}) == {**CUT, "message": "m"}


def test_of_other_keys_beside_a_long_value_only_fields_stay() -> None:
    assert json.loads(entry_of({"message": LONG, "pid": 3, "fields": {"a": 1}})["fields"]) == {
        "a": 1,
        "truncated": True,
    }


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (MANY, "a log record must be an object, not a list"),
        (LONG, "a log record must be an object, not a string"),
        ({"message": MANY}, "`message`: expected a string, got a list"),
        ({"message": {"a": MANY}}, "`message`: expected a string, got an object"),
        ({"message": "m", "fields": MANY}, "`fields`: expected an object, got a list"),
        ({"message": "m", "time": LONG}, "`time`: expected epoch milliseconds, an integer from 0 to 2^53-1"),
        ({"message": LONG, "queue": 7}, "`queue`: expected a string, got a number"),
    ],
)
def test_a_wrong_field_is_named(value: object, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        entry_of(value)
    assert (refused.value.code, refused.value.message) == ("bad-data", sentence)


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        (
            '{"message":"' + "x" * LARGE,
            "bad-json",
            "it is no JSON (Input data was truncated); "
            "lone surrogates are read in up to 65536 characters, this has 65548",
        ),
        ("[" * (LARGE + 1), "too-deep", f"the JSON is nested too deep; it may have {MAX_LEVELS} levels"),
        ("1" * (LARGE + 1), "bad-data", "a log record must be an object, not a number"),
    ],
)
def test_a_long_text_that_is_no_record(text: str, code: str, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_record(decode_record(text, "it"), 17)
    assert (refused.value.code, refused.value.message) == (code, sentence)


def test_a_number_without_end_is_refused() -> None:
    with pytest.raises(RequestError, match="it is no JSON") as refused:
        decode_record(f'{{"message":"{LONG}","time":{"1" * 5000}}}', "it")
    assert refused.value.code == "bad-json"
