"""Turns an entry of a BullMQ event stream into the payload that clients get. Pure.

The payload equals what BullMQ's own QueueEvents emits (src/classes/queue-events.ts), plus `queue`. All its values are
strings, except `returnvalue` of `completed`, `data` of `progress` and `delay` of `delayed`, which are JSON values. A
value that cannot be read is replaced and counted, and the event is sent all the same, since no outcome may be missed.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Raw, Struct

from jobws.protocol.codec import encode_json, json_text, raw_json
from jobws.protocol.job_path import job_path
from jobws.protocol.messages import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.privacy.rules import QueueRules

# The field of each event that holds JSON text. QueueEvents 6.7 parses only these (`delay` with Number()).
_JSON_FIELDS: Final = {b"completed": b"returnvalue", b"progress": b"data", b"delayed": b"delay"}
# Names that mean something else to clients of jobws, or to code written for socket.io. A custom event with such a name
# is sent as `custom:<name>`.
RESERVED_EVENTS: Final = frozenset(
    {
        "hello",
        "ack",
        "error",
        "gap",
        "pong",
        "ping",
        "expiring",
        "ended",
        "authenticate",
        "dropped",
        "job-log",
        "queue-stats",
        "connect",
        "connect_error",
        "disconnect",
    }
)
# The names of events and fields repeat in every entry, so each is encoded as JSON only once. This is how many names of
# each sort are cached, so that a producer of random names cannot fill the memory.
_NAMES_KEPT: Final = 1024


class EventName(Struct, frozen=True):
    """An event's name, as clients see it and subscribe to it: as text, and as a JSON string."""

    text: str
    json: bytes


class Life(Enum):
    """What an event says about whether its job is alive or has ended.

    The newest event of a job that is not `SAME` decides; older events no longer count.
    """

    LIVES = auto()
    """The job was alive then, so no earlier outcome counts."""
    ENDS = auto()
    """The job ended with this event: `completed` or `failed`."""
    GONE = auto()
    """The job was removed before it ended."""
    SAME = auto()
    """The event changes nothing: `progress`, the removal of a finished job, or an event that jobws does not know."""


class Kind(Struct, frozen=True):
    """What an event's name says: the name itself, whether the job is alive, and whether the event is an outcome."""

    name: EventName
    life: Life
    is_outcome: bool


_Values: TypeAlias = "dict[str, str | int | Raw]"
HistoryEntry: TypeAlias = tuple[bytes, bytes | None, Kind]
"""An event of the past: its stream id, the id of its job (None for an event of the queue itself), and its kind."""

_FINISHED: Final = frozenset({b"completed", b"failed"})
# `waiting` comes with every attempt, and with prev=completed|failed after a manual retry: the job is alive either way.
_LIVING: Final = frozenset({b"added", b"waiting", b"active", b"delayed", b"waiting-children"})

_event_names: dict[bytes, EventName] = {}
_kinds: dict[bytes, Kind] = {}
_field_names: dict[bytes, str] = {}


def kind_of(fields: Sequence[bytes]) -> Kind | None:
    """Return the kind of an entry's event, or None if the entry has no field `event`.

    `fields` is a flat list in which names and values alternate.
    """
    raw = fields[1] if fields and fields[0] == b"event" else field(fields, b"event")
    if raw is None:
        return None
    known = _kinds.get(raw)
    if known is not None:
        return known
    if raw == b"removed":
        # `prev` names the state that the job was in (includes/removeJobWithChildren.lua). The kind depends on it, so
        # the kind is not cached by the event's name.
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
    """Return an event's name as clients see it: `raw`, or `custom:<raw>` if it is one of `RESERVED_EVENTS`.

    Bytes that are not valid UTF-8 become U+FFFD.
    """
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


PROGRESS: Final = _kinds.setdefault(b"progress", _kind(b"progress", Life.SAME))
"""The kind of `progress`: this object for each event of that name."""
_REMOVED: Final = (_kind(b"removed", Life.GONE), _kind(b"removed", Life.SAME))


