"""What waits for one watcher."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from jobws.client.watcher import Item, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobws.client.rooms import Rooms
    from jobws.client.session import Session
    from jobws.protocol.messages import Room


class Inbox:
    """Items for a watcher, in order. Use `open_inbox`."""

    def __init__(
        self, session: Session[Rooms], watcher: Watcher, received: trio.MemoryReceiveChannel[Item], *, ended: bool
    ) -> None:
        self.ended = ended
        self._session = session
        self._watcher = watcher
        self._received = received

    async def get(self) -> Item:
        """The next item. Cancelling loses none. After one with `last` there is no other (`ended`)."""
        item = await self._received.receive()
        self.ended = self.ended or item.last
        self._session.talk.consume(self._watcher, item.size)
        self._session.nudge()
        return item


@contextmanager
def open_inbox(
    session: Session[Rooms],
    rooms: Iterable[Room],
    events: frozenset[str] | None,
    *,
    strict: bool,
    gaps: bool,
    logs: bool = False,
) -> Iterator[Inbox]:
    """Watch the rooms while inside. Arguments as those of `Watcher`."""
    # Bounded by the watcher's backlog (`rooms.BACKLOG_BYTES`), not by the channel.
    send, received = trio.open_memory_channel[Item](math.inf)
    watcher = Watcher(rooms, events, strict=strict, gaps=gaps, put=send.send_nowait, logs=logs)
    inbox = Inbox(session, watcher, received, ended=not watcher.open)
    session.talk.join(watcher)
    session.nudge()
    try:
        yield inbox
    finally:
        session.talk.leave(watcher)
        session.nudge()
