"""The backlog: what one client missed and must still get, as events from streams and outcomes from jobs' hashes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jobws.hub.jobs.missed import Owed, Replay

if TYPE_CHECKING:
    from collections.abc import Iterable

# What `Backlog.take` returns: past events, each as its replay and its index in the replay; or else outcomes.
Taken = tuple[list[tuple[Replay, int]], list[Owed]]


class Backlog:
    """What one client missed and must still get, in order.

    A backlog is false (`bool`) if nothing is left, and what was taken last has been delivered.
    """

    __slots__ = ("_items", "_taken")

    def __init__(self) -> None:
        self._items: deque[Replay | Owed] = deque()
        self._taken = False

    def __bool__(self) -> bool:
        return bool(self._items) or self._taken

    def add(self, items: Iterable[Replay | Owed]) -> None:
        """Add items at the end."""
        self._items.extend(items)

    def take(self, count: int) -> Taken:
        """Return a list of up to `count` events, and one of up to `count` outcomes. At least one of the lists is empty.

        Both are empty if nothing is left. The caller delivers what it gets and then calls `take` again. The backlog is
        true until a call finds nothing, so also while the last items are being delivered.
        """
        events: list[tuple[Replay, int]] = []
        owed: list[Owed] = []
        items = self._items
        while items and len(events) + len(owed) < count:
            first = items[0]
            if first.subscription.ended:
                items.popleft()
            elif isinstance(first, Owed):
                if events:
                    break
                owed.append(first)
                items.popleft()
            else:
                if owed:
                    break
                first.open()
                events.append((first, first.index))
                first.index += 1
                if first.index == len(first):
                    items.popleft()
        self._taken = bool(events or owed)
        return events, owed
