"""From the log stream to the connections that want its lines, in synchronous steps.

Nobody is closed for being slow here: a line that does not fit is counted, and the client is told how many it lacks as
soon as it takes something again. A step is short, since job events wait meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from jobws.bullmq.log_stream import Place
from jobws.protocol.codec import encode
from jobws.protocol.identifiers import position
from jobws.protocol.log_answers import Dropped, DroppedData
from jobws.protocol.log_records import from_entry, log_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobws.bullmq.events import Entry
    from jobws.bullmq.log_stream import Missing, Page
    from jobws.hub.peer import Peer
    from jobws.protocol.codec import Frame
    from jobws.protocol.log_requests import LogFilter, LogRequest, SubscribeLogs

# A job event may come this much later because of a line.
MAX_SECONDS: Final = 0.0002
MAX_FLUSHES: Final = 50
# A subscription of so many lines costs the client as much as a hundred jobs.
LINES_PER_ITEM: Final = 10
MAX_LINES: Final = 10_000


class Line:
    """An entry of the stream; what is made of it for one client is kept for the next."""

    __slots__ = ("_frame", "_holds", "_lower", "id", "record")

    def __init__(self, entry: Entry) -> None:
        stream_id, fields = entry
        self.id = stream_id
        self.record = from_entry(stream_id, dict(zip(fields[::2], fields[1::2], strict=True)))
        self._frame: Frame | None = None
        self._lower: str | None = None
        self._holds: dict[str, bool] = {}

    def passes(self, filter: LogFilter) -> bool:
        """Whether it is one of the lines that are wanted."""
        return filter.wants(self.record) and (filter.text is None or self.holds(filter.text))

    def holds(self, text: str) -> bool:
        """Whether the message has `text`, which is in lower case."""
        if (known := self._holds.get(text)) is not None:
            return known
        if self._lower is None:
            self._lower = self.record.message.lower()
        found = self._holds[text] = text in self._lower
        return found

    def seek(self, texts: Iterable[str], late: Callable[[], bool]) -> bool:
        """Look for texts until it is late; whether all were looked for. It goes on there when called again."""
        for text in texts:
            if text not in self._holds:
                self.holds(text)
                if late():
                    return False
        return True

    @property
    def frame(self) -> Frame:
        """The frame of the line as it happens."""
        if self._frame is None:
            self._frame = log_frame(self.id, self.record, replayed=False)
        return self._frame


class LogMembership:
    """A subscription of one client, from its request on.

    Attributes:
        connection: The client.
        request: What it asked for.
        place: While lines are read back for it, up to where.
        end: The id of the last line that was there when it was answered.
        live: Whether it gets lines as they happen.
        left: Whether it is over.
        on_leave: Called when it is over, once that is of interest.
    """

    __slots__ = (
        *("_approximate", "_dropped", "_hub"),
        *("connection", "end", "left", "live", "on_leave", "place", "request"),
    )

    def __init__(self, connection: Peer[LogRequest, LogMembership], request: SubscribeLogs, hub: LogHub) -> None:
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
        """What is to be read back, in lists' items."""
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
        """Send a line behind what is to be told before it, or count it. Whether there is something to flush."""
        outbox, told = self.connection.outbox, False
        if self._lacks:
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
        """So many lines of the stream were not read. How many of them the client wanted nobody knows."""
        self._drop(missing.count, approximate=missing.approximate or not self.request.filter.is_open)
        if self.connection.outbox.roomy:
            self.tell_dropped()

    @property
    def _lacks(self) -> bool:
        return self._dropped > 0 or self._approximate

    def _drop(self, count: int, *, approximate: bool) -> None:
        if not self._lacks:
            self.connection.outbox.when_roomy(self._roomy)
        self._dropped += count
        self._approximate = self._approximate or approximate
        self._hub.counts["dropped"] += count

    def _roomy(self) -> None:
        self._hub.due(self)

    def tell_dropped(self) -> None:
        """Say how many lines are missing, if any are. Somebody has to flush."""
        if self._lacks and not self.left:
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


