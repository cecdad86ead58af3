"""What a client hands to its user: the outcomes that were waited for, or the events that were watched."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self, assert_never

import trio

from jobws.client.event import Event, JsonObject
from jobws.errors import ClientError, JobFailed, JobRemoved, JobUnknown
from jobws.protocol.messages import OUTCOMES, Room

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobws.client.inbox import Inbox
    from jobws.client.subscription import Item


class Outcomes:
    """Jobs' ids with their results, or with the exceptions that say why there is none. Use `Client.wait_many`."""

    def __init__(self, inbox: Inbox, lookup: Callable[[str, str | None], Awaitable[list[JsonObject]]]) -> None:
        self._inbox = inbox
        self._lookup = lookup
        self._item: Item | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, object]:
        """The next outcome. Cancelling loses none."""
        while self._item is not None or not self._inbox.ended:
            item = self._item or await self._inbox.get()
            match item.what:
                case list():
                    continue
                case ClientError() as error:
                    outcome: object = error
                case Event() as event:
                    self._item = item  # until it is handed out: what follows may be cancelled
                    outcome = await self._outcome(item.room, event)
                case _:
                    assert_never(item.what)
            self._item = None
            return str(item.room.job_id), outcome
        raise StopAsyncIteration

    async def _outcome(self, room: Room, event: Event) -> object:
        job_id, queue = str(room.job_id), event.data.get("queue")
        label = queue if isinstance(queue, str) else room.queue
        if event.event == "removed":
            return JobRemoved(job_id, label)
        key = "returnvalue" if event.event == "completed" else "failedReason"
        value = event.data.get(key)
        if key not in event.data and event.data.get("truncated"):
            value = await self._fetched(job_id, label, key)
        if event.event == "completed" or isinstance(value, ClientError):
            return value
        return JobFailed(job_id, label, str(value))

    async def _fetched(self, job_id: str, queue: str | None, key: str) -> object:
        """A value that was too large for an event."""
        try:
            found = await self._lookup(job_id, queue)
        except ClientError as error:
            return error
        return next((each[key] for each in found if key in each), JobRemoved(job_id, queue))


class Events:
    """Events of the watched jobs; ends after the outcome of each. Use `Client.watch`.

    Attributes:
        snapshots: Per job id, what its jobs were when the watch began: one snapshot per queue that has it (protocol.md,
            S2).
    """

    def __init__(self, inbox: Inbox) -> None:
        self.snapshots: dict[str, list[JsonObject]] = {}
        self._inbox = inbox
        self._early: deque[Event] = deque()

    async def answered(self, rooms: set[Room]) -> None:
        """Wait until the bridge has answered for each of these rooms."""
        while rooms:
            item = await self._inbox.get()
            event = self._take(item)
            if event is not None:
                self._early.append(event)
            if not isinstance(item.what, Event) or item.what.event in OUTCOMES:
                rooms.discard(item.room)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event. Cancelling loses none."""
        if self._early:
            await trio.lowlevel.checkpoint()
            return self._early.popleft()
        while not self._inbox.ended:
            event = self._take(await self._inbox.get())
            if event is not None:
                return event
        raise StopAsyncIteration

    def _take(self, item: Item) -> Event | None:
        match item.what:
            case list() as snapshots:
                self.snapshots[str(item.room.job_id)] = snapshots
                return None
            case Event() as event:
                return event
            case JobUnknown() as unknown:
                return Event("unknown", {"jobId": unknown.job_id, "queue": unknown.queue})
            case ClientError() as error:
                raise error
            case _:
                assert_never(item.what)
