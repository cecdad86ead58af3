"""What is sent to Redis, and an entry of a stream as Redis sends it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Command: TypeAlias = tuple[str | bytes | int, ...]
"""A Redis command and its arguments."""

Entry: TypeAlias = "tuple[bytes, Sequence[bytes]]"
"""A stream entry: its id, and names and values alternating."""