def field(fields: Sequence[bytes], name: bytes) -> bytes | None:
    """Return the value of the field `name`, or None. `fields` is a flat list in which names and values alternate."""
    for position in range(0, len(fields) - 1, 2):
        if fields[position] == name:
            return fields[position + 1]
    return None


def payload(
    queue: str, at: bytes, fields: Sequence[bytes], max_bytes: int, rules: QueueRules | None
) -> tuple[bytes, list[str]]:
    """Return an entry's payload as JSON in UTF-8, and a list of what was wrong with the entry.

    Args:
        queue: The queue's label.
        at: The position of the event. It is not in the payload, except in `href`; frames have it as their `id`.
        fields: The entry's fields, as a flat list in which names and values alternate.
        max_bytes: How many bytes the fields, except `event`, may have as JSON with their names. If they have more, the
            largest ones are left out, but never `jobId`. The payload then also has `"truncated":true`, `bytes`, the
            size of the values that were left out as JSON, and `href`, the path of the whole event. These three and
            `queue` do not count. An event without a job has no `href`.
        rules: What clients are not shown of the event; None if they are shown everything.

    Returns:
        The JSON object, and the names of the counters to increment: `invalid-utf8`, `bad-json`, `missing-field`,
        `truncated`.
    """
    anomalies: list[str] = []
    event = fields[1] if fields[0] == b"event" else field(fields, b"event")
    json_field = _JSON_FIELDS.get(event) if event is not None else None
    if rules is not None:
        fields = rules.event(fields, json_field)
    values: _Values = {"queue": queue}
    for index in range(0, len(fields) - 1, 2):
        field_name, value = fields[index], fields[index + 1]
        if field_name == b"event":
            continue
        name = _field_names.get(field_name) or _field_name(field_name)
        if field_name == json_field:
            if (json := raw_json(value)) is not None:
                values[name] = Raw(json)
                continue
            anomalies.append("bad-json")
        try:
            values[name] = value.decode()
        except UnicodeDecodeError:
            anomalies.append("invalid-utf8")
            values[name] = value.decode(errors="replace")
    values["queue"] = queue  # a custom event may have a field of this name, too
    if json_field is not None and _field_name(json_field) not in values and rules is None:
        anomalies.append("missing-field")
    data = encode_json(values)
    if len(data) > max_bytes and _truncate(values, max_bytes):
        anomalies.append("truncated")
        job_id = field(fields, b"jobId")
        if job_id:
            values["href"] = job_path(queue, job_id.decode(errors="replace"), at.decode())
        data = encode_json(values)
    return data, anomalies


def _field_name(name: bytes) -> str:
    known = _field_names.get(name)
    if known is None:
        known = name.decode(errors="replace")
        if len(_field_names) < _NAMES_KEPT:
            _field_names[name] = known
    return known


def _truncate(values: _Values, max_bytes: int) -> bool:
    """Remove the largest values until the others have at most `max_bytes`. Never remove `queue` and `jobId`.

    Then add two values: `truncated`, and `bytes`, the size of the removed values without their names.

    Args:
        values: The values by name. Changed in place.
        max_bytes: How many bytes the values may have together, as JSON with their names. `queue` does not count, and
            neither do the two new values.

    Returns:
        False if there was nothing to remove. Then nothing is added either.
    """
    sizes = {name: len(encode_json(value)) for name, value in values.items() if name != "queue"}
    whole = {name: len(encode_json(name)) + len(",:") + size for name, size in sizes.items()}
    total, missing = sum(whole.values()), 0
    if total <= max_bytes:
        return False
    for name in sorted(whole, key=whole.__getitem__, reverse=True):
        if total <= max_bytes:
            break
        if name != "jobId":
            del values[name]
            total -= whole[name]
            missing += sizes[name]
    values["truncated"] = True
    values["bytes"] = missing
    return True
