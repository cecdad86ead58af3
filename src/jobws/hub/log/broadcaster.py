"""From the log stream to the connections that want its lines, in synchronous steps.

Nobody is closed for being slow here: a line that does not fit is counted, and the client is told how many it missed as
soon as it takes something again. A step is short, since job events wait meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from jobws.hub.log.line import MAX_SECONDS, Line
from jobws.protocol.identifiers import position
from jobws.redis.log_stream import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.hub.client import Client
    from jobws.hub.log.subscription import LogSubscription
    from jobws.protocol.log.requests import LogRequest
    from jobws.redis.log_stream import Page

MAX_FLUSHES: Final = 50


class LogHub:
    """Who gets lines as they happen, and how far the stream was read for them.

    Args:
        clock: Seconds, never going back; asked while lines are published.
        on_wanted: Called when the stream is to be read from `place` on. It must not wait.
        on_due: Called when `settle` has something to do. It must not wait.

    Attributes:
        place: How far the stream was read; None: nobody wants it to be.
        counts: `sent`, `replayed` and `dropped` lines, for the metrics.
    """

    def __init__(self, clock: Callable[[], float], on_wanted: Callable[[], None], on_due: Callable[[], None]) -> None:
        self.place: Place | None = None
        self.counts: Counter[str] = Counter()
        self._on_wanted = on_wanted
        self._on_due = on_due
        self.clock = clock
        self._live: dict[LogSubscription, None] = {}
        self._touched: dict[Client[LogRequest, LogSubscription], None] = {}
        self._due: dict[LogSubscription, None] = {}
        self._texts: Counter[str] = Counter()
        self._begun: Line | None = None

    def join(self, subscription: LogSubscription, page: Page, index: int) -> bool:
        """Let a client have lines as they happen. The first `index` entries of a page were offered before.

        False: it is not where the others are, but behind them, or ahead of them; or the page is older than they are.
        """
        if subscription.place is None or subscription.left:
            return True
        at_end = index == len(page.entries) and not page.full
        if self.place is None:
            if not (at_end and subscription.place.reach(page.state)):
                return False
            self.place = Place(subscription.place.id, subscription.place.count)
        else:
            here = position(self.place.id)
            following = (
                page.state.generated if at_end else page.entries[index][0] if index < len(page.entries) else None
            )
            met = following is not None and (position(following) > here or (at_end and position(following) == here))
            if position(subscription.place.id) > here or not met:
                return False
        subscription.live = True
        self._live[subscription] = None
        if (text := subscription.request.filter.text) is not None:
            self._texts[text] += 1
        if len(self._live) == 1:
            self._on_wanted()
        return True

    def leave(self, subscription: LogSubscription) -> None:
        """A client wants no more lines. Behind the last one nothing is read."""
        if subscription in self._live:
            del self._live[subscription]
            if (text := subscription.request.filter.text) is not None:
                self._texts -= Counter((text,))
        self._due.pop(subscription, None)
        if not self._live:
            self.place = self._begun = None

    def publish(self, place: Place, page: Page, start: int) -> int:
        """Offer entries from `start` on, in order; the index of the first that was not looked at.

        `place` is the one after which the page was read. The caller calls `flush` until it is done, and goes on after a
        checkpoint.
        """
        if place is not self.place:  # all left meanwhile
            return len(page.entries)
        if not start and (missing := place.check(page.state)) is not None:
            for subscription in self._live:
                subscription.miss(missing)
                self._touched[subscription.connection] = None
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
            for subscription in self._live:
                if subscription.offer(line):
                    self._touched[subscription.connection] = None
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

    def due(self, subscription: LogSubscription) -> None:
        """A client has room again to be told what it missed."""
        self._due[subscription] = None
        self._on_due()

    def settle(self) -> None:
        """Tell those who are due."""
        due, self._due = self._due, {}
        for subscription in due:
            subscription.tell_dropped()
            subscription.connection.outbox.flush()
