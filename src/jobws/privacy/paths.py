"""Replaces parts of a JSON value by `"[redacted]"`. Everything else of its text stays as it is, byte for byte. Pure.

A text is gone through once. Only the objects and lists that a path leads into are read member by member; Python's own
parser, in C, skips all other values. It also finds out whether they are JSON, and whether a key stands twice in an
object. Readers take one or the other of such a key's values, so a text with one is not used at all.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from jobws.protocol.nesting import is_too_deep

if TYPE_CHECKING:
    from collections.abc import Collection

REDACTED: Final = "[redacted]"
"""What stands in place of a value."""
REDACTED_JSON: Final = f'"{REDACTED}"'

MAX_PARTS: Final = 32
"""How many levels a path may lead down."""
MAX_BYTES: Final = 2 * 1024 * 1024
"""How large a value may be if parts of it are to be replaced.

A megabyte takes 11 ms if a path leads to one part, and 57 ms if it leads to a part of each of 12,000 objects. All
clients wait meanwhile.
"""

Path: TypeAlias = tuple[str | None, ...]
"""The way to a part of a JSON value: at each level a key of an object or the index of an item in a list, as text. None
stands for all of them. The empty path leads to the whole value."""
Tree: TypeAlias = "dict[str | None, Tree]"
"""Several paths. By what they begin with, the tree of how they go on; None is for all keys that are not named. An empty
tree is the end of a path: the value that is there is replaced."""

# White space is skipped after a token, so none of these but the first is preceded by any.
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_BEGIN: Final = re.compile(r"[{[][ \t\n\r]*")
_KEY: Final = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*')
_COLON: Final = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_COMMA_OR_END: Final = re.compile(r"[ \t\n\r]*(?:,[ \t\n\r]*|([\]}]))")


def tree_of(paths: Collection[Path]) -> Tree:
    """Return the tree of some paths (at least one). If a path begins with another one, the shorter one counts."""
    if () in paths:
        return {}
    firsts = {path[0] for path in paths}
    return {first: tree_of([path[1:] for path in paths if path[0] in (first, None)]) for first in firsts}


def redact(value: bytes, tree: Tree) -> bytes | None:
    """Return a JSON value in which the parts are replaced to which a path of `tree` leads.

    Returns None if `value` is not JSON in UTF-8, has a key twice in an object, is nested deeper than `MAX_LEVELS`, or
    is larger than `MAX_BYTES`.
    """
    if not tree:
        return REDACTED_JSON.encode()
    if len(value) > MAX_BYTES or is_too_deep(value):
        return None
    try:
        return _Redaction(value.decode(), tree).result.encode()
    except ValueError:
        return None


class _Redaction:
    """Goes through a text once, when the object is made.

    Methods get the index at which something begins, and return the index after it.

    Raises:
        ValueError: The text is not JSON, or has a key twice in an object.

    Attributes:
        result: The text after the replacements.
    """

    def __init__(self, text: str, tree: Tree) -> None:
        self._text = text
        self._parts: list[str] = []
        self._copied = 0
        end = self._value(_after(_SPACE, text, 0), tree)
        if _after(_SPACE, text, end) != len(text):
            raise ValueError("something follows the value")
        self.result = "".join([*self._parts, text[self._copied :]])

    def _value(self, begin: int, tree: Tree | None) -> int:
        """Go through a value. `tree` has the paths that lead on from here; None if there are none."""
        if tree:
            opening = self._text[begin : begin + 1]
            if opening == "{":
                return self._object(begin, tree)
            if opening == "[":
                return self._list(begin, tree)
        _, end = _skip(self._text, begin)
        if tree is not None and not tree:
            self._parts += (self._text[self._copied : begin], REDACTED_JSON)
            self._copied = end
        return end

    def _object(self, begin: int, tree: Tree) -> int:
        text, others, keys = self._text, tree.get(None), set()
        index = _after(_BEGIN, text, begin)
        if text.startswith("}", index):
            return index + 1
        while True:
            match = _KEY.match(text, index)
            key, index = _escaped_key(text, index) if match is None else (match[1], match.end())
            if key in keys:
                raise ValueError("a key stands twice")
            keys.add(key)
            index = self._value(index, tree.get(key, others))
            match = _COMMA_OR_END.match(text, index)
            if match is None or match[1] == "]":
                raise ValueError("no end of an object")
            index = match.end()
            if match[1]:
                return index

    def _list(self, begin: int, tree: Tree) -> int:
        text, others, place = self._text, tree.get(None), 0
        index = _after(_BEGIN, text, begin)
        if text.startswith("]", index):
            return index + 1
        while True:
            index = self._value(index, tree.get(str(place), others))
            place += 1
            match = _COMMA_OR_END.match(text, index)
            if match is None or match[1] == "}":
                raise ValueError("no end of a list")
            index = match.end()
            if match[1]:
                return index


def _after(what: re.Pattern[str], text: str, index: int) -> int:
    match = what.match(text, index)
    if match is None:
        raise ValueError("no JSON")
    return match.end()


def _escaped_key(text: str, index: int) -> tuple[str, int]:
    """Return a key that has escapes, and the index of its value. `index` is that of the quote before the key."""
    if not text.startswith('"', index):
        raise ValueError("no key")
    key, index = _skip(text, index)
    return key, _after(_COLON, text, index)


def _without_doubles(members: list[tuple[str, object]]) -> None:
    if len(dict(members)) < len(members):
        raise ValueError("a key stands twice")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Numbers are not converted: it takes time, and Python converts no integer of more than 4,300 digits.
_skip: Final = json.JSONDecoder(
    object_pairs_hook=_without_doubles, parse_int=str, parse_float=str, parse_constant=_refuse_constant
).raw_decode
