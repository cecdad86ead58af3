"""Commands for Redis, and what Redis answers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import hiredis

if TYPE_CHECKING:
    from collections.abc import Sequence

Command: TypeAlias = tuple[str | bytes | int, ...]
"""A Redis command and its arguments."""

Entry: TypeAlias = "tuple[bytes, Sequence[bytes]]"
"""A stream entry: its id, and a flat list in which names and values alternate."""


def is_wrong_type(reply: object) -> bool:
    """Whether a reply is the error that the key holds another type of value than the command needs."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("WRONGTYPE")
