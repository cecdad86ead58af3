"""Keeps what came for a watch until a task of the user gets it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Self

import trio

from jobws.client.jobs.subscription import Item, Subscription, Watch
from jobws.protocol.messages import OUTCOMES

if TYPE_CHECKING:
    from jobws.client.connection.reconnecting import Session
    from jobws.client.jobs.subscriptions import Subscriptions
    from jobws.protocol.request_types import Room


class Inbox(AsyncIterator[Item]):
    """Watches jobs or whole queues inside its context, and yields what comes for them.

    `session` is that of the client. `rooms` are the jobs or queues, and `subscribe` makes the subscription of the watch
    to one of them. The other arguments are explained at `Watch`.
    """

    def __init__(
        self,
        session: Session[Subscriptions],
        rooms: Iterable[Room],
        events: frozenset[str] | None = OUTCOMES,
        *,
        strict: bool,
        logs: bool = False,
        children: bool = False,
        subscribe: Callable[[Watch, Room], object] = Subscription,
    ) -> None:
        # Bounded by the watch's backlog (`subscriptions.BACKLOG_BYTES`), not by the channel.
        send, self._items = trio.open_memory_channel[Item](math.inf)
        self._session = session
        self._watch = Watch(send.send_nowait, events, strict, logs, children)
        for room in rooms:
            subscribe(self._watch, room)
        self._open = len(self._watch.open)

    def __enter__(self) -> Self:
        self._session.exchange.join(self._watch)
        self._session.nudge()
        return self

    def __exit__(self, *_: object) -> None:
        self._session.exchange.leave(self._watch)
        self._session.nudge()

    async def __anext__(self) -> Item:
        """Wait for the next item, and return it. The end comes after the last item of every job.

        Cancelling loses no item.
        """
        if not self._open:
            raise StopAsyncIteration
        item = await self._items.receive()
        self._open -= item.last
        self._session.exchange.consume(self._watch, item.size)
        self._session.nudge()
        return item
