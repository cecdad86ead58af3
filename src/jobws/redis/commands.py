"""The types of a command for Redis, and of a stream entry as Redis sends it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Command: TypeAlias = tuple[str | bytes | int, ...]
"""A Redis command and its arguments."""

Entry: TypeAlias = "tuple[bytes, Sequence[bytes]]"
"""A stream entry: its id, and a flat list in which names and values alternate."""
