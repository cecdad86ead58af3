"""What a client hands to its user: the outcomes that were waited for, or the events that were watched."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

import trio

from jobws.client.frames import Event, JsonObject
from jobws.errors import ClientError, JobFailed, JobRemoved, JobUnknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobws.client.jobs.inbox import Inbox
    from jobws.client.jobs.subscription import Item
    from jobws.protocol.request_types import Room


class Outcomes:
    """Pairs of a job's id and its result, or the exception that says why there is none. `Client.wait_many` makes it."""

    def __init__(self, inbox: Inbox, lookup: Callable[[str, str | None], Awaitable[list[JsonObject]]]) -> None:
        self._inbox = inbox
        self._lookup = lookup
        self._last: Item | None = None  # until it is handed out: what follows may be cancelled

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, object]:
        """Wait for the next outcome. Cancelling loses none."""
        while self._last is not None or not self._inbox.ended:
            item = self._last or await self._inbox.get()
            if item.last:
                self._last = item
                outcome = await self._outcome(item.room, item.what) if isinstance(item.what, Event) else item.what
                self._last = None
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
            try:  # it was too large for an event
                found = await self._lookup(job_id, label)
            except ClientError as error:
                return error
            value = next((each[key] for each in found if key in each), JobRemoved(job_id, label))
        if event.event == "completed" or isinstance(value, ClientError):
            return value
        return JobFailed(job_id, label, str(value))


class Events:
    """Events of the watched jobs; it ends after the outcome of each. `Client.watch` makes it.

    Attributes:
        snapshots: By job id, what Redis knew when the watch began: one snapshot per queue that has such a job
            (protocol.md, S2).
    """

    def __init__(self, inbox: Inbox) -> None:
        self.snapshots: dict[str, list[JsonObject]] = {}
        self._inbox = inbox
        self._early: deque[Event] = deque()

    async def answered(self, rooms: set[Room]) -> None:
        """Wait until the bridge has answered for each of these rooms."""
        while rooms:
            rooms.discard(await self._take())  # nothing of a job comes before its answer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event. Cancelling loses none."""
        if self._early:
            await trio.lowlevel.checkpoint()
        while not self._early:
            if self._inbox.ended:
                raise StopAsyncIteration
            await self._take()
        return self._early.popleft()

    async def _take(self) -> Room:
        """Take the next item, and return its room."""
        item = await self._inbox.get()
        match item.what:
            case Event() as event:
                self._early.append(event)
            case JobUnknown() as unknown:
                self._early.append(Event("unknown", {"jobId": unknown.job_id, "queue": unknown.queue}))
            case ClientError() as error:
                raise error
            case snapshots:
                self.snapshots[str(item.room.job_id)] = snapshots
        return item.room
