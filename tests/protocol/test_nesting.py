"""How deep JSON is nested. The count does not depend on what is between the brackets, and comes before any parser."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobws.errors import RequestError
from jobws.protocol.codec import decode_as, decode_json, decode_list, raw_json
from jobws.protocol.nesting import MAX_FRAME_LEVELS, MAX_LEVELS, count_marks, is_too_deep, is_value_too_deep
from jobws.protocol.server_sent_events import decode_position
from tests.support.nested import nested_list, nested_text

JSON = st.recursive(
    st.text('[]{}"\\é\ud800', max_size=5) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"\\', max_size=3), inner, max_size=4),
    max_leaves=30,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.booleans(), st.integers(0, 8))
def test_levels_are_those_of_the_value(value: object, ascii_only: bool, levels: int) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    deep = depth(value) > levels
    assert is_too_deep(text, levels) is deep
    assert is_too_deep(text.encode(errors="surrogatepass"), levels) is deep
    assert is_value_too_deep(value, levels) is deep


def marks(value: object) -> int:
    if not isinstance(value, list | dict):
        return 0
    parts = value.values() if isinstance(value, dict) else value
    return 1 + max(len(value) - 1, 0) + sum(map(marks, parts))


@given(st.lists(JSON | st.sampled_from(["[," * 10_000, '"' * 9_000, "\\" * 9_000]), max_size=5), st.booleans())
def test_marks_are_the_lists_the_objects_and_the_commas_between_values(value: list[object], ascii_only: bool) -> None:
    text, count = json.dumps(value, ensure_ascii=ascii_only), marks(value)
    *_, found = count_marks(text)
    assert found == count


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 520))
def test_levels_are_counted_in_the_midst_of_many_lists(before: int, after: int, levels: int) -> None:
    text = "[" + "[],{}," * before + nested_text(levels - 1 or 1) + ',"]}",[{}]' * after + "]"
    assert is_too_deep(text, levels - 1)
    assert not is_too_deep(text, max(levels, 3))


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, "\\[" * 100_000])
def test_what_has_no_end_is_refused(text: str) -> None:
    assert is_too_deep(text)


@pytest.mark.parametrize(
    "text", ['"' + "[" * 100_000 + '"', '"\\"' + "[" * 100_000, '"\\\\\\"' + "{" * 1000, "]" * 1000]
)
def test_brackets_in_a_string_are_none(text: str) -> None:
    assert not is_too_deep(text)


@given(st.text(st.sampled_from('[]{}"\\ ,:1a'), max_size=60), st.integers(0, 5))
def test_no_parser_gets_deeper(text: str, levels: int) -> None:
    """Whatever a text begins with, a parser never nests deeper than the count says."""
    if not is_too_deep(text, levels):
        try:
            value, _ = json.JSONDecoder().raw_decode(text)
        except ValueError:
            return
        assert depth(value) <= levels


def test_a_circle_is_too_deep() -> None:
    circle: dict[str, Any] = {"big": [()], "many": {}}
    circle["many"]["a"] = circle["many"]["b"] = [circle]
    assert is_value_too_deep(circle)
    assert is_value_too_deep(([(1,)],), 2)
    assert not is_value_too_deep(([(1,)],), 3)


def test_a_message_has_so_many_levels_and_no_more() -> None:
    assert decode_json(nested_text(MAX_LEVELS)) == nested_list(MAX_LEVELS)
    # Another parser reads text with a lone surrogate.
    assert decode_json(nested_text(MAX_LEVELS, r'"\ud800"')) == nested_list(MAX_LEVELS, "\ud800")
    for text in (nested_text(MAX_LEVELS + 1), nested_text(MAX_LEVELS + 1, r'"\ud800"'), nested_text(100_000)):
        with pytest.raises(RequestError, match="the JSON is nested too deep; it may have 512 levels") as refusal:
            decode_json(text)
        assert refusal.value.code == "too-deep"


@pytest.mark.parametrize("inner", ["", r'"\ud800"'])
def test_a_list_of_messages_is_no_level(inner: str) -> None:
    item = nested_text(MAX_LEVELS, inner)
    assert list(map(json.loads, decode_list(f"[1,{item}]", "this", 5, "items"))) == [1, json.loads(item)]
    for levels in (MAX_LEVELS + 1, 100_000):
        with pytest.raises(RequestError, match="the JSON is nested too deep; it may have 512 levels") as refusal:
            decode_list(f"[1,{nested_text(levels, inner)}]", "this", 5, "items")
        assert refusal.value.code == "too-deep"


@pytest.mark.parametrize("inner", [b"", b'"\xc3\xa9"'])
def test_what_a_worker_gave_is_spliced_up_to_the_limit(inner: bytes) -> None:
    value = nested_text(MAX_LEVELS, inner.decode()).encode()
    assert raw_json(value) == value
    escaped = nested_text(MAX_LEVELS, r'"\ud800"').encode()
    assert raw_json(escaped) == escaped
    for levels in (MAX_LEVELS + 1, 100_000):
        for text in (inner.decode(), r'"\ud800"'):
            assert raw_json(nested_text(levels, text).encode()) is None


def test_utf16_is_no_json() -> None:
    """Python's parser would accept these bytes, and a byte of UTF-16 may look like the quote that begins a string."""
    assert raw_json("[5]".encode("utf-16-le")) is None
    assert raw_json(('["\u2241",' + "[" * 100_000).encode("utf-16-le")) is None


def test_a_frame_of_the_bridge_may_hold_what_a_worker_gave() -> None:
    for inner in ("", r'"\ud800"'):
        value = nested_list(MAX_FRAME_LEVELS, json.loads(inner) if inner else None)
        assert decode_as(nested_text(MAX_FRAME_LEVELS, inner), list[object]) == value
        for levels in (MAX_FRAME_LEVELS + 1, 100_000):
            with pytest.raises(ValueError, match="it is nested deeper than 520 levels"):
                decode_as(nested_text(levels, inner), list[object])


def test_a_position_is_no_deeper_than_a_frame() -> None:
    def position(levels: int) -> str:
        return urlsafe_b64encode(b'{"http":%b}' % nested_text(levels - 1).encode()).decode()

    assert decode_position(position(MAX_FRAME_LEVELS)) == {"http": nested_list(MAX_FRAME_LEVELS - 1)}
    for levels in (MAX_FRAME_LEVELS + 1, 100_000):
        with pytest.raises(RequestError, match="`Last-Event-ID` must be the `id` of an event of this stream"):
            decode_position(position(levels))
