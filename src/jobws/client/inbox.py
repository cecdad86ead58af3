"""What waits for one watch."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from jobws.client.subscription import Item, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobws.client.session import Session
    from jobws.client.subscriptions import Subscriptions
    from jobws.protocol.messages import Room


class Inbox:
    """Items for a watch, in order. Use `open_inbox`."""

    def __init__(
        self, session: Session[Subscriptions], watch: Watch, received: trio.MemoryReceiveChannel[Item], *, ended: bool
    ) -> None:
        self.ended = ended
        self._session = session
        self._watch = watch
        self._received = received

    async def get(self) -> Item:
        """The next item. Cancelling loses none. After one with `last` there is no other (`ended`)."""
        item = await self._received.receive()
        self.ended = self.ended or item.last
        self._session.talk.consume(self._watch, item.size)
        self._session.nudge()
        return item


@contextmanager
def open_inbox(
    session: Session[Subscriptions],
    rooms: Iterable[Room],
    events: frozenset[str] | None,
    *,
    strict: bool,
    gaps: bool,
    logs: bool = False,
) -> Iterator[Inbox]:
    """Watch the rooms while inside. Arguments as those of `Watch`."""
    # Bounded by the watch's backlog (`subscriptions.BACKLOG_BYTES`), not by the channel.
    send, received = trio.open_memory_channel[Item](math.inf)
    watch = Watch(rooms, events, strict=strict, gaps=gaps, put=send.send_nowait, logs=logs)
    inbox = Inbox(session, watch, received, ended=not watch.open)
    session.talk.join(watch)
    session.nudge()
    try:
        yield inbox
    finally:
        session.talk.leave(watch)
        session.nudge()
