"""How much Python does, without a clock: the instructions of its byte code are counted."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Work:
    """What was done.

    Attributes:
        instructions: How many. What a function written in C does counts as one.
    """

    def __init__(self) -> None:
        self.instructions = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Count what functions do that are called inside the context."""
    work = Work()

    def note(frame: Any, event: str, _argument: Any) -> Any:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            work.instructions += 1
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        yield work
    finally:
        sys.settrace(before)
