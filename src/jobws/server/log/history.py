"""Finds where a subscription to the log begins, and reads lines back from there until the subscription is live.

Past lines are read in pages, at the speed of the client. So are lines that are added meanwhile. When the subscription
has got the same lines as the live subscriptions, it becomes live, too. So no line has to wait in memory for this
subscription. It misses a line only if the line was trimmed from the stream before it was read, or does not fit into the
outbox. Then the client gets `dropped`. If lines after the client's position were trimmed before it subscribed, the ack
has `gap` instead.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, nullcontext
from operator import length_hint
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import anyio.lowlevel

from jobws.hub.jobs.pending import UNAVAILABLE
from jobws.hub.log.line import MAX_SECONDS
from jobws.protocol.identifiers import START, before, position
from jobws.protocol.messages import ItemError
from jobws.redis.log_stream import FIRST_COUNT, EntriesUpTo, LogCursor, PageAfter, State, StateOf, next_count
from jobws.server.jobs.reading_back import retry_until_available, wait_for_low_water

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobws.bullmq.store import Store
    from jobws.hub.log.broadcaster import LogHub
    from jobws.hub.log.client import LogClient
    from jobws.hub.log.subscription import LogSubscription

# How long to wait after a page without lines. A client that comes from a faster bridge may be ahead of this one.
AHEAD_SECONDS: Final = 0.01

_log: Final = logging.getLogger(__name__)


class Beginning(NamedTuple):
    """Where in the stream a subscription to the log begins.

    Attributes:
        cursor: The subscription gets the lines after this cursor.
        end: Lines up to this id are sent as replayed. It is `0-0` if the stream has had no line yet.
        gap: Whether lines that the client should have got may be missing before `cursor`.
    """

    cursor: LogCursor
    end: str
    gap: bool = False


class LogHistory:
    """Answers subscriptions to the log and reads lines back for them until they are live.

    Args:
        hub: The live subscriptions, which a subscription joins after it has got the past lines.
        store: Reads the stream.
        key: The stream's key in Redis.
        join_seconds: How long a subscription may wait for its answer. After that it is refused with `unavailable`.
    """

    def __init__(self, hub: LogHub, store: Store, key: bytes, join_seconds: float) -> None:
        self._hub = hub
        self._store = store
        self._key = key
        self._join_seconds = join_seconds
        self._turns = anyio.Lock()

    async def run(self, client: LogClient, subscription: LogSubscription) -> None:
        """Answer a subscription, and read back until it is live or has ended. An error ends only this subscription."""
        try:
            with anyio.CancelScope() as scope:
                subscription.on_end = scope.cancel
                if subscription.ended:  # it ended before this task ran
                    return
                beginning = None
                with anyio.move_on_after(self._join_seconds):
                    beginning = await self._beginning(subscription)
                if beginning is None:
                    client.fail(subscription, UNAVAILABLE)
                    return
                client.complete(subscription, beginning.cursor, beginning.end, gap=beginning.gap)
                await self._read_back(client, subscription)
        except Exception:  # noqa: BLE001 - one client's subscription must not end the bridge
            _log.exception("a subscription to the log failed")
            client.fail(subscription, ItemError("internal", "the bridge failed to look up this subscription"))

    async def _beginning(self, subscription: LogSubscription) -> Beginning:
        request, here = subscription.request, self._hub.cursor
        if request.after is None and not request.tail and here is not None:
            # The stream may have further lines after the cursor of the live subscriptions. A subscription that replaces
            # a live one of the same client must not miss them.
            return Beginning(LogCursor(here.id, here.count), here.id)
        state = await retry_until_available(lambda: self._store.ask(StateOf(self._key)))
        if request.after is not None:
            return beginning_after(request.after, state)
        cursor = LogCursor(state.generated, state.added)
        return Beginning(
            await self._last(subscription, cursor, request.tail) if request.tail else cursor, state.generated
        )

    async def _last(self, subscription: LogSubscription, end: LogCursor, wanted: int) -> LogCursor:
        """Return the cursor after which exactly `wanted` lines up to `end` pass the subscription's filter.

        The line at `end` counts, too. If the stream has fewer such lines, this is the cursor before the stream's first
        entry. If the stream has no entries up to `end`, it is `end`.
        """
        found, count, upper, asked = 0, end.count, end.id, FIRST_COUNT
        oldest: bytes | None = None
        while True:
            query = EntriesUpTo(self._key, upper, asked)
            entries = await retry_until_available(lambda: self._store.ask(query))  # noqa: B023 - asked immediately
            unseen = iter(entries)
            while length_hint(unseen):
                async with self._turn():
                    deadline = self._hub.clock() + MAX_SECONDS
                    for entry in unseen:
                        oldest = entry[0]
                        count = None if count is None else count - 1
                        found += self._hub.line(entry).passes(subscription.request.filter)
                        if found == wanted:
                            return LogCursor(before(oldest), count)
                        if self._hub.clock() > deadline:
                            break
            if len(entries) < asked:
                return end if oldest is None else LogCursor(before(oldest), count)
            upper, asked = f"({entries[-1][0].decode()}", next_count(entries)

    async def _read_back(self, client: LogClient, subscription: LogSubscription) -> None:
        """Send the lines after the subscription's cursor, until the subscription is live or has ended."""
        count = FIRST_COUNT
        while (cursor := subscription.cursor) is not None:
            await wait_for_low_water(client.outbox)
            query = PageAfter(self._key, cursor.id, count)
            page = await retry_until_available(lambda: self._store.ask(query))  # noqa: B023 - asked immediately
            seen, index = -1, 0
            while index > seen:
                # A page that is not full is the last one. It is passed on without waiting for a turn, since after the
                # wait the stream would have further lines.
                async with self._turn() if page.full else nullcontext():
                    seen, index = index, subscription.read_back(page, index, self._hub.clock)
                    if self._hub.join(subscription, page, index):
                        return
                await anyio.lowlevel.checkpoint()  # other tasks run
                await wait_for_low_water(client.outbox)
            count = next_count(page.entries) if page.entries else count
            if not index:
                await anyio.sleep(AHEAD_SECONDS)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for the turn of this client. Only one client at a time goes through lines, inside this context.

        The caller must leave the context soon. A hundred such steps in a row would delay job events, so other tasks run
        after each step.
        """
        async with self._turns:
            yield
            await anyio.lowlevel.checkpoint()


def beginning_after(after: str, state: State) -> Beginning:
    """Return where a subscription begins whose client has all lines up to the position `after`.

    In two cases the subscription begins with the oldest line that the stream has, and with a gap: entries after the
    position were trimmed, or the position is after the stream's last entry, so it is a position of another stream.
    """
    if position(after) > position(state.generated):
        return Beginning(LogCursor(START, state.removed), state.generated, gap=True)
    if position(after) < position(state.floor):
        return Beginning(LogCursor(state.floor, state.removed), state.generated, gap=True)
    known = state.added if after == state.generated else state.removed if after == state.floor else None
    return Beginning(LogCursor(after, known), state.generated)