class LogHub:
    """Who gets lines as they happen, and how far the stream was read for them.

    Args:
        clock: Seconds, never going back; asked while lines are published.

    Attributes:
        place: How far the stream was read; None: nobody wants it to be.
        counts: `sent`, `replayed` and `dropped` lines, for the metrics.
        on_wanted: Called when the stream is to be read from `place` on. It must not wait.
        on_due: Called when `settle` has something to do. It must not wait.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.place: Place | None = None
        self.counts: Counter[str] = Counter()
        self.on_wanted: Callable[[], None] = _ignore
        self.on_due: Callable[[], None] = _ignore
        self.clock = clock
        self._live: dict[LogMembership, None] = {}
        self._touched: dict[Peer[LogRequest, LogMembership], None] = {}
        self._due: dict[LogMembership, None] = {}
        self._texts: Counter[str] = Counter()
        self._begun: Line | None = None

    def join(self, member: LogMembership, page: Page, index: int) -> bool:
        """Let a client have lines as they happen, of which the first `index` entries of a page were offered.

        False: it is not where the others are, but behind them, or ahead of them; or the page is older than they are.
        """
        if member.place is None or member.left:
            return True
        at_end = index == len(page.entries) and not page.full
        if self.place is None:
            if not (at_end and member.place.reach(page.state)):
                return False
            self.place = Place(member.place.id, member.place.count)
        else:
            here = position(self.place.id)
            following = (
                page.state.generated if at_end else page.entries[index][0] if index < len(page.entries) else None
            )
            met = following is not None and (position(following) > here or (at_end and position(following) == here))
            if position(member.place.id) > here or not met:
                return False
        member.live = True
        self._live[member] = None
        if (text := member.request.filter.text) is not None:
            self._texts[text] += 1
        if len(self._live) == 1:
            self.on_wanted()
        return True

    def leave(self, member: LogMembership) -> None:
        """A client wants no more lines. Behind the last one nothing is read."""
        if member in self._live:
            del self._live[member]
            if (text := member.request.filter.text) is not None:
                self._texts -= Counter((text,))
        self._due.pop(member, None)
        if not self._live:
            self.place = self._begun = None

    def publish(self, place: Place, page: Page, start: int) -> int:
        """Offer entries from `start` on, in order; the index of the first that was not looked at.

        `place` is that behind which the page was read. The caller calls `flush` until it is done, and goes on after a
        checkpoint.
        """
        if place is not self.place:  # all left meanwhile
            return len(page.entries)
        if not start and (missing := place.check(page.state)) is not None:
            for member in self._live:
                member.miss(missing)
                self._touched[member.connection] = None
        deadline = self.clock() + MAX_SECONDS
        index = start
        while index < len(page.entries):
            if self._begun is None or self._begun.id != page.entries[index][0]:
                self._begun = Line(page.entries[index])
            line = self._begun
            # A text takes up to a millisecond, and every client may have its own.
            if self._texts and not line.seek(self._texts, lambda: self.clock() > deadline):
                break
            self._begun = None
            for member in self._live:
                if member.offer(line):
                    self._touched[member.connection] = None
            place.pass_by(line.id.decode())
            index += 1
            if self.clock() > deadline:
                break
        if index == len(page.entries):
            place.reach(page.state)
        return index

    def flush(self) -> bool:
        """Wake the writers of some clients for which something was published. Whether there are more."""
        for connection in list(self._touched)[:MAX_FLUSHES]:
            del self._touched[connection]
            connection.outbox.flush()
        return bool(self._touched)

    def due(self, member: LogMembership) -> None:
        """A client has room again to be told what it lacks."""
        self._due[member] = None
        self.on_due()

    def settle(self) -> None:
        """Tell those who are due."""
        due, self._due = self._due, {}
        for member in due:
            member.tell_dropped()
            member.connection.outbox.flush()


def _ignore() -> None:
    """Nobody reads."""
