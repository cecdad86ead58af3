"""One subscription: what a watch wants of one job, and how far that has come. PURE. [P1] and such: protocol.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from jobws.client.event import Event, JsonObject
from jobws.errors import ClientError, JobUnknown, ResponseError
from jobws.protocol.identifiers import START, Position, position
from jobws.protocol.messages import DEFAULT_EVENTS, OUTCOMES, Cursor, Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobws.client.event import GapData, Result

JOB_LOG: Final = "job-log"
# Above this many names, a subscription asks for all events [S4], and the client picks.
_MAX_EVENTS: Final = 32


class Item(Struct, frozen=True):
    """What a watch is handed of one job: snapshots with the first answer, events, or at last why nothing will come.

    `size` is about how many bytes it takes. After the item with `last` there is no other.
    """

    room: Room
    what: list[JsonObject] | Event | ClientError
    size: int = 0
    last: bool = False


class Watch:
    """Someone who watches jobs, each until its first outcome.

    Args:
        rooms: The jobs.
        events: Which events are wanted; None: all. Outcomes always come.
        strict: Whether a job that does not exist ends its subscription.
        gaps: Whether `gap` is wanted.
        logs: Whether log lines are.
        put: Takes what is handed out, in order; must neither wait nor raise.

    Attributes:
        open: The subscriptions that have not ended.
        backlog: Bytes that were handed out and not consumed.
        full: Whether that is too much, so that its subscriptions are left for now.
    """

    def __init__(
        self,
        rooms: Iterable[Room],
        events: frozenset[str] | None,
        *,
        strict: bool,
        gaps: bool,
        put: Callable[[Item], None],
        logs: bool = False,
    ) -> None:
        self.events = None if events is None else events | OUTCOMES
        self.strict = strict
        self.gaps = gaps
        self.logs = logs
        self.put = put
        self.backlog = 0
        self.full = False
        self.open = dict.fromkeys(Subscription(self, room) for room in rooms)

    def wants(self, event: str) -> bool:
        """Whether events of that name are handed out."""
        if event == "gap":
            return self.gaps
        return event == JOB_LOG or self.events is None or event in self.events


class Subscription:
    """A watch of one job, across connections.

    Attributes:
        sub: Its name on this connection [P1]; None: this connection was not asked for it.
        acked: Whether it was acknowledged there.
    """

    def __init__(self, watch: Watch, room: Room) -> None:
        self.watch = watch
        self.room = room
        self.sub: int | None = None
        self.acked = False
        self._after: Cursor = {}
        self._answered = False  # once, on whichever connection
        self._lines: Cursor = {}
        self._seen = False

    @property
    def over(self) -> bool:
        """Whether nothing more is handed out."""
        return self not in self.watch.open

    def item(self) -> bytes:
        """Its item of `subscribe-job`: what is wanted after what has come [R4, S12]."""
        events = self.watch.events
        item = self._named()
        if events is None or len(events) > _MAX_EVENTS:
            item["events"] = ["*"]
        elif events != DEFAULT_EVENTS:
            item["events"] = sorted(events)
        if self._answered:
            item["after"] = self._after
        if self.watch.logs:
            item["logs"] = {"after": self._lines} if self._lines else True
        return msgspec.json.encode(item)

    def name(self) -> bytes:
        """Its item of `unsubscribe-job` [S8]."""
        return msgspec.json.encode(self._named())

    def _named(self) -> dict[str, object]:
        queue = {} if self.room.queue is None else {"queue": self.room.queue}
        return {"sub": self.sub, "jobId": self.room.job_id, **queue}

    def acknowledge(self, common: Cursor, result: Result) -> None:
        """Take the bridge's answer: positions that are common to a list, and what concerns this item [P5]."""
        queue, job_id = self.room.queue, str(self.room.job_id)
        if not self._answered:
            self._hand(result.jobs)
        after = {**common, **result.after}
        self._after = {label: at for label, at in after.items() if queue in (None, label)}
        self.acked = self._answered = True
        if result.gap:
            self.take(Event("gap", {"queue": queue, "jobs": [job_id]}), 0)
        seen, self._seen = self._seen, not result.unknown
        if result.unknown and seen:
            self.take(Event("removed", {"jobId": job_id, "queue": queue}, replayed=True), 0)
        elif result.unknown_queue and self.watch.strict:
            sentence = f'{job_id}: no queue "{queue}"; if it is about to come, wait with expect=True'
            self.refuse(ResponseError("unknown-queue", sentence))
        elif result.unknown and self.watch.strict:
            self.refuse(JobUnknown(job_id, queue))

    def receive(self, event: Event, size: int) -> None:
        """Take an event that has `size` bytes, and its position [P3], or that of log lines [S12].

        Raises:
            msgspec.ValidationError: It is none of jobws.v1.
        """
        if event.event == JOB_LOG:
            lines = msgspec.convert(event.data, _Lines)
            self._lines[lines.queue] = lines.position
        elif event.id is not None:
            self._after[msgspec.convert(event.data, _Place).queue] = event.id
        self._seen = True
        self.take(event, size)

    def take(self, event: Event, size: int) -> None:
        """Hand an event out, if it is wanted; an outcome is the end [S5]."""
        if event.event in OUTCOMES:
            del self.watch.open[self]
        if self.watch.wants(event.event):
            self._hand(event, size)

    def vouch(self, reached: Cursor) -> None:
        """Take the positions of a `pong` where they are later, or where there is none [P4]."""
        for queue in reached if self.room.queue is None else reached.keys() & {self.room.queue}:
            own, tilde, suffix = self._after.get(queue, "").partition("~")
            if not own or _position(reached[queue]) > _position(own):
                self._after[queue] = f"{reached[queue]}{tilde}{suffix}"

    def interrupt(self, gap: GapData, size: int) -> None:
        """Take a `gap`, if it concerns this subscription [R6]."""
        if self.room.queue not in (None, gap.queue) or (gap.jobs is not None and self.room.job_id not in gap.jobs):
            return
        if gap.reason != "trimmed":
            self._after[gap.queue] = START
        self.take(Event("gap", {"queue": gap.queue, "jobs": gap.jobs, "reason": gap.reason}), size)

    def refuse(self, error: ClientError) -> None:
        """Hand out why nothing will come."""
        del self.watch.open[self]
        self._hand(error)

    def _hand(self, what: list[JsonObject] | Event | ClientError, size: int = 0) -> None:
        self.watch.backlog += size
        self.watch.put(Item(self.room, what, size, last=not self.watch.open))


class _Place(Struct):
    queue: str


class _Lines(_Place):
    position: str


def _position(text: str) -> Position:
    return position(text.partition("~")[0])
