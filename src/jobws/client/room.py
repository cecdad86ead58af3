"""One room of the client: how far its events have come, and which of them came before. PURE.

A position says where to resume. It must never lie behind something that is still to come, or a lost connection would
lose that for good. So an ack that announces replays moves it nowhere, since they follow; a `pong` does, which says that
everything up to its cursor was sent. Then the room is *settled*, and its position moves with its events, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.client.job_lines import RoomLines
from jobws.errors import ClientError, JobUnknown, ResponseError
from jobws.protocol.identifiers import parse_stream_id
from jobws.protocol.messages import OUTCOMES, Cursor, Room

if TYPE_CHECKING:
    from jobws.client.event import AckData, Event, JsonObject, Result
    from jobws.client.watcher import Watcher


class RoomState:
    """What the client knows of one room, from its first watcher to its last, across connections.

    Attributes:
        watchers: Who wants its events.
        ref: Of the latest subscription on this connection; None: it was not asked for yet.
        answered: Whether that was acknowledged.
        listening: Whether any on this connection was.
        settled: Whether everything that follows the ack has come.
        parked: Whether it is left for now, since a watcher does not keep up.
        known: Whether there ever was such a job.
        present: Whether there was one at the latest ack, or since.
        queue_unknown: Whether there was no such queue at the latest ack.
        held: Events, and their sizes, that wait until the room is settled.
        lines: Its log lines.
        position: Every event up to there has come; None: begin with the outcome of the job's present life.
        begin: The first position that there was.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.watchers: dict[Watcher, None] = {}
        self.ref: int | None = None
        self.answered = False
        self.listening = False
        self.settled = False
        self.parked = False
        self.known = False
        self.present = False
        self.queue_unknown = False
        self.held: list[tuple[Event, int]] = []
        self.lines = RoomLines()
        self.position: Cursor | None = None
        self.begin: Cursor | None = None
        self._from_ack: Cursor = {}
        self._replays = False
        # No position before there is one that is later.
        self._too_early: Cursor = {}
        # No replay of this room lies at or before these positions; ids after them are remembered.
        self._floor: Cursor = {}
        self._seen: set[tuple[str, str]] = set()

    @property
    def events(self) -> frozenset[str] | None:
        """What all its watchers want together; None: all events. Outcomes are always among it."""
        wanted = set(OUTCOMES)
        for watcher in self.watchers:
            if watcher.events is None:
                return None
            wanted |= watcher.events
        return frozenset(wanted)

    def after(self) -> Cursor | None:
        """The position to subscribe with. A settled room misses nothing when it is subscribed again without one."""
        queue = self.room.queue
        if self.settled:
            return None
        if queue is None:
            # Without a position only what ended within the last minute would be told of jobs of several queues (R8).
            return self.position if self.position is not None else self.begin
        # A queue that no cursor named had no events yet.
        return None if self.position is None else {queue: self.position.get(queue, "0-0")}

    def logs(self) -> bool | JsonObject:
        """The `logs` to subscribe with: false if nobody wants any."""
        return any(watcher.logs for watcher in self.watchers) and self.lines.wanted()

    def leave(self) -> None:
        """The subscription is over: left for now, refused, or gone with its connection."""
        self.ref = None
        self.answered = self.listening = self.settled = False
        self.held.clear()
        self.lines.leave()

    def acknowledge(self, ack: AckData, result: Result) -> None:
        """The bridge subscribed us: everything that comes lies behind the ack's cursor. `result` is ours."""
        self.answered = self.listening = True
        self.settled = False
        self._from_ack = ack.cursor
        self._replays = result.replays > 0
        # It lies before whatever is read back for any of the list: for us, perhaps, in a life before this one.
        self._too_early = ack.cursor if any(each.replays for each in ack.results) else {}
        if self._replays or not self._too_early:
            self.begin = self.begin or self.position or ack.cursor
        if result.gap:  # the position may be one of another stream, whose ids say nothing of this one's
            self.position = None
            self._floor = {}
        self.present = bool(result.jobs) or result.replays > 0
        self.known = self.known or self.present
        self.queue_unknown = result.unknown_queue

    def unknown(self) -> ClientError:
        """What it means that the job is not there."""
        job_id, queue = str(self.room.job_id), self.room.queue
        if not self.queue_unknown:
            return JobUnknown(job_id, queue)
        sentence = f'{job_id}: no queue "{queue}"; if it is about to come, wait with expect=True'
        return ResponseError("unknown-queue", sentence)

    def admit(self, event: Event, queue: str) -> bool:
        """Whether an event of this room is a new one; from now on it no longer is."""
        if event.id is not None:
            if (queue, event.id) in self._seen:
                return False
            # Another room of the same job may have asked for what was long before; an outcome may come out of a hole.
            if event.replayed and event.event not in OUTCOMES and not _later(event.id, self._floor.get(queue)):
                return False
            self._seen.add((queue, event.id))
            named = self.room.queue is not None  # else a position must name the other queues, too
            if self.settled and (named or self.position is not None):
                self.position = _merged(self.position or {}, {queue: event.id})
        self.known = self.present = True
        return True

    def take_lines(self, data: JsonObject, size: int) -> Event | None:
        """See `RoomLines.take`. Ahead of the first answer come those of an earlier room of the name."""
        return self.lines.take(data, size) if self.listening else None

    def take_held(self) -> list[tuple[Event, int]]:
        """What was held back until now, by its ids; what has none comes last."""
        held, self.held = self.held, []
        return sorted(held, key=lambda each: (each[0].id is None, _parsed(each[0].id)))

    def covered(self, cursor: Cursor) -> bool:
        """Whether what follows the ack has come, once everything up to `cursor` has.

        Until its replays are out the bridge tells no cursor behind the ack's. Those of other queues than the room's own
        say nothing: their streams may be deleted meanwhile, and begin anew with lower ids, of which we are not told.
        """
        own = {queue: id for queue, id in self._from_ack.items() if self.room.queue in (queue, None)}
        if any(_later(id, cursor.get(queue)) for queue, id in own.items()):
            return False
        # A queue without events has no position (R9).
        return not self._replays or any(cursor.get(queue, id) != id for queue, id in (own or self._from_ack).items())

    def reach(self, cursor: Cursor) -> None:
        """Take a cursor that covers the room, once all that came before it was handed on."""
        self.settled = True
        self._from_ack = {}
        self._replays = False
        too_early = self._too_early.items()
        if too_early and not any(_later(cursor[queue], id) for queue, id in too_early if queue in cursor):
            return
        self._too_early = {}
        self.position = _merged(self.position or {}, cursor)
        self.begin = self.begin or self.position
        self._floor = _merged(self._floor, cursor)
        self._seen = {(queue, id) for queue, id in self._seen if _later(id, self._floor.get(queue))}

    def interrupt(self, queue: str, cursor: Cursor) -> None:
        """Events of the queue may be missing: what the bridge finds follows, as after an ack."""
        self.settled = False
        self.position = None
        self._from_ack = {**self._from_ack, **cursor}
        self._replays = False
        self._floor.pop(queue, None)


def _parsed(id: str | None) -> tuple[int, int]:
    return (parse_stream_id(id) if id is not None else None) or (0, 0)


def _later(first: str, second: str | None) -> bool:
    return second is None or _parsed(first) > _parsed(second)


def _merged(first: Cursor, second: Cursor) -> Cursor:
    return {**first, **{queue: id for queue, id in second.items() if _later(id, first.get(queue))}}
