"""Identifiers in messages: job ids, labels of queues, stream ids and positions.

The WebSocket, HTTP, the command line and the Python client all use these functions. So an id that one of them refuses
is refused by all, with the same sentence.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from jobws.errors import RequestError

MAX_JOB_ID_BYTES: Final = 512
MAX_QUEUE_BYTES: Final = 512
"""How many bytes of UTF-8 the label of an unknown queue may have."""
# The largest integer up to which JavaScript's numbers are exact (ECMA-262 §21.1.2.6).
MAX_SAFE_INTEGER: Final = 2**53 - 1

# Suffixes of BullMQ's own keys (src/classes/queue-keys.ts). A job with such an id would use the same key.
KEY_SUFFIXES: Final = frozenset(
    {
        "active",
        "completed",
        "delayed",
        "events",
        "failed",
        "id",
        "limiter",
        "marker",
        "meta",
        "metrics:completed",
        "metrics:failed",
        "paused",
        "pc",
        "prioritized",
        "repeat",
        "stalled",
        "stalled-check",
        "wait",
        "waiting-children",
    }
)

_TYPE_NAMES: Final = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def type_name(value: object) -> str:
    """Return the words for the type of a JSON value in an error message, for instance `a boolean`."""
    return _TYPE_NAMES.get(type(value), "something else")


def is_text(value: str) -> bool:
    """Whether `value` can be encoded as UTF-8, that is, contains no lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def can_be_queue(label: str) -> bool:
    """Whether a queue could have this label."""
    return bool(label) and is_text(label) and len(label.encode()) <= MAX_QUEUE_BYTES


def parse_job_id(value: object) -> str:
    """Return a job id as text, from the JSON value that a client sent.

    Args:
        value: Any string of 1 to 512 bytes of UTF-8, or an integer within ±(2^53-1), which means its decimal text.
            BullMQ allows nearly everything in an id, so the text is not interpreted.

    Raises:
        RequestError: `bad-job-id`, with a message that says what was expected.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > MAX_SAFE_INTEGER:
            raise _bad_id(f"a number must be within ±{MAX_SAFE_INTEGER}; send longer ids as a string")
        return str(value)
    if isinstance(value, float):
        raise _bad_id("a number must be an integer written without fraction or exponent")
    if not isinstance(value, str):
        raise _bad_id(f"expected a string or an integer, got {type_name(value)}")
    if not value:
        raise _bad_id("it is empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise _bad_id("it holds a lone surrogate, which is not valid Unicode text") from None
    if size > MAX_JOB_ID_BYTES:
        raise _bad_id(f"it has {size} bytes of UTF-8, the limit is {MAX_JOB_ID_BYTES}")
    if value in KEY_SUFFIXES:
        raise _bad_id(f'"{value}" is the name of one of BullMQ\'s own keys')
    return value


def _bad_id(reason: str) -> RequestError:
    return RequestError("bad-job-id", f"bad job id: {reason}")


Position: TypeAlias = tuple[int, int]
"""A stream id as two unsigned integers. Ids are ordered as these pairs are."""
START: Final = "0-0"
"""The id before every entry of a stream."""
MAX_SUFFIX_BYTES: Final = 64
"""How many bytes of UTF-8 may follow the `~` of a position."""
_STREAM_ID: Final = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?", re.ASCII)


def parse_stream_id(text: str) -> Position | None:
    """Return a Redis stream id as two unsigned integers, or None if `text` is not a stream id.

    Source: Redis, t_stream.c, streamParseID. A missing second half is 0.
    """
    match = _STREAM_ID.fullmatch(text)
    if match is None:
        return None
    pair = int(match[1]), int(match[2] or 0)
    return pair if max(pair) < 2**64 else None


def parse_position(text: str) -> tuple[str, str | None] | None:
    """Return the stream id of a client's position, and the text after its `~`; None if `text` is not a position.

    The text after the `~` is None if there is no `~`.
    """
    stream_id, tilde, suffix = text.partition("~")
    found = parse_stream_id(stream_id)
    if found is None or not is_text(suffix) or len(suffix.encode()) > MAX_SUFFIX_BYTES:
        return None
    return "{}-{}".format(*found), suffix if tilde else None


def position(stream_id: str | bytes) -> Position:
    """Return a stream id as two integers. It is not checked, and must be complete, such as `1795435729358-0`.

    Ids from Redis, and those that `parse_position` returns, are complete.
    """
    milliseconds, _, sequence = stream_id.partition("-") if isinstance(stream_id, str) else stream_id.partition(b"-")
    return int(milliseconds), int(sequence)


def is_after(first: bytes, second: bytes) -> bool:
    """Whether `first` is the higher one of two stream ids. Both must come from Redis.

    This is called for every subscription of a room. So ids whose milliseconds have equally many digits are compared as
    text, which takes 0.2 µs instead of 1.2 µs. Of two numbers with different lengths, the longer one is higher.
    """
    dash = first.find(b"-")
    if dash != second.find(b"-"):
        return position(first) > position(second)
    if len(first) == len(second) or first[:dash] != second[:dash]:
        return first > second
    return len(first) > len(second)


def later(first: str, second: str) -> str:
    """Return the higher one of two stream ids."""
    return max(first, second, key=position)


def before(stream_id: str | bytes) -> str:
    """Return the highest stream id that is lower than `stream_id`, or `0-0` for `0-0` itself."""
    milliseconds, sequence = position(stream_id)
    if sequence:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{2**64 - 1}" if milliseconds else START


def lower(first: str, second: str) -> str:
    """Return the lower one of two stream ids."""
    return min(first, second, key=position)
