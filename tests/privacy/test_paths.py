"""Parts of a JSON value are replaced, and everything else of its text stays as it is."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobws.privacy.paths import MAX_BYTES, MAX_PARTS, REDACTED, redact, tree_of
from jobws.protocol.nesting import MAX_LEVELS
from tests.support.nested import nested_text

KEYS: Final = st.sampled_from(["a", "b", "0", "1", 'é"\\', "", "*", "a.b", "💥", "\ud800"])
SECRET: Final = "hunter2"
SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('abc"\\/\n\u2028💥\ud800{}[]:,', max_size=6)
)
JSON: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)
PATHS: Final = st.lists(st.lists(KEYS | st.none(), max_size=4).map(tuple), min_size=1, max_size=4)
WRITING: Final = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 0, 1, "\t"]),
        "separators": st.sampled_from([None, (",", ":"), (" , ", " :\r\n")]),
    }
)


def expected(value: Any, paths: list[tuple[str | None, ...]]) -> Any:
    """The value in which what the paths lead to is replaced, made in another way."""
    if () in paths:
        return REDACTED
    if isinstance(value, dict):
        return {
            key: expected(part, [path[1:] for path in paths if path[0] in (key, None)]) for key, part in value.items()
        }
    if isinstance(value, list):
        return [
            expected(part, [path[1:] for path in paths if path[0] in (str(index), None)])
            for index, part in enumerate(value)
        ]
    return value


@given(JSON, PATHS, WRITING, st.booleans())
def test_what_a_path_leads_to_is_replaced_and_nothing_else(
    value: object, paths: list[tuple[str | None, ...]], writing: dict[str, Any], ascii_only: bool
) -> None:
    # A lone surrogate is valid JSON only as an escape.
    text = json.dumps(value, ensure_ascii=ascii_only or "\\ud8" in json.dumps(value), **writing)
    found = redact(text.encode(), tree_of(paths))
    assert found is not None
    assert json.loads(found) == expected(value, paths)
    # What is between the replaced parts is a part of the text, in the same order.
    parts = [re.escape(part) for part in found.decode().split(f'"{REDACTED}"')]
    assert re.fullmatch("(?s:.+)".join(parts), text)


def hidden(value: Any, path: tuple[str | None, ...]) -> Any:
    """A value of any shape in which a secret stands where the path leads, and there only."""
    if not path:
        return {"x": [SECRET, {SECRET: SECRET}]}
    here = {"k": value} if path[0] is None else {path[0]: None}
    return {**(value if isinstance(value, dict) else {}), **{key: hidden(value, path[1:]) for key in here}}


@given(JSON, st.lists(KEYS | st.none(), max_size=4).map(tuple), WRITING)
def test_a_secret_is_gone(value: object, path: tuple[str | None, ...], writing: dict[str, Any]) -> None:
    text = json.dumps(hidden(value, path), **writing)
    assert SECRET in text
    assert SECRET.encode() not in (redact(text.encode(), tree_of([path])) or b"")


@given(st.text('{}[]:," \n\\u0ae1-.tfn\x00\ufeff', max_size=30) | JSON.map(json.dumps).map(lambda text: text[:-1]))
def test_what_is_no_json_is_left_out(text: str) -> None:
    tree = tree_of([("a", "b"), (None, None, "0"), ("", "")])
    try:
        is_json = True
        json.loads(text, object_pairs_hook=unique, parse_constant=float.fromhex)
    except ValueError:
        is_json = False
    assert (redact(text.encode(errors="surrogatepass"), tree) is not None) == is_json


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "{",
            "[",
            '{"a"',
            '{"a":',
            '{"a" 1}',
            "{a:1}",
            '{"a":1,}',
            '{"a":[1,]}',
            '{"a":[1}',
            '{"a":1]',
            '{"a":{"b":1]}',
        ),
        *("{}x", "[NaN]", '{"a":{"b":Infinity}}', '{"a":{"c":-Infinity}}', '{"\n":1}', '{"\\x":1}', "01", "\ufeff{}"),
    ],
)
def test_texts_that_are_no_json(text: str) -> None:
    assert redact(text.encode(), tree_of([("a", "b"), ("a", "0")])) is None


def unique(members: list[tuple[str, object]]) -> None:
    if len({key for key, _ in members}) != len(members):
        raise ValueError


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1,"\\u0061":2}',
        '{"b":{"x":1,"y":2,"x":3}}',
        '[{"b":[{"x":1,"x":1}]}]',
        '{"a":{"b":1,"b":"hunter2"}}',
    ],
)
def test_a_key_that_stands_twice_leaves_the_value_out(text: str) -> None:
    assert redact(text.encode(), tree_of([("a", "b")])) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[1.50, 1e999, -0, 123456789012345678901234567890.10, 1E5]", None),
        ("9" * 5000, None),
        ('{"a":1.0,"b":' + "9" * 5000 + "}", '{"a":"[redacted]","b":' + "9" * 5000 + "}"),
        ('{"a":-1.5e-3}', '{"a":"[redacted]"}'),
        ('{ "a" :\t{"\\ud83d\\ude00": "\\/"} }\n', '{ "a" :\t"[redacted]" }\n'),
        ('"hunter2"', None),
        (" {} ", None),
        ("[ ]", None),
    ],
)
def test_texts_that_stay_as_they_are(text: str, found: str | None) -> None:
    assert redact(text.encode(), tree_of([("a",)])) == (text if found is None else found).encode()


def test_the_whole_of_a_value_needs_no_json() -> None:
    for value in (b"no JSON", b"\xff", b'{"a":1,"a":2}', b"x" * (MAX_BYTES + 1), nested_text(MAX_LEVELS + 1).encode()):
        assert redact(value, tree_of([()])) == b'"[redacted]"'
        assert redact(value, tree_of([("a",), ()])) == b'"[redacted]"'
        assert redact(value, tree_of([("a",)])) is None


def test_deep_values() -> None:
    """As deep as values and paths may be."""
    path: tuple[str | None, ...] = (None,) * MAX_PARTS
    deep = nested_text(MAX_LEVELS, f'"{SECRET}"').encode()
    assert redact(deep, tree_of([path])) == nested_text(MAX_PARTS, '"[redacted]"').encode()
    assert redact(deep, tree_of([("x",)])) == deep
    assert redact(deep, tree_of([("0",) * (MAX_PARTS - 1) + ("1",)])) == deep
    assert redact(b"[" + deep + b"]", tree_of([path])) is None


def test_values_up_to_the_limit_of_size() -> None:
    items = [{"id": number, "password": SECRET, "more": [1.5, None, "x" * 30]} for number in range(20_000)]
    text = json.dumps(items).encode()
    found = redact(text, tree_of([(None, "password")]))
    assert found == text.replace(SECRET.encode(), b"[redacted]")
    full = b'"' + b"x" * (MAX_BYTES - 2) + b'"'
    assert redact(full, tree_of([("a",)])) == full
    assert redact(full + b" ", tree_of([("a",)])) is None
    assert len(text) < MAX_BYTES


def test_of_two_paths_the_shorter_one_counts() -> None:
    text = b'{"a":{"b":1,"c":2},"d":{"b":3}}'
    assert redact(text, tree_of([("a", "b"), ("a",)])) == b'{"a":"[redacted]","d":{"b":3}}'
    assert redact(text, tree_of([(None, "b"), ("a", "c")])) == (
        b'{"a":{"b":"[redacted]","c":"[redacted]"},"d":{"b":"[redacted]"}}'
    )
    assert redact(b'[["x","y"],["z"]]', tree_of([("0", "1"), (None, "0")])) == (
        b'[["[redacted]","[redacted]"],["[redacted]"]]'
    )
