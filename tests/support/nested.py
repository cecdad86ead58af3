"""Makes JSON that is nested as deep as a test wants."""

from __future__ import annotations


def nested_text(levels: int, inner: str = "") -> str:
    """Return so many lists within each other, as text. `inner` is the text in the innermost one."""
    return "[" * levels + inner + "]" * levels


def nested_list(levels: int, inner: object = None) -> list[object]:
    """Return so many lists within each other. `inner` is the item of the innermost one; None means that it is empty."""
    value: list[object] = [] if inner is None else [inner]
    for _ in range(levels - 1):
        value = [value]
    return value
