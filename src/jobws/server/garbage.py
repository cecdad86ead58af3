"""Collects garbage in short steps. Python's own collections would stop all tasks for up to 20 ms."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

# Fewer new objects are not worth a collection. To look at so many takes a third of a millisecond.
NEW_OBJECTS: Final = 3_000
PAUSE_SECONDS: Final = 0.1
BUSY_PAUSE_SECONDS: Final = 0.004
# After so many collections that each look at 6,000 objects or more, one looks at all objects. It may take 0.1 s.
COLLECTIONS: Final = 10_000


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
    """Collect garbage of new objects until cancelled, at most every 4 ms.

    An object that stays is looked at twice, and then again only after about 60 million other new objects.
    """
    while True:
        new, young, older = gc.get_count()
        is_busy = new >= NEW_OBJECTS
        if is_busy:
            gc.collect(2 if older >= COLLECTIONS else min(young, 1))
        await anyio.sleep(BUSY_PAUSE_SECONDS if is_busy else PAUSE_SECONDS)
