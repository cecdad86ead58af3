"""Reads log records from JSON text. Values that are too large for a log line are checked, but not built.

Other tasks would wait meanwhile: a megabyte of `[],[],…` takes 1.5 ms to check and 45 ms to build. Pure.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from jobws.protocol.codec import bad_json, decode_json, decode_part
from jobws.protocol.log.records import MAX_FIELDS_BYTES, MAX_MESSAGE_BYTES
from jobws.protocol.nesting import check_levels

LARGE: Final = MAX_FIELDS_BYTES
"""From how many characters on a record is read part by part."""


class _Parts(Struct, rename="camel"):
    """The keys of a log record that have a meaning, with values that are not read yet."""

    message: Raw | UnsetType = UNSET
    level: Raw | UnsetType = UNSET
    source: Raw | UnsetType = UNSET
    time: Raw | UnsetType = UNSET
    queue: Raw | UnsetType = UNSET
    job_id: Raw | UnsetType = UNSET
    fields: Raw | UnsetType = UNSET


class _OnlyParts(_Parts, forbid_unknown_fields=True):
    """The same keys. A record that has others is refused."""


def decode_record(text: str, subject: str) -> object:
    """Return the JSON value of a log record, for `parse_record`.

    If the text has at most LARGE characters, this is the whole value. From a longer text, keys without a meaning are
    left out. A value of more than MAX_FIELDS_BYTES that is not a string becomes an empty list or object. A message is
    shortened to MAX_MESSAGE_BYTES + 1 characters, so that it still counts as too large. If keys were left out, or if
    `fields` was too large, `fields` gets the key `truncated`. A text that is no object becomes a value that
    `parse_record` refuses.

    Args:
        text: The JSON text.
        subject: What the text is called at the beginning of an error message.

    Raises:
        RequestError: `bad-json` or `too-deep`.
    """
    if len(text) <= LARGE:
        return decode_json(text, subject)
    check_levels(text)
    truncated = False
    try:
        try:
            parts: _Parts = msgspec.json.decode(text, type=_OnlyParts)
        except msgspec.ValidationError:
            truncated = True
            parts = msgspec.json.decode(text, type=_Parts)
    except msgspec.ValidationError:  # no object
        return {"[": [], '"': ""}.get(text.lstrip(" \t\r\n")[0], 0)
    except msgspec.DecodeError as error:
        raise bad_json(text, subject, error) from None
    value: dict[str, Any] = {
        name: decode_part(bytes(raw), subject)
        for name, raw in zip(_NAMES, _raws(parts), strict=True)
        if isinstance(raw, Raw)
    }
    if isinstance(value.get("message"), str):
        value["message"] = value["message"][: MAX_MESSAGE_BYTES + 1]  # long enough to be cut, and marked, as others
    if isinstance(parts.fields, Raw) and len(bytes(parts.fields)) > MAX_FIELDS_BYTES:
        truncated = True
    fields = value.get("fields")
    if truncated and (fields is None or isinstance(fields, dict)):
        value["fields"] = {**(fields or {}), "truncated": True}
    return value


_NAMES: Final = _Parts.__struct_encode_fields__


def _raws(parts: _Parts) -> list[Raw | UnsetType]:
    return [getattr(parts, name) for name in _Parts.__struct_fields__]
