"""Limits how deep JSON may be nested. Pure.

The levels are counted before a text is parsed. Otherwise the limit would be that of Python's recursion, which depends
on the version of Python and on the depth of the caller.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LEVELS: Final = 512
"""How many lists and objects may be nested. Python 3.11 allows 1,000 nested calls, and callers need some of them."""
MAX_FRAME_LEVELS: Final = MAX_LEVELS + 8
"""The limit for frames of the bridge, which contain a worker's value within a few levels of their own."""
TOO_DEEP: Final = f"the JSON is nested too deep; it may have {MAX_LEVELS} levels"

_MARKS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes
_NO_MARKS: Final = bytes(set(range(256)) - set(b'[{]}"'))
_BLOCK: Final = 256


def is_too_deep(text: str | bytes, levels: int = MAX_LEVELS) -> bool:
    """Whether JSON text, complete or not, nests more than `levels` lists and objects.

    Text that is not valid JSON may count as too deep because of what comes after its first error. Nobody reads such
    text as JSON, whatever the answer is.
    """
    if len(text) <= levels:
        return False
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = data.translate(_MARKS, _NO_MARKS)
    if len(marks) <= levels:
        return False
    # Two adjacent quotes are the end and the beginning of a string, or the reverse. Without them, the other quotes
    # still have the same meaning.
    marks = b"".join(marks.replace(b'""', b"").split(b'"')[::2])
    depth = 0
    for start in range(0, len(marks), _BLOCK):
        block = marks[start : start + _BLOCK]
        opened = block.count(1)
        # Going through a block takes 50 times as long as counting in it.
        if depth + opened > levels and max(accumulate(array("b", block), initial=depth)) > levels:
            return True
        depth += 2 * opened - len(block)
    return False


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
