"""Lines of the log: as entries of the Redis stream that all programs share, and as records sent over HTTP. Pure.

Any program may write to the stream, so an entry is never refused; only what is too large is left out. A program that
sends a record over HTTP gets an error that says what is wrong with the record.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from jobws.errors import RequestError
from jobws.protocol.codec import Frame, job_frame, tail_of
from jobws.protocol.identifiers import MAX_SAFE_INTEGER, position, type_name
from jobws.protocol.nesting import is_too_deep, is_value_too_deep

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_STREAM: Final = "jobws:logs"
DEFAULT_LIMIT_ENTRIES: Final = 10_000
"""About how many lines the stream keeps: `XADD jobws:logs MAXLEN ~ 10000 * …`."""
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
"""The levels, from the least severe to the most severe."""
# Names of levels in Node's loggers (pino, bunyan, winston) and in Java's.
_SYNONYMS: Final = {"trace": "debug", "warn": "warning", "fatal": "critical"}
DEFAULT_LEVEL: Final = "info"
UNKNOWN_SOURCE: Final = "unknown"
OWN_SOURCE: Final = "jobws"
"""The source of the bridge's own lines."""
# The stack trace of Python's deepest recursion is about this long.
MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_FIELDS_BYTES: Final = 64 * 1024
MAX_NAME_CHARACTERS: Final = 512
_KNOWN: Final = frozenset({"level", "source", "message", "time", "queue", "jobId", "fields"})
_KNOWN_BYTES: Final = frozenset(name.encode() for name in _KNOWN)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_DIGITS: Final = re.compile(rb"\d{1,16}", re.ASCII)
_LOG: Final = b'"log"'

