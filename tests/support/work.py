"""How much Python does, without a clock: how often it calls a function, or goes on with a generator."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Work:
    """What was done.

    Attributes:
        calls: Of functions in Python and in C, generators' steps included.
    """

    def __init__(self) -> None:
        self.calls = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Count what is done inside the context."""
    work = Work()

    def note(_frame: Any, event: str, _argument: Any) -> None:
        if event in ("call", "c_call"):
            work.calls += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield work
    finally:
        sys.setprofile(before)
