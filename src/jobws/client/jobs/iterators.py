"""The async iterators that a client gives to its user: `Outcomes` of jobs, and `Events` of watched jobs."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from jobws.client.frames import Event, JsonObject
from jobws.errors import ClientError, JobFailed, JobRemoved, JobUnknown

if TYPE_CHECKING:
    from jobws.client.jobs.inbox import Inbox
    from jobws.client.jobs.subscription import Item
    from jobws.protocol.request_types import Room


class Outcomes(AsyncIterator[tuple[str, object]]):
    """Yields pairs of a job's id and its result or exception. `lookup` reads a result too large for an event."""

    def __init__(self, inbox: Inbox, lookup: Callable[[str, str | None, str | None], Awaitable[list[JsonObject]]]):
        self._inbox = inbox
        self._lookup = lookup
        self._last: Item | None = None  # kept until it is returned, since `_outcome` may be cancelled

    async def __anext__(self) -> tuple[str, object]:
        """Wait for the next outcome, and return it. Cancelling loses no outcome."""
        while self._last is None:
            item = await anext(self._inbox)
            self._last = item if item.last else None
        room, what = self._last.room, self._last.what
        outcome = await self._outcome(room, what) if isinstance(what, Event) else what
        self._last = None
        return str(room.job_id), outcome

    async def _outcome(self, room: Room, event: Event) -> object:
        job_id, queue = str(room.job_id), event.data.get("queue")
        label = queue if isinstance(queue, str) else room.queue
        if event.event == "unknown":
            return JobUnknown(job_id, label)
        key = "returnvalue" if event.event == "completed" else "failedReason"
        found = [] if event.event == "removed" else [event.data]
        if found and key not in event.data and event.data.get("truncated"):
            try:  # the value was too large for an event
                found = [each for each in await self._lookup(job_id, label, event.id) if key in each]
            except ClientError as error:
                return error
        if not found:
            return JobRemoved(job_id, label)
        value = found[0].get(key)
        return value if event.event == "completed" else JobFailed(job_id, label, str(value))


class Events(AsyncIterator[Event]):
    """Yields the events of watched jobs, and ends when every job has had its outcome. Those of whole queues never end.

    Attributes:
        snapshots: By job id, the job's snapshots (protocol.md, S2) at the beginning of the watch: one per queue that
            has the job. With `children`, the snapshot has `tree`, which counts the jobs below (S13).
    """

    def __init__(self, inbox: Inbox) -> None:
        self.snapshots: dict[str, list[JsonObject]] = {}
        self._inbox = inbox
        self._early: deque[Event] = deque()

    async def answered(self, count: int) -> None:
        """Wait until the bridge has answered for `count` jobs in all. Raises ClientError if it refused one."""
        while len(self.snapshots) < count:
            await self._take()

    async def __anext__(self) -> Event:
        """Wait for the next event, and return it. Cancelling loses no event."""
        if self._early:
            await trio.lowlevel.checkpoint()
        while not self._early:
            await self._take()
        return self._early.popleft()

    async def _take(self) -> None:
        """Wait for the next item of the inbox. Keep its event or its snapshots, or raise the error that it is."""
        item = await anext(self._inbox)
        match item.what:
            case Event() as event:
                self._early.append(event)
            case ClientError() as error:
                raise error
            case snapshots:
                self.snapshots[item.room.name] = snapshots
