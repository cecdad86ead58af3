"""Collects garbage in short steps. Python's own collections would stop all tasks for up to 20 ms."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

# Fewer new objects are not worth a collection.
NEW_OBJECTS: Final = 3_000
PAUSE_SECONDS: Final = 0.1
BUSY_PAUSE_SECONDS: Final = 0.004
# While many objects stay, such as those of new connections, garbage among them is looked for once in this time.
LOOK_SECONDS: Final = 1.0


@contextmanager
def no_other_collections() -> Iterator[None]:
    """Let only `collect_garbage` collect garbage inside this context. Objects that exist before are never looked at.

    Those stay until the end anyway. At the end, Python's own collections are enabled again.

    Reference counts free nearly all others, so a collection finds little. With Python's own thresholds, collections
    took a quarter of the CPU at 1,000 connections. They also come in the midst of long steps, such as the reading of
    10,000 stream entries, and then look at 20,000 objects that are in use.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def collect_garbage() -> None:
    """Collect garbage of new objects until cancelled.

    To look at an object takes up to a microsecond. While thousands of clients come, whose objects stay, only those of
    a few milliseconds in each second are looked at, and the others never. If there is garbage among these, all are
    looked at until there is none.
    """
    before, look_at, found = 0, 0.0, 0
    while True:
        new, now = gc.get_count()[0], anyio.current_time()
        if new >= NEW_OBJECTS and (new - before < NEW_OBJECTS or found or now >= look_at):
            found, look_at = gc.collect(1), now + LOOK_SECONDS
        elif new >= NEW_OBJECTS:
            gc.freeze()
        before = gc.get_count()[0]
        await anyio.sleep(BUSY_PAUSE_SECONDS if new >= NEW_OBJECTS else PAUSE_SECONDS)
