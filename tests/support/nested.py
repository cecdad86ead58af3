"""JSON that is nested as deep as a test wants it."""

from __future__ import annotations


def nested_text(levels: int, inner: str = "") -> str:
    """Lists within each other, as text; `inner` is what the innermost holds."""
    return "[" * levels + inner + "]" * levels


def nested_list(levels: int, inner: object = None) -> list[object]:
    """The same as a value; `inner` None: the innermost is empty."""
    value: list[object] = [] if inner is None else [inner]
    for _ in range(levels - 1):
        value = [value]
    return value
