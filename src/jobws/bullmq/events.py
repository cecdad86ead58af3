"""An entry of a BullMQ event stream to the payload that clients get. Pure.

The payload equals what BullMQ's own QueueEvents emits (src/classes/queue-events.ts), plus `queue`: all fields as
strings, except `returnvalue` of `completed`, `data` of `progress` and `delay` of `delayed`, which are JSON values.
Whatever is wrong with an entry costs its own value and is counted; it never costs the event, since no outcome may be
missed.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from jobws.protocol.codec import json_text, raw_json
from jobws.protocol.messages import OUTCOMES, RESERVED_EVENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

# Which field of which event holds JSON text; QueueEvents 6.7 parses just these (the delay with Number()).
_JSON_FIELDS: Final = {b"completed": b"returnvalue", b"progress": b"data", b"delayed": b"delay"}
# Names repeat in every entry; this many are kept encoded, so that a producer of random names costs no memory.
_NAMES_KEPT: Final = 1024


class EventName(Struct, frozen=True):
    """An event's name as it goes over the wire: as clients choose it, and as JSON."""

    text: str
    json: bytes


class Life(Enum):
    """What an event says of its job's life, for a reader that goes through the events backwards."""

    LIVES = auto()
    """It lives, so no earlier outcome is its outcome."""
    ENDS = auto()
    """It has its outcome: `completed` or `failed`."""
    GONE = auto()
    """It was removed before it had one."""
    SAME = auto()
    """Nothing new: `progress`, the removal of a finished job, whatever BullMQ may add."""


class Kind(Struct, frozen=True):
    """An event's name, what the event says of its job's life, and whether it is an outcome."""

    name: EventName
    life: Life
    is_outcome: bool


HistoryEntry: TypeAlias = tuple[bytes, bytes, Kind]
"""An event that was read back: its stream id, its job's id, its kind."""

_FINISHED: Final = frozenset({b"completed", b"failed"})
# `waiting` comes with every attempt, and with prev=completed|failed after a retry by hand: the job lives in any case.
_LIVING: Final = frozenset({b"added", b"waiting", b"active", b"delayed", b"waiting-children"})

_event_names: dict[bytes, EventName] = {}
_kinds: dict[bytes, Kind] = {}
_field_names: dict[bytes, bytes] = {}


def kind_of(fields: Sequence[bytes]) -> Kind | None:
    """The kind of an entry's event; None if the entry has no `event`."""
    raw = fields[1] if fields and fields[0] == b"event" else field(fields, b"event")
    if raw is None:
        return None
    known = _kinds.get(raw)
    if known is not None:
        return known
    if raw == b"removed":
        # A key's name stands in `prev` (includes/removeJobWithChildren.lua). Not kept: it is not the name's alone.
        finished = field(fields, b"prev") in _FINISHED
        return _REMOVED[finished]
    kind = _kind(raw, Life.ENDS if raw in _FINISHED else Life.LIVES if raw in _LIVING else Life.SAME)
    if len(_kinds) < _NAMES_KEPT:
        _kinds[raw] = kind
    return kind


def _kind(raw: bytes, life: Life) -> Kind:
    name = event_name(raw)
    return Kind(name, life, name.text in OUTCOMES)


def event_name(raw: bytes) -> EventName:
    """The wire's name of a stream's event: its own, or `custom:<name>` where clients would take it for a frame."""
    known = _event_names.get(raw)
    if known is not None:
        return known
    text = raw.decode(errors="replace")
    if text in RESERVED_EVENTS:
        text = f"custom:{text}"
    name = EventName(text, json_text(text))
    if len(_event_names) < _NAMES_KEPT:
        _event_names[raw] = name
    return name


_REMOVED: Final = (_kind(b"removed", Life.GONE), _kind(b"removed", Life.SAME))


def field(fields: Sequence[bytes], name: bytes) -> bytes | None:
    """The value of a field of an entry, whose fields are a flat list of names and values."""
    for position in range(0, len(fields) - 1, 2):
        if fields[position] == name:
            return fields[position + 1]
    return None


def payload(queue_json: bytes, fields: Sequence[bytes], max_bytes: int) -> tuple[bytes, list[str]]:
    """An entry's payload as JSON in UTF-8, and what was wrong with the entry.

    Args:
        queue_json: The queue's label as a JSON string.
        fields: Names and values, alternating.
        max_bytes: A larger payload loses its largest fields and gets `truncated` and `bytes` (the size of what is
            missing, as JSON) instead.

    Returns:
        The JSON object, and a list of anomalies for the counters: `invalid-utf8`, `bad-json`, `missing-field`,
        `truncated`.
    """
    anomalies: list[str] = []
    event = fields[1] if fields[0] == b"event" else field(fields, b"event")
    json_field = _JSON_FIELDS.get(event) if event is not None else None
    parts: dict[bytes, bytes] = {}
    for index in range(0, len(fields) - 1, 2):
        field_name, value = fields[index], fields[index + 1]
        if field_name == b"event":
            continue
        name = _field_names.get(field_name) or _field_name(field_name)
        if field_name == json_field:
            encoded = raw_json(value)
            if encoded is None:
                anomalies.append("bad-json")
                encoded = _text(value, anomalies)
            parts[name] = name + encoded
        else:
            parts[name] = name + _text(value, anomalies)
    parts.pop(b',"queue":', None)  # ours says more than a custom event's
    if json_field is not None and _field_name(json_field) not in parts:
        anomalies.append("missing-field")
    rest = b"".join(parts.values())
    if len(rest) > max_bytes:
        anomalies.append("truncated")
        _truncate(parts, max_bytes)
        rest = b"".join(parts.values())
    return b'{"queue":%b%b}' % (queue_json, rest), anomalies


def _text(value: bytes, anomalies: list[str]) -> bytes:
    try:
        return json_text(value.decode())
    except UnicodeDecodeError:
        anomalies.append("invalid-utf8")
        return json_text(value.decode(errors="replace"))


def _field_name(name: bytes) -> bytes:
    """`,"name":`, ready to be followed by a value."""
    known = _field_names.get(name)
    if known is None:
        known = b",%b:" % json_text(name.decode(errors="replace"))
        if len(_field_names) < _NAMES_KEPT:
            _field_names[name] = known
    return known


def _truncate(parts: dict[bytes, bytes], max_bytes: int) -> None:
    """Leave the largest fields out. `parts` are by name; each has its name in front."""
    missing = left_out = 0
    total = sum(map(len, parts.values()))
    for name in sorted(parts, key=lambda name: len(parts[name]), reverse=True):
        if total - left_out <= max_bytes:
            break
        if name != b',"jobId":':
            part = parts.pop(name)
            left_out += len(part)
            missing += len(part) - len(name)
    parts[b',"truncated":'] = b',"truncated":true'
    parts[b',"bytes":'] = b',"bytes":%d' % missing
