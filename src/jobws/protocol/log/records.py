"""A line of the log: as an entry of the Redis stream that all programs share, and as they hand it in. Pure.

Anybody's program writes into the stream, so it is read leniently: nothing there is refused, and nothing of it is lost
but what is too large. Who hands a record in over HTTP is told what is wrong with it.
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
"""How many lines the stream keeps: `XADD jobws:logs MAXLEN ~ 10000 * …`."""
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
"""From the least severe to the most."""
# What Node's loggers (pino, bunyan, winston) and Java's call them.
_SYNONYMS: Final = {"trace": "debug", "warn": "warning", "fatal": "critical"}
DEFAULT_LEVEL: Final = "info"
UNKNOWN_SOURCE: Final = "unknown"
# A stack trace of Python's deepest recursion has about that.
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

    `time` is in epoch milliseconds, of the clock of the program that wrote it; `level` one of LEVELS; `source` says
    which program that was. `queue` and `job_id` are those of the job that it is about, None: of none. `fields` is what
    else the program had to say, as a JSON object; its key `truncated` is true where something was too large.
    """

    time: int
    level: str
    source: str
    message: str
    queue: str | None = None
    job_id: str | None = None
    fields: dict[str, Any] | None = None


def parse_level(text: str) -> str | None:
    """The level that `text` names, in upper or lower case; None: it names none."""
    name = text.lower()
    name = _SYNONYMS.get(name, name)
    return name if name in LEVELS else None


def severity(level: str) -> int:
    """How severe a level of LEVELS is; more is worse."""
    return LEVELS.index(level)


# ---- the stream ----


def from_entry(stream_id: str | bytes, fields: Mapping[bytes, bytes]) -> LogRecord:
    """The line in an entry, whatever it holds; nothing is raised.

    An unknown level is `info`, a missing source `unknown`, a missing message empty, a missing time the entry's own;
    bytes that are no UTF-8 become U+FFFD. Names that are not known go into `fields`. A message of more than
    MAX_MESSAGE_BYTES is cut, and what is more than MAX_FIELDS_BYTES of fields left out.
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
    """What an entry has besides the known fields, and whether it was too much."""
    found: dict[str, Any] = {}
    left = MAX_FIELDS_BYTES
    for name, value in entry.items():
        if name not in _KNOWN_BYTES and (left := left - len(name) - len(value)) >= 0:
            found[name.decode(errors="replace")] = value.decode(errors="replace")
    text = entry.get(b"fields")
    if text is None or (left := left - len(text)) < 0:
        return found, left < 0
    # What a program says under `fields` stands against what it says beside it.
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
    """The entry of a line, which `from_entry` reads; nothing is raised.

    What is too large is cut or left out as there. Lone surrogates become U+FFFD, values that JSON does not know their
    `str()`, and fields that are no JSON all the same (a cycle) one text.
    """
    message, fields = _text(record.message), record.fields
    if len(message.encode()) > MAX_MESSAGE_BYTES:
        message = message.encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")
        fields = {**(fields or {}), "truncated": True}
    entry = {
        **{"level": record.level, "source": _text(record.source)[:MAX_NAME_CHARACTERS], "message": message},
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
    """What their own `str()` raises is no reason to lose the line."""
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
    """The record that somebody hands in as JSON. `now_ms` is its time if it has none, in epoch milliseconds.

    `message` is required. Keys that are not known go into `fields`, as loggers put what they have to say beside the
    message; a key of `fields` stands against one beside it. null counts as absent.

    Raises:
        RequestError: `bad-data`, naming the field that is wrong.
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
    """The frame `log` of a line; `replayed`: it was read back."""
    data = _encode(record)
    return job_frame(_LOG, tail_of(data), position=stream_id, replayed=replayed)
