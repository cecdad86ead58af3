"""One subscription of a watch to one job, and its position. No I/O. Brackets such as [P3] name rules of protocol.md."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from jobws.client.frames import Event, JsonObject, Result
from jobws.errors import ClientError, ResponseError
from jobws.protocol.identifiers import START, position
from jobws.protocol.messages import OUTCOMES, Cursor, GapData
from jobws.protocol.request_fields import MAX_EVENTS
from jobws.protocol.request_types import Room

if TYPE_CHECKING:
    from collections.abc import Callable


class Item(Struct, frozen=True):
    """One item for the user of a watch, of about `size` bytes. `last`: no more come for the job or queue `room`.

    `what` is first the job's snapshots (one per queue), then an event, or the error that ends the subscription.
    """

    room: Room
    what: list[JsonObject] | Event | ClientError
    size: int = 0
    last: bool = False


@dataclasses.dataclass(eq=False)
class Watch:
    """One call of `wait`, `wait_many`, `watch` or `watch_queue`: watches jobs until their outcomes, or whole queues.

    Attributes:
        put: Called with each item, to pass it to the user. It must not wait.
        events: The wanted events, in addition to outcomes. None means all events.
        strict: Whether a subscription ends if there is no such job (event `unknown`) or no such queue (ResponseError).
        logs: Whether lines of the jobs' logs are wanted.
        children: Whether the jobs below each job in its flow are wanted, too [S13].
        open: The subscriptions that have not ended.
        backlog: About how many bytes of items still wait for the user.
        full: Whether the backlog is too large, so that the subscriptions are ended at the bridge for now.
    """

    put: Callable[[Item], None]
    events: frozenset[str] | None = OUTCOMES
    strict: bool = False
    logs: bool = False
    children: bool = False
    open: dict[Subscription, None] = dataclasses.field(default_factory=dict)
    backlog: int = 0
    full: bool = False


class Subscription:
    """A subscription of a watch to the job `room` (queue and id), across connections. It adds itself to `watch.open`.

    Attributes:
        sub: The subscription's name on the present connection [P1]. None while it waits to be requested there.
        acked: Whether the bridge has acknowledged it under this name.
    """

    def __init__(self, watch: Watch, room: Room) -> None:
        self.watch = watch
        self.room = room
        self.sub: int | None = None
        self.acked = False
        self._after: Cursor = {}
        self._lines: Cursor = {}
        self._queue = None if watch.children else room.queue  # the only queue of its frames; None: there may be others
        self._seen: bool | None = None  # whether the job existed at the last word about it; None before any answer
        watch.open[self] = None

    def unsubscribe_item(self) -> JsonObject:
        """Return the item of `unsubscribe-job` that ends this subscription [S8]."""
        queue = {} if self.room.queue is None else {"queue": self.room.queue}
        return {"sub": self.sub, "jobId": self.room.job_id, **queue}

    def subscribe_item(self) -> JsonObject:
        """Return the item of `subscribe-job` that begins or resumes this subscription [R4, S12]."""
        item, events = self.unsubscribe_item(), self.watch.events
        item |= {"children": True} if self.watch.children else {}
        if events is None or len(events | OUTCOMES) > MAX_EVENTS:  # the bridge refuses more [S4]
            item["events"] = ["*"]
        elif not events <= OUTCOMES:
            item["events"] = sorted(events | OUTCOMES)
        if self._seen is not None:
            item["after"] = self._after
        if self.watch.logs:
            item["logs"] = {"after": self._lines} if self._lines else True
        return item

    def acknowledge(self, common: Cursor, result: Result) -> None:
        """Handle an answer without an error: keep its positions, and those `common` to all answers of its list [P5].

        Pass on a gap, and the first snapshots. End this if the job is unknown, and was known before or `strict` is set.
        """
        queue, job_id = self.room.queue, str(self.room.job_id)
        seen, self._seen = self._seen, not result.unknown
        if seen is None:
            self._pass_on(result.jobs)
        after = {**common, **result.after}
        self._after = {label: at for label, at in after.items() if self._queue in (None, label)}
        self.acked = True
        if result.gap:
            self._pass_on(Event("gap", {"queue": queue, "jobs": [job_id]}))
        if result.unknown_queue and self.watch.strict and not seen:
            sentence = f'{job_id}: no queue "{queue}"; if it is about to come, wait with expect=True'
            self.end(ResponseError("unknown-queue", sentence))
        elif result.unknown and (self.watch.strict or seen):
            self.end(Event("removed" if seen else "unknown", {"jobId": job_id, "queue": queue}, replayed=bool(seen)))

    def receive(self, event: Event, size: int) -> None:
        """Keep an event's position [P3, S12]. Pass it on if wanted, of about `size` bytes. An outcome ends this."""
        queue, events = str(event.data.get("queue")), self.watch.events
        if event.event == "job-log":
            self._lines[queue] = str(event.data.get("position"))
        elif event.id is not None:
            self._after[queue] = event.id
        self._seen = True
        if event.event in OUTCOMES and event.parent is None:
            self.end(event, size)
        elif events is None or event.event in events or event.event in (*OUTCOMES, "job-log"):
            self._pass_on(event, size)

    def advance(self, reached: Cursor) -> None:
        """Keep the positions of a `pong`, by queue, where they are later than ours, or where we have none [P4]."""
        for queue in reached if self._queue is None else reached.keys() & {self._queue}:
            own, tilde, suffix = self._after.get(queue, "").partition("~")
            if not own or position(reached[queue]) > position(own):
                self._after[queue] = f"{reached[queue]}{tilde}{suffix}"

    def report_gap(self, event: Event, size: int) -> None:
        """Pass on a `gap`, of about `size` bytes, about this job or queue [R6]. Unless `trimmed`, go back to `0-0`."""
        gap = msgspec.convert(event.data, GapData)
        concerned = gap.jobs is None or self.watch.children or self.room.job_id in gap.jobs
        if self._queue in (None, gap.queue) and concerned:
            if gap.reason != "trimmed":
                self._after[gap.queue] = START
            self._pass_on(event, size)

    def end(self, what: Event | ClientError, size: int = 0) -> None:
        """Pass on the last item, of about `size` bytes, and leave `watch.open` [S5]. The caller must free the place."""
        del self.watch.open[self]
        self._pass_on(what, size, last=True)

    def _pass_on(self, what: list[JsonObject] | Event | ClientError, size: int = 0, *, last: bool = False) -> None:
        self.watch.backlog += size
        self.watch.put(Item(self.room, what, size, last))
