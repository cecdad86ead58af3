"""Somebody who wants to know what becomes of some jobs, and what is handed to them. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from jobws.client.event import Event, JsonObject
from jobws.client.job_lines import JOB_LOG, RoomLines
from jobws.errors import ClientError
from jobws.protocol.messages import OUTCOMES, Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Answer(Struct, frozen=True):
    """The bridge subscribed us: snapshots of the jobs of that id. `last` is whether nothing more comes."""

    room: Room
    snapshots: list[JsonObject]
    size: int = 0
    last: bool = False


class Delivery(Struct, frozen=True):
    """An event. `size` is about how many bytes it takes."""

    room: Room
    event: Event
    size: int
    last: bool


class Refusal(Struct, frozen=True):
    """Nothing will come of this room, and why."""

    room: Room
    error: ClientError
    size: int = 0
    last: bool = False


Item: TypeAlias = Answer | Delivery | Refusal


class Watcher:
    """One who watches rooms, each until its first outcome.

    Args:
        rooms: The rooms.
        events: Which events are wanted; None: all. Outcomes always come.
        strict: Whether a job that does not exist is the end of its room.
        gaps: Whether `gap` is wanted.
        logs: Whether log lines are. Also an attribute.
        put: Takes what is handed out, in order; must neither wait nor raise.

    Attributes:
        open: The rooms that have not ended.
        backlog: Bytes that were handed out and not consumed.
        full: Whether that is too much, so that its rooms are left for now.
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
        self.open = dict.fromkeys(rooms)
        self.events = events
        self.strict = strict
        self.logs = logs
        self.backlog = 0
        self.full = False
        self._unanswered = set(self.open)
        self._gaps = gaps
        self._put = put

    def answer(self, room: Room, snapshots: list[JsonObject], lines: RoomLines) -> None:
        """Hand out the first answer; a returning client's further ones tell nothing that events do not.

        Behind it come the `lines` that others have had before.
        """
        if room in self._unanswered:
            self._unanswered.discard(room)
            self._put(Answer(room, snapshots))
            for event, size in lines.kept():
                self.deliver(room, event, size)

    def deliver(self, room: Room, event: Event, size: int) -> None:
        """Hand out an event, if it is wanted."""
        outcome = event.event in OUTCOMES
        if outcome:
            del self.open[room]
        if outcome or self._wants(room, event.event):
            self.backlog += size
            self._put(Delivery(room, event, size, last=not self.open))

    def _wants(self, room: Room, event: str) -> bool:
        if event == "gap":
            return self._gaps
        if event == JOB_LOG:
            return self.logs and room not in self._unanswered
        return self.events is None or event in self.events

    def refuse(self, room: Room, error: ClientError) -> None:
        """Hand out the end of a room."""
        del self.open[room]
        self._put(Refusal(room, error, last=not self.open))
