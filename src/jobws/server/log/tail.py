"""Tails the log stream for those who watch it, and only while somebody does: else Redis is asked nothing.

A page is read with what the stream was at that moment, so it is known how many lines were trimmed before they were
read. The blocking read after the last page only wakes: lines may come in bursts, and one page has many.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.redis.connection import Connection, RedisTarget
from jobws.redis.log_stream import FIRST_COUNT, PageAfter, next_count
from jobws.redis.retry import Retry

if TYPE_CHECKING:
    from jobws.hub.log.broadcaster import LogHub
    from jobws.redis.log_stream import Page, Place
    from jobws.server.auto_reset_event import AutoResetEvent

BLOCK_MILLISECONDS: Final = 2000
TIMEOUT_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 2.0
# The log is told of the first failure, and of the one that shows that it is no short trouble.
TOLD_FAILURES: Final = (1, 5)
# A line may be so late, and whatever is written meanwhile comes with it: a waking costs as much as a hundred lines.
PAUSE_SECONDS: Final = 0.01
# Between two pages of a burst job events find the loop and the processor idle; but who is far behind, in a stream that
# is trimmed, must hurry.
BREATH_SECONDS: Final = 0.001
HURRY_LINES: Final = 2000

_log: Final = logging.getLogger(__name__)


class LogTail:
    """Reads the stream from the hub's place on, as long as it has one.

    Args:
        target: Where Redis is.
        hub: Takes what was read.
        key: Of the stream.
        wanted: Set when the hub begins to want the stream.
        due: Set when clients are to be told what they missed.
    """

    def __init__(
        self, target: RedisTarget, hub: LogHub, key: bytes, wanted: AutoResetEvent, due: AutoResetEvent
    ) -> None:
        self._target = target
        self._hub = hub
        self._key = key
        self._wanted = wanted
        self._due = due
        self._count = FIRST_COUNT
        self._retry = Retry(LONGEST_PAUSE_SECONDS)

    async def tell(self) -> None:
        """Tell clients that have room again what they missed, until cancelled."""
        while True:
            await self._due.wait()
            self._hub.settle()

    async def run(self) -> None:
        """Read and publish until cancelled. Trouble with Redis is logged and tried again; only bugs come out."""
        while True:
            while self._hub.place is None:
                await self._wanted.wait()
            try:
                connection = await Connection.open(self._target)
                try:
                    await self._read_on(connection)
                finally:
                    connection.close()
            except (RedisUnavailableError, RedisRefusedError) as error:
                pause = self._retry.fail()
                if self._retry.failures in TOLD_FAILURES:
                    _log.warning("%s; the log stream waits and tries again", error)
                await anyio.sleep(pause)

    async def _read_on(self, connection: Connection) -> None:
        """Read until nobody wants it any more, or the connection breaks."""
        while (place := self._hub.place) is not None:
            question = PageAfter(self._key, place.id, self._count)
            page = question.parse(await connection.execute(*question.commands(), timeout_seconds=TIMEOUT_SECONDS))
            self._retry.reset()
            await self._publish(place, page)
            if place.behind(page.state) < HURRY_LINES:
                await anyio.sleep(BREATH_SECONDS)
            if page.entries:
                self._count = next_count(page.entries)
            if not page.full and self._hub.place is place:
                await connection.ask(
                    *("XREAD", "COUNT", 1, "BLOCK", BLOCK_MILLISECONDS, "STREAMS", self._key, place.id),
                    timeout_seconds=TIMEOUT_SECONDS,
                )
                await anyio.sleep(PAUSE_SECONDS)

    async def _publish(self, place: Place, page: Page) -> None:
        await anyio.lowlevel.checkpoint()  # to take the reply apart took its time
        index = self._hub.publish(place, page, 0)
        while self._hub.flush() or index < len(page.entries):
            await anyio.lowlevel.checkpoint()  # everybody else's turn
            if index < len(page.entries):
                index = self._hub.publish(place, page, index)
