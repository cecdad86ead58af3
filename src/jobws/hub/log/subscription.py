"""One client's subscription to the log: which lines the client gets, and how many lines it missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET
from msgspec.structs import replace

from jobws.errors import RequestError
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
    from jobws.protocol.log.requests import LogRequest, LogSession, SubscribeLogs
    from jobws.redis.log_stream import LogCursor, LogPage, Missing

# How many past lines count as one item of a list, for the limit on requests.
LINES_PER_ITEM: Final = 10
MAX_LINES: Final = 10_000


class LogSubscription:
    """A subscription of one client, pending or answered.

    Attributes:
        client: The client.
        request: The request.
        cursor: How far past lines were sent. None before the answer.
        end: Lines up to this id are sent as replayed; `0-0` if the stream had had no line. Empty before the answer.
        live: Whether the subscription gets lines when they happen.
        ended: Whether the subscription has ended.
        on_end: Called when the subscription ends. The task that answers the subscription and reads past lines for it
            sets this to a function that cancels the task. None means that the task has not run yet.
    """

    __slots__ = (
        "_approximate",
        "_dropped",
        "_hub",
        "client",
        "cursor",
        "end",
        "ended",
        "live",
        "on_end",
        "request",
    )

    def __init__(self, client: Client[LogRequest, LogSubscription], request: SubscribeLogs, hub: LogHub) -> None:
        self.client = client
        self.request = request
        self.cursor: LogCursor | None = None
        self.end = ""
        self.live = False
        self.ended = False
        self.on_end: Callable[[], None] | None = None
        self._hub = hub
        self._dropped = 0
        self._approximate = False

    @property
    def size(self) -> int:
        """The cost of reading past lines, as in `Pending.size`: `LINES_PER_ITEM` lines cost as much as one job."""
        lines = MAX_LINES if self.request.after is not None else min(self.request.tail or 0, MAX_LINES)
        return lines // LINES_PER_ITEM

    def limit(self, session: LogSession) -> bool:
        """Set the filter to those lines that the client asked for and may read by the rights in `session`.

        Returns False, and changes nothing, if the rights do not allow the subscription. The caller then ends the
        subscription.
        """
        try:
            self.request = replace(self.request, filter=session.readable(self.request.asked))
        except RequestError:
            return False
        return True

    @property
    def reached(self) -> str | None:
        """The id up to which every line was sent or counted as dropped. None before the answer."""
        cursor = self._hub.cursor if self.live else self.cursor
        return None if cursor is None else cursor.id

    def deliver(self, line: Line) -> bool:
        """Send a new line if the filter chooses it, or count it as missed if the outbox has no room.

        Returns whether the caller must flush.
        """
        return line.passes(self.request.filter) and self._send(line.frame, "sent")

    def _send(self, frame: Frame, counter: str) -> bool:
        """Send a line, or count it as missed if it does not fit. Returns whether the caller must flush.

        If lines before it were missed, `dropped` is sent first. If the outbox is more than half full, there is no room
        for that, and this line is missed, too. `counter` is the key in `LogHub.counts` for a line that is sent.
        """
        outbox, appended = self.client.outbox, False
        if self._has_missed:
            if not outbox.below_low_water:
                self._drop(1, approximate=False)
                return False
            self.append_dropped()
            appended = True
        if not outbox.has_room(len(frame)):
            self._drop(1, approximate=False)
            return appended
        outbox.append(frame)
        self._hub.counts[counter] += 1
        return True

    def miss(self, missing: Missing) -> None:
        """Count lines that were trimmed from the stream before they were read, and send `dropped` if there is room.

        With a filter, the number is approximate, since it is not known how many of the lines the filter would have
        chosen. If the client may not read every line, these lines count as 0 lines, since the true number would tell
        how many lines there are that the client may not read. `dropped` is sent even if its number is 0.
        """
        count = missing.count if self.request.filter == self.request.asked else 0
        self._drop(count, approximate=missing.approximate or not self.request.filter.is_open)
        if self.client.outbox.below_low_water:
            self.append_dropped()

    @property
    def _has_missed(self) -> bool:
        return self._dropped > 0 or self._approximate

    def _drop(self, count: int, *, approximate: bool) -> None:
        if not self._has_missed:
            self.client.outbox.when_below_low_water(self._note_low_water)
        self._dropped += count
        self._approximate = self._approximate or approximate
        self._hub.counts["dropped"] += count

    def _note_low_water(self) -> None:
        self._hub.due(self)

    def append_dropped(self) -> None:
        """Append `dropped` with the number of lines missed since the last `dropped`, if lines were missed.

        The number may be 0, see `miss`. The count begins again. If the subscription has ended, no frame is sent. The
        caller flushes.
        """
        if self._has_missed and not self.ended:
            data = DroppedData(self._dropped, self._approximate or UNSET)
            self.client.outbox.append(encode(Dropped(data)))
        self._dropped, self._approximate = 0, False

    def read_back(self, page: LogPage, start: int, clock: Callable[[], float]) -> int:
        """Send past lines of a page, until the outbox is half full or `MAX_SECONDS` are over.

        This also stops after the entry that the live subscriptions have got last, since `LogHub.join` can make this
        subscription live there. The outbox is flushed.

        Args:
            page: The page that was read.
            start: The index of the first entry to pass on.
            clock: Returns seconds that never go back.

        Returns:
            The index of the first entry that was not passed; `len(page.entries)` if all were, or if the subscription
            has ended.
        """
        cursor, outbox = self.cursor, self.client.outbox
        if cursor is None or self.ended:  # it ended while the page was being read
            return len(page.entries)
        if not start and (missing := cursor.check(page.state)) is not None:
            self.miss(missing)
        deadline, end = clock() + MAX_SECONDS, position(self.end)
        limit = None if self._hub.cursor is None else position(self._hub.cursor.id)
        index = start
        while index < len(page.entries) and outbox.below_low_water:
            line = self._hub.line(page.entries[index])
            if limit is not None and position(line.id) > limit:
                break
            if line.passes(self.request.filter):
                replayed = position(line.id) <= end
                # The outbox is at most half full here. A line that still does not fit is larger than a quarter of the
                # limit, and is dropped.
                self._send(log_frame(line.id, line.record, replayed=True) if replayed else line.frame, "replayed")
            cursor.pass_by(line.id.decode())
            index += 1
            if clock() > deadline:
                break
        outbox.flush()
        return index
