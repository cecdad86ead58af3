"""Limits how deep JSON may be nested, and how many values it may have. Pure.

Both are counted before a text is parsed. Otherwise the limit of the depth would be that of Python's recursion, which
depends on the version of Python and on the depth of the caller.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from jobws.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LEVELS: Final = 512
"""How many lists and objects may be nested. Python 3.11 allows 1,000 nested calls, and callers need some of them."""
MAX_FRAME_LEVELS: Final = MAX_LEVELS + 8
"""The limit for frames of the bridge, which contain a worker's value within a few levels of their own."""
TOO_DEEP: Final = f"the JSON is nested too deep; it may have {MAX_LEVELS} levels"

MAX_MESSAGE_MARKS: Final = 25_000
"""How many marks (see `count_marks`) a message may have. To parse so many takes up to 2 ms."""
MAX_BODY_MARKS: Final = 200_000
"""How many marks a body may have. To check so many, without building values, takes a millisecond."""

_BRACKETS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b'[{]}"'))
_NO_MARKS: Final = bytes(set(range(256)) - set(b'[{,"'))
_BLOCK: Final = 256
_PIECE: Final = 16 * 1024


def check_levels(text: str, levels: int = MAX_LEVELS) -> None:
    """Check that JSON text is not nested deeper than `levels`. Raises RequestError (`too-deep`) if it is."""
    if is_too_deep(text, levels):
        raise RequestError("too-deep", TOO_DEEP)


def check_marks(text: str, most: int, subject: str) -> Iterator[None]:
    """Check that JSON text has at most `most` marks; see `count_marks`. `subject` begins the error's sentence.

    This is a generator of short steps, which the caller must exhaust.

    Raises:
        RequestError: `too-many`.
    """
    if len(text) <= most:
        return
    for count in count_marks(text):
        if count > most:
            what = "lists, objects and commas outside of strings"
            raise RequestError("too-many", f"{subject} may have {most} {what}, this one has more")
        yield


def is_too_deep(text: str | bytes, levels: int = MAX_LEVELS) -> bool:
    """Whether JSON text, complete or not, nests more than `levels` lists and objects.

    Text that is not valid JSON may count as too deep because of what comes after its first error. Nobody reads such
    text as JSON, whatever the answer is.
    """
    if len(text) <= levels:
        return False
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if data.count(b"[") + data.count(b"{") <= levels:  # also those in strings
        return False
    # Two adjacent quotes are the end and the beginning of a string, or the reverse. Without them, the other quotes
    # still have the same meaning.
    brackets = b"".join(_unescaped(data).translate(_BRACKETS, _NO_BRACKETS).replace(b'""', b"").split(b'"')[::2])
    depth = 0
    for start in range(0, len(brackets), _BLOCK):
        block = brackets[start : start + _BLOCK]
        opened = block.count(1)
        # Going through a block takes 50 times as long as counting in it.
        if depth + opened > levels and max(accumulate(array("b", block), initial=depth)) > levels:
            return True
        depth += 2 * opened - len(block)
    return False


def count_marks(text: str) -> Iterator[int]:
    """Count the marks of JSON text: opening brackets of lists and objects, and commas, all outside of strings.

    A value with many parts has many marks. If the text is not valid JSON, the result means nothing. This is a generator
    of short steps: it yields the number of marks so far, after each 16 KiB.
    """
    data = text.encode(errors="surrogatepass")
    start, count, in_string = 0, 0, False
    while start < len(data):
        end = start + _PIECE
        while data[end - 1 : end] == b"\\":  # so that no escape is cut in two
            end += 1
        parts = _unescaped(data[start:end]).translate(None, _NO_MARKS).split(b'"')
        count += sum(map(len, parts[in_string::2]))
        in_string ^= len(parts) % 2 == 0
        start = end
        yield count


def _unescaped(data: bytes) -> bytes:
    """Return JSON text without escaped quotes and backslashes, so that each quote begins or ends a string."""
    return data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data


def is_value_too_deep(value: object, levels: int = MAX_LEVELS) -> bool:
    """Whether `value` nests more than `levels` lists, tuples and dictionaries. This is true for every cycle."""
    opened: list[Iterator[object]] = [iter((value,))]
    while opened:
        for each in opened[-1]:
            if isinstance(each, (dict, list, tuple)):
                if len(opened) > levels:
                    return True
                opened.append(iter(each.values() if isinstance(each, dict) else each))
                break
        else:
            opened.pop()
    return False
