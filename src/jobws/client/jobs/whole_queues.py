"""Watches whole queues: `Client.watch_queue`, and the subscription to a queue, or to every queue."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from jobws.client.frames import Event, JsonObject, Result
from jobws.client.jobs.inbox import Inbox
from jobws.client.jobs.iterators import Events
from jobws.client.jobs.subscription import Subscription, Watch
from jobws.errors import RequestError, ResponseError
from jobws.protocol.identifiers import MAX_QUEUE_BYTES, is_text
from jobws.protocol.request_fields import parse_events
from jobws.protocol.request_types import Room
from jobws.protocol.requests import EVERY_QUEUE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping

    from jobws.client.connection.reconnecting import Session
    from jobws.client.jobs.subscriptions import Subscriptions
    from jobws.protocol.messages import Cursor


class WatchesQueues:
    """The part of `Client` that watches whole queues."""

    _session: Session[Subscriptions]

    @asynccontextmanager
    async def watch_queue(
        self,
        queues: str | Iterable[str] = EVERY_QUEUE,
        events: Collection[str] | None = None,
        *,
        after: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Events]:
        """Yield the events of all jobs of whole queues, and of the queues themselves, until the context ends.

        `async with jobs.watch_queue("http") as events: async for event in events: …`. Entering the context waits until
        the bridge has subscribed the client. After a lost connection, what was missed comes as far as Redis has it. An
        event `gap` says that it has less; of every queue maybe, if its `queue` is None.

        Args:
            queues: The label of a queue, or labels. `*` means every queue that the client may read, also later ones.
            events: The names of at most 32 events (protocol.md, E2). `*` means all but `queue-stats`, the numbers of a
                queue (E12), which have no `id`. None means outcomes only.
            after: By queue, the `id` of an event of an earlier watch: what happened since comes first. A queue not in
                it begins now; with `*`, at the oldest event that Redis has. None means that every queue begins now.

        Raises:
            ResponseError: The bridge refused a queue; `code` and message say why.
            RefusedError: The bridge refuses this client.
        """
        labels = dict.fromkeys([queues] if isinstance(queues, str) else queues)
        for label in labels:
            require_label(label)
        rooms = [Room(None if label == EVERY_QUEUE else label, None) for label in labels]
        subscribe = partial(QueueSubscription, events=_names(events), after=after)
        with Inbox(self._session, rooms, strict=False, subscribe=subscribe) as inbox:
            watched = Events(inbox)
            await watched.answered(len(rooms))
            yield watched


class QueueSubscription(Subscription):
    """A subscription of a watch to the queue of `room`, or to every queue, across connections.

    Args:
        events: The names of the wanted events; None means outcomes.
        after: By queue, the position after which it begins, as `watch_queue` takes it; None means now.
    """

    def __init__(self, watch: Watch, room: Room, events: list[str] | None, after: Mapping[str, str] | None) -> None:
        super().__init__(watch, room)
        self._events = {} if events is None else {"events": events}
        self._begins = None if after is None else dict(after)

    def unsubscribe_item(self) -> JsonObject:
        """Return the item of `unsubscribe-queue` that ends this subscription [S9]."""
        return {"sub": self.sub, "queue": self.room.name}

    def subscribe_item(self) -> JsonObject:
        """Return the item of `subscribe-queue` that begins or resumes this subscription [R10]."""
        after = self._begins if self._seen is None else self._after
        return {**self.unsubscribe_item(), **self._events, **({} if after is None else {"after": after})}

    def acknowledge(self, common: Cursor, result: Result) -> None:
        """Handle an answer without an error: keep its positions, and pass on that it came, and a gap."""
        if self._seen is None:
            self._pass_on([])
        self._seen, self.acked = True, True
        after = {**common, **result.after}
        self._after = {label: at for label, at in after.items() if self.room.queue in (None, label)}
        if result.gap:
            self._pass_on(Event("gap", {"queue": self.room.queue, "jobs": None}))

    def receive(self, event: Event, size: int) -> None:
        """Keep an event's position, and pass the event, of about `size` bytes, to the watch."""
        if event.id is not None:
            self._after[str(event.data.get("queue"))] = event.id
        self._pass_on(event, size)


def require_label(queue: str) -> None:
    """Raise ResponseError (`bad-queue`) for a label that is so long that the bridge might end the connection."""
    if not (is_text(queue) and len(queue.encode()) <= MAX_QUEUE_BYTES):
        raise ResponseError("bad-queue", f"`queue` must be valid Unicode text of at most {MAX_QUEUE_BYTES} bytes")


def _names(events: Collection[str] | None) -> list[str] | None:
    if events is None:
        return None
    try:
        parse_events({"events": events if isinstance(events, str) else list(events)})
    except RequestError as error:
        raise ResponseError(error.code, error.message) from None
    return sorted(events)
