"""One client's subscription to the log: which lines it gets, and how many it is to be told it missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from jobws.hub.log.line import MAX_SECONDS, Line
from jobws.protocol.codec import encode
from jobws.protocol.identifiers import position
from jobws.protocol.log.answers import Dropped, DroppedData
from jobws.protocol.log.records import log_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.hub.client import Client
    from jobws.hub.log.broadcaster import LogHub
    from jobws.protocol.codec import Frame
    from jobws.protocol.log.requests import LogRequest, SubscribeLogs
    from jobws.redis.log_stream import Missing, Page, Place

# A subscription of so many lines costs the client as much as a hundred jobs.
LINES_PER_ITEM: Final = 10
MAX_LINES: Final = 10_000


class LogSubscription:
    """A subscription of one client, from its request on.

    Attributes:
        connection: The client.
        request: What it asked for.
        place: While lines are read back for it, up to where.
        end: The id of the last line that was there when it was answered.
        live: Whether it gets lines as they happen.
        left: Whether it is over.
        on_leave: Called when it is over; None: nothing is under way for it. Its task sets this, since only a task has a
            scope that can be cancelled.
    """

    __slots__ = (
        "_approximate",
        "_dropped",
        "_hub",
        "connection",
        "end",
        "left",
        "live",
        "on_leave",
        "place",
        "request",
    )

    def __init__(self, connection: Client[LogRequest, LogSubscription], request: SubscribeLogs, hub: LogHub) -> None:
        self.connection = connection
        self.request = request
        self.place: Place | None = None
        self.end = ""
        self.live = False
        self.left = False
        self.on_leave: Callable[[], None] | None = None
        self._hub = hub
        self._dropped = 0
        self._approximate = False

    @property
    def size(self) -> int:
        """How much is to be read back, counted as items of a list."""
        lines = MAX_LINES if self.request.after is not None else min(self.request.tail or 0, MAX_LINES)
        return lines // LINES_PER_ITEM

    @property
    def reached(self) -> str | None:
        """The id up to which every line was sent, or is told as dropped."""
        place = self._hub.place if self.live else self.place
        return None if place is None else place.id

    def offer(self, line: Line) -> bool:
        """Give the client a line that happens, if it wants it; or count it. Whether there is something to flush."""
        return line.passes(self.request.filter) and self._give(line.frame, "sent")

    def _give(self, frame: Frame, counter: str) -> bool:
        """Send a line after what is to be told before it, or count it. Whether there is something to flush."""
        outbox, told = self.connection.outbox, False
        if self._has_missed:
            if not outbox.roomy:
                self._drop(1, approximate=False)
                return False
            self.tell_dropped()
            told = True
        if not outbox.has_room(len(frame)):
            self._drop(1, approximate=False)
            return told
        outbox.append(frame)
        self._hub.counts[counter] += 1
        return True

    def miss(self, missing: Missing) -> None:
        """Count lines of the stream that were not read. How many of them the client wanted nobody knows."""
        self._drop(missing.count, approximate=missing.approximate or not self.request.filter.is_open)
        if self.connection.outbox.roomy:
            self.tell_dropped()

    @property
    def _has_missed(self) -> bool:
        return self._dropped > 0 or self._approximate

    def _drop(self, count: int, *, approximate: bool) -> None:
        if not self._has_missed:
            self.connection.outbox.when_roomy(self._roomy)
        self._dropped += count
        self._approximate = self._approximate or approximate
        self._hub.counts["dropped"] += count

    def _roomy(self) -> None:
        self._hub.due(self)

    def tell_dropped(self) -> None:
        """Say how many lines are missing, if any are. Somebody has to flush."""
        if self._has_missed and not self.left:
            data = DroppedData(self._dropped, self._approximate or UNSET)
            self.connection.outbox.append(encode(Dropped(data)))
        self._dropped, self._approximate = 0, False

    def read_back(self, page: Page, start: int, clock: Callable[[], float]) -> int:
        """Offer entries from `start` on that were read back; the index of the first that was not looked at.

        It stops when the client has enough for now, or the call took its share of time; and where the others are, since
        from there on the client gets what they get.
        """
        place, outbox = self.place, self.connection.outbox
        if place is None or self.left:  # while the page was on its way
            return len(page.entries)
        if not start and (missing := place.check(page.state)) is not None:
            self.miss(missing)
        deadline, end = clock() + MAX_SECONDS, position(self.end)
        limit = None if self._hub.place is None else position(self._hub.place.id)
        index = start
        while index < len(page.entries) and outbox.roomy:
            line = Line(page.entries[index])
            if limit is not None and position(line.id) > limit:
                break
            if line.passes(self.request.filter):
                replayed = position(line.id) <= end
                # One that does not fit though there is room, a quarter of what may ever wait, is dropped.
                self._give(log_frame(line.id, line.record, replayed=True) if replayed else line.frame, "replayed")
            place.pass_by(line.id.decode())
            index += 1
            if clock() > deadline:
                break
        outbox.flush()
        return index
