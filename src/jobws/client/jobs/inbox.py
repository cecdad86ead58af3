"""What waits for one watch."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from jobws.client.jobs.subscription import Item, Subscription, Watch
from jobws.protocol.messages import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobws.client.connection.reconnecting import Session
    from jobws.client.jobs.subscriptions import Subscriptions
    from jobws.protocol.request_types import Room


class Inbox:
    """Items of a watch, in order. Use `open_inbox`."""

    def __init__(self, session: Session[Subscriptions], watch: Watch, items: trio.MemoryReceiveChannel[Item]) -> None:
        self._open = len(watch.open)
        self._session = session
        self._watch = watch
        self._items = items

    @property
    def ended(self) -> bool:
        """Whether there is no other item."""
        return not self._open

    async def get(self) -> Item:
        """The next item. Cancelling loses none."""
        item = await self._items.receive()
        self._open -= item.last
        self._session.talk.consume(self._watch, item.size)
        self._session.nudge()
        return item


@contextmanager
def open_inbox(
    session: Session[Subscriptions],
    rooms: Iterable[Room],
    events: frozenset[str] | None = OUTCOMES,
    *,
    strict: bool,
    logs: bool = False,
) -> Iterator[Inbox]:
    """Watch the rooms while inside. Arguments as those of `Watch`."""
    # Bounded by the watch's backlog (`subscriptions.BACKLOG_BYTES`), not by the channel.
    send, items = trio.open_memory_channel[Item](math.inf)
    watch = Watch(send.send_nowait, events, strict, logs)
    for room in rooms:
        Subscription(watch, room)
    inbox = Inbox(session, watch, items)
    session.talk.join(watch)
    session.nudge()
    try:
        yield inbox
    finally:
        session.talk.leave(watch)
        session.nudge()
