"""Passes lines of the log stream on to the subscriptions that chose them, in synchronous steps.

A slow client is not closed for this. Lines that do not fit into its outbox are dropped and counted, and the client gets
`dropped` with their number when it reads again. Each step is short, since events of jobs wait meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from jobws.hub.log.line import MAX_SECONDS, Line
from jobws.protocol.identifiers import position
from jobws.redis.log_stream import LogCursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.hub.client import Client
    from jobws.hub.log.subscription import LogSubscription
    from jobws.privacy.rules import Privacy
    from jobws.protocol.log.requests import LogRequest
    from jobws.redis.commands import Entry
    from jobws.redis.log_stream import LogPage

MAX_FLUSHES: Final = 50


class LogHub:
    """The live subscriptions to the log, which get new lines, and how far the stream was read for all of them.

    Args:
        privacy: Says which lines clients do not see.
        clock: Returns seconds that never go back. It is called while lines are published.
        on_wanted: Called when the first subscription becomes live: from now on, the callee reads the stream from
            `cursor` on and calls `publish`, until `cursor` is None. It must not wait.
        on_due: Called when a frame `dropped` is to be sent: the callee calls `send_dropped` soon, but not in this call.

    Attributes:
        cursor: How far the stream was read for live subscriptions. None means that there is no live subscription.
        counts: How many lines were `sent`, `replayed` and `dropped`, for the metrics.
    """

    def __init__(
        self,
        privacy: Privacy,
        clock: Callable[[], float],
        on_wanted: Callable[[], None],
        on_due: Callable[[], None],
    ) -> None:
        self._privacy = privacy
        self.cursor: LogCursor | None = None
        self.counts: Counter[str] = Counter()
        self._on_wanted = on_wanted
        self._on_due = on_due
        self.clock = clock
        self._live: dict[LogSubscription, None] = {}
        self._touched: dict[Client[LogRequest, LogSubscription], None] = {}
        self._due: dict[LogSubscription, None] = {}
        self._texts: Counter[str] = Counter()
        self._begun: Line | None = None

    def line(self, entry: Entry) -> Line:
        """Return the line of an entry of the stream, as clients may see it."""
        return Line(entry, self._privacy)

    def join(self, subscription: LogSubscription, page: LogPage, index: int) -> bool:
        """Make a subscription live if it has got exactly the entries that the live subscriptions have got.

        If there is no live subscription, it becomes live if it has got all entries up to the end of the stream.

        Args:
            subscription: The subscription, which is getting past lines.
            page: The page that was read last for it.
            index: How many entries of the page were passed to the subscription.

        Returns:
            True if the subscription is live now, or has ended: the caller reads no more lines for it. False if it is
            not live, or if the page is too old to tell: the caller reads on.
        """
        if subscription.cursor is None or subscription.ended:
            return True
        at_end = index == len(page.entries) and not page.full
        if self.cursor is None:
            if not (at_end and subscription.cursor.reach(page.state)):
                return False
            self.cursor = LogCursor(subscription.cursor.id, subscription.cursor.count)
        else:
            here = position(self.cursor.id)
            following = (
                page.state.generated if at_end else page.entries[index][0] if index < len(page.entries) else None
            )
            met = following is not None and (position(following) > here or (at_end and position(following) == here))
            if position(subscription.cursor.id) > here or not met:
                return False
        subscription.live = True
        self._live[subscription] = None
        if (text := subscription.request.filter.text) is not None:
            self._texts[text] += 1
        if len(self._live) == 1:
            self._on_wanted()
        return True

    def leave(self, subscription: LogSubscription) -> None:
        """Remove a subscription that has ended. After the last one the stream is no longer read."""
        if subscription in self._live:
            del self._live[subscription]
            if (text := subscription.request.filter.text) is not None:
                self._texts -= Counter((text,))
        self._due.pop(subscription, None)
        if not self._live:
            self.cursor = self._begun = None

    def publish(self, cursor: LogCursor, page: LogPage, start: int) -> int:
        """Pass entries of a page on to the live subscriptions, in order, until none is left or `MAX_SECONDS` are over.

        Lines that were trimmed before they were read are counted as missed.

        The caller then calls `flush`. While `flush` returns True or entries are left, the caller lets other tasks run,
        calls `publish` with the returned index if entries are left, and calls `flush` again.

        Args:
            cursor: The object that was the attribute `cursor` when the page after it was read. This method moves it on
                with the entries, so all calls for a page get the same object. Nothing is passed on if the attribute has
                changed, since all subscriptions ended meanwhile.
            page: The page.
            start: The index of the first entry to pass on.

        Returns:
            The index of the first entry that was not passed. It is `len(page.entries)` if none is left to pass, also
            if the attribute `cursor` has changed.
        """
        if cursor is not self.cursor:  # all subscriptions ended meanwhile
            return len(page.entries)
        if not start and (missing := cursor.check(page.state)) is not None:
            for subscription in self._live:
                subscription.miss(missing)
                self._touched[subscription.client] = None
        deadline = self.clock() + MAX_SECONDS
        index = start
        while index < len(page.entries):
            if self._begun is None or self._begun.id != page.entries[index][0]:
                self._begun = self.line(page.entries[index])
            line = self._begun
            # Searching a line for one text takes up to a millisecond, and every client may have another text.
            if self._texts and not line.seek(self._texts, lambda: self.clock() > deadline):
                break
            self._begun = None
            for subscription in self._live:
                if subscription.deliver(line):
                    self._touched[subscription.client] = None
            cursor.pass_by(line.id.decode())
            index += 1
            if self.clock() > deadline:
                break
        if index == len(page.entries):
            cursor.reach(page.state)
        return index

    def flush(self) -> bool:
        """Wake the writers of at most `MAX_FLUSHES` clients that have new frames. Return whether such ones are left."""
        for client in list(self._touched)[:MAX_FLUSHES]:
            del self._touched[client]
            client.outbox.flush()
        return bool(self._touched)

    def due(self, subscription: LogSubscription) -> None:
        """Note that a subscription missed lines, and that its client's outbox has room again.

        `on_due` is called, so that the frame `dropped` is sent soon by `send_dropped`.
        """
        self._due[subscription] = None
        self._on_due()

    def send_dropped(self) -> None:
        """Send `dropped` to each subscription for which `due` was called since the last call, and flush its client."""
        due, self._due = self._due, {}
        for subscription in due:
            subscription.append_dropped()
            subscription.client.outbox.flush()
