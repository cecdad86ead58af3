"""From text to frames and back: compression, lists, Structs, and what is refused."""

from __future__ import annotations

import json
import random
import zlib
from math import inf

import msgspec
import pytest

from jobws.errors import RequestError
from jobws.protocol.close_codes import CloseCode, may_return
from jobws.protocol.codec import LENIENT_CHARACTERS, MAX_COMMAS, Frame, decode_as, decode_json, decode_list, json_text
from jobws.protocol.identifiers import is_text


@pytest.mark.parametrize("tail", [b"", b'"b"' * 20_000])
def test_a_frame_is_compressed_once_and_inflates_to_its_payload(tail: bytes) -> None:
    frame = Frame(b"[" + b'"a",' * 1000, tail)
    (wire,) = frame.deflated
    assert isinstance(wire, bytes)
    assert wire[0] == 0xC1
    size = wire[1] if wire[1] < 126 else int.from_bytes(wire[2:4], "big")
    body = wire[2:] if wire[1] < 126 else wire[4:]
    assert len(body) == size < len(frame)
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(body + b"\x00\x00\xff\xff") == frame.payload
    assert frame.deflated is frame.deflated


def test_what_would_not_become_smaller_stays_as_it_is() -> None:
    frame = Frame(random.Random(1).randbytes(300))
    assert frame.deflated is frame.wire


def test_a_large_tail_is_a_piece_of_its_own() -> None:
    frame = Frame(b"head", b"tail")
    begin, rest = frame.wire
    assert (begin, bytes(rest)) == (b"\x81\x08head", b"tail")
    assert frame.wire is frame.wire


def test_a_lone_surrogate_becomes_an_escape() -> None:
    assert json_text("\ud800") == rb'"\ud800"'
    assert (is_text("\ud800"), is_text("ä")) == (False, True)


def test_a_list_is_cut_into_the_texts_of_its_items() -> None:
    assert list(decode_list('[1.50, {"a": "b"}, "ä"]', "it", 3, "items")) == ["1.50", '{"a": "b"}', '"ä"']
    # Values that are JSON, although msgspec refuses them.
    assert [json.loads(text) for text in decode_list(r'["\ud800", 1]', "it", 2, "items")] == ["\ud800", 1]


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("{}", "bad-data", "it must be a list, not an object"),
        ("[1,2]", "too-many", "it may have 1 items, this one has 2"),
        ("[1", "bad-json", "it is no JSON"),
        ("[" * 1000, "too-deep", "nested"),
    ],
)
def test_any_other_list_is_refused(text: str, code: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence) as refused:
        decode_list(text, "it", 1, "items")
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("[" + "0," * MAX_COMMAS + "0,0]", "too-many", "it may have 100000 commas, this one has 100001"),
        (
            '["' + "x" * LENIENT_CHARACTERS + r'\ud800"]',
            "bad-json",
            "it is no JSON (Input data was truncated); "
            "lone surrogates are read in up to 65536 characters, this has 65546",
        ),
    ],
)
def test_a_list_that_would_take_long_is_refused(text: str, code: str, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        decode_list(text, "it", 10, "items")
    assert (refused.value.code, refused.value.message) == (code, sentence)


def test_a_message_of_another_shape_is_told_from_what_is_no_json() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_as("[1]", dict[str, int])
    with pytest.raises(msgspec.DecodeError) as refused:
        decode_as("[", list[int])
    assert not isinstance(refused.value, msgspec.ValidationError)
    assert decode_as(rb'["\ud800"]', list[str]) == ["\ud800"]
    assert decode_as("[1e999, -1e999, 12, 1" + "0" * 5000 + "]", list[float]) == [inf, -inf, 12, inf]
    with pytest.raises(msgspec.ValidationError):
        decode_as("[1e999]", dict[str, int])


def test_numbers_beside_what_msgspec_refuses_are_those_of_json() -> None:
    assert decode_json(r'["\ud800", 1.5, 2]') == ["\ud800", 1.5, 2]
    for text in (r'["\ud800", 1e999]', r'["\ud800", NaN]'):
        with pytest.raises(RequestError) as refused:
            decode_json(text)
        assert refused.value.code == "bad-json"


@pytest.mark.parametrize("code", [1001, 1005, 1006, CloseCode.SERVICE_RESTART, 1013, 4000, CloseCode.TOO_MANY, 4499])
def test_a_client_comes_back_after_these(code: int) -> None:
    assert may_return(code)


@pytest.mark.parametrize("code", [1000, 1002, 1009, 3999, CloseCode.NOT_AUTHENTICATED, CloseCode.ABUSE, 4999])
def test_a_client_stays_away_after_these(code: int) -> None:
    assert not may_return(code)
