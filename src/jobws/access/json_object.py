"""Reads the JSON object of a token or of a file of keys. Refuses a name that occurs twice, and NaN and Infinity."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from jobws.protocol.nesting import is_too_deep

_MOST_LEVELS: Final = 32


def read_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that `data` is.

    Raises:
        ValueError: `data` is not UTF-8, not JSON, not an object, is nested more than 32 levels, has a name twice in an
            object, or has NaN or Infinity.
    """
    if is_too_deep(data, _MOST_LEVELS):
        raise ValueError("it is nested too deep")
    value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the text is wrong, not a type
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a name twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