_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class LogRecord(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One line.

    Attributes:
        time: When the line was written, in milliseconds since 1970, on the clock of the program that wrote it.
        level: One of LEVELS.
        source: The program that wrote the line.
        message: The text.
        queue: The queue that the line names; None if it names none.
        job_id: The id of the job that the line is about; None if it is about none.
        fields: Further values, as a JSON object. Its key `truncated` is true if something was too large. None if there
            are no further values.
    """

    time: int
    level: str
    source: str
    message: str
    queue: str | None = None
    job_id: str | None = None
    fields: dict[str, Any] | None = None


def parse_level(text: str) -> str | None:
    """Return the level of LEVELS that `text` names, or None if it names none.

    `text` may be in upper or lower case, and may be a synonym, such as `warn`.
    """
    name = text.lower()
    name = _SYNONYMS.get(name, name)
    return name if name in LEVELS else None


def severity(level: str) -> int:
    """Return the rank of a level of LEVELS; a higher rank is more severe."""
    return LEVELS.index(level)


# ---- the stream ----


def from_entry(stream_id: str | bytes, fields: Mapping[bytes, bytes]) -> LogRecord:
    """Return the line that an entry of the stream contains. Never raises.

    An unknown level becomes `info`, a missing source `unknown`, a missing message the empty string, and a missing time
    that of the entry's id. Bytes that are not valid UTF-8 become U+FFFD. Unknown names go into `fields`. A message is
    cut at MAX_MESSAGE_BYTES, and fields beyond MAX_FIELDS_BYTES are left out.
    """
    message = fields.get(b"message", b"")
    time = fields.get(b"time", b"")
    truncated = len(message) > MAX_MESSAGE_BYTES
    more: dict[str, Any] | None = None
    if b"fields" in fields or not fields.keys() <= _KNOWN_BYTES:
        more, incomplete = _fields_of(fields)
        truncated = truncated or incomplete
    if truncated:
        more = {**(more or {}), "truncated": True}
    return LogRecord(
        int(time) if _DIGITS.fullmatch(time) and int(time) <= MAX_SAFE_INTEGER else position(stream_id)[0],
        parse_level(_name(fields.get(b"level", b""))) or DEFAULT_LEVEL,
        _name(fields.get(b"source", b"")) or UNKNOWN_SOURCE,
        message[:MAX_MESSAGE_BYTES].decode(errors="replace"),
        _name(fields.get(b"queue", b"")) or None,
        _name(fields.get(b"jobId", b"")) or None,
        more or None,
    )


def _name(value: bytes) -> str:
    return value[: 4 * MAX_NAME_CHARACTERS].decode(errors="replace")[:MAX_NAME_CHARACTERS]


def _fields_of(entry: Mapping[bytes, bytes]) -> tuple[dict[str, Any], bool]:
    """Return the values of an entry that are no attributes of a line, and whether some were left out as too large."""
    found: dict[str, Any] = {}
    left = MAX_FIELDS_BYTES
    for name, value in entry.items():
        if name not in _KNOWN_BYTES and (left := left - len(name) - len(value)) >= 0:
            found[name.decode(errors="replace")] = value.decode(errors="replace")
    text = entry.get(b"fields")
    if text is None or (left := left - len(text)) < 0:
        return found, left < 0
    # A key of `fields` overrides a field of the entry with the same name.
    known = _json_object(text)
    found.update({"fields": text.decode(errors="replace")} if known is None else known)
    return found, False


def _json_object(text: bytes) -> dict[str, Any] | None:
    if is_too_deep(text):
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


def to_entry(record: LogRecord) -> dict[str, str]:
    """Return the entry of a line, to be added to the stream. `from_entry` can read it as Redis returns it, in bytes.

    Never raises. Values that are too large are cut or left out as in `from_entry`. If the message is cut, the fields
    get the key `truncated`. Lone surrogates become U+FFFD, but not in `fields`.

    `fields` in the entry is `record.fields` as JSON, in which a value without a JSON form becomes its `str()`. If this
    fails, for instance because of a cycle or a lone surrogate, `fields` in the entry is `str(record.fields)`. If that
    fails, too, or if either text is too large, it is `{"truncated":true}`. It is absent if there are no fields.
    """
    message, fields = _text(record.message), record.fields
    if len(message.encode()) > MAX_MESSAGE_BYTES:
        message = message.encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")
        fields = {**(fields or {}), "truncated": True}
    entry = {
        "level": record.level,
        "source": _text(record.source)[:MAX_NAME_CHARACTERS],
        "message": message,
        "time": str(record.time),
    }
    if record.queue is not None:
        entry["queue"] = _text(record.queue)[:MAX_NAME_CHARACTERS]
    if record.job_id is not None:
        entry["jobId"] = _text(record.job_id)[:MAX_NAME_CHARACTERS]
    if fields:
        text = _json_or_text(fields)
        entry["fields"] = text if len(text.encode()) <= MAX_FIELDS_BYTES else '{"truncated":true}'
    return entry


def _json_or_text(fields: dict[str, Any]) -> str:
    """Return `fields` as JSON, or else as text. If a value's `str()` raises an exception, the line is not lost."""
    with suppress(Exception):
        if not is_value_too_deep(fields):
            return _encode(fields).decode()
    with suppress(Exception):
        text = _text(str(fields))
        if not is_too_deep(text):
            return text
    return '{"truncated":true}'


def _text(value: str) -> str:
    return _SURROGATE.sub("\ufffd", value)


# ---- HTTP ----


def parse_record(value: object, now_ms: int) -> LogRecord:
    """Return the record that a program sent as JSON.

    `message` is required. Unknown keys go into `fields`, since loggers put further values beside the message. A key of
    `fields` overrides such a key. A value of null counts as absent. `now_ms`, in milliseconds since 1970, is the time
    of a record that has none.

    Raises:
        RequestError: `bad-data`, with a message that names the wrong field.
    """
    if not isinstance(value, dict):
        raise RequestError("bad-data", f"a log record must be an object, not {type_name(value)}")
    message, time, fields = value.get("message"), value.get("time"), value.get("fields")
    if not isinstance(message, str):
        raise RequestError("bad-data", f"`message`: expected a string, got {type_name(message)}")
    if time is not None and (isinstance(time, bool) or not isinstance(time, int) or not 0 <= time <= MAX_SAFE_INTEGER):
        raise RequestError("bad-data", "`time`: expected epoch milliseconds, an integer from 0 to 2^53-1")
    if fields is not None and not isinstance(fields, dict):
        raise RequestError("bad-data", f"`fields`: expected an object, got {type_name(fields)}")
    more = {**{key: each for key, each in value.items() if key not in _KNOWN}, **(fields or {})}
    return LogRecord(
        now_ms if time is None else time,
        _level(value.get("level")),
        _optional_text(value, "source") or UNKNOWN_SOURCE,
        message,
        _optional_text(value, "queue"),
        _optional_text(value, "jobId"),
        more or None,
    )


def _level(value: object) -> str:
    if value is None:
        return DEFAULT_LEVEL
    level = parse_level(value) if isinstance(value, str) else None
    if level is None:
        raise RequestError("bad-data", f"`level`: expected one of {', '.join(LEVELS)}")
    return level


def _optional_text(value: dict[str, Any], key: str) -> str | None:
    text = value.get(key)
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise RequestError("bad-data", f"`{key}`: expected a string, got {type_name(text)}")
    return text


# ---- the wire ----


def log_frame(stream_id: bytes, record: LogRecord, *, replayed: bool) -> Frame:
    """Return the frame `log` of a line. `replayed` says that the line is of the past and was read from Redis."""
    data = _encode(record)
    return job_frame(_LOG, tail_of(data), position=stream_id, replayed=replayed)
