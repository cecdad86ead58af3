"""Reads new lines of the log stream while there are live subscriptions. Without any, it sends Redis no command.

A page is read together with the state of the stream, so the number of lines that were trimmed unread is known. After
the last page a blocking read waits for a new line. Its reply is not used: since lines may come in bursts, they are then
read as a page.
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
    from jobws.redis.log_stream import LogCursor, LogPage
    from jobws.server.auto_reset_event import AutoResetEvent

BLOCK_MILLISECONDS: Final = 2000
TIMEOUT_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 2.0
# Which failures in a row are logged: the first, and one that shows that the trouble lasts.
LOGGED_FAILURES: Final = (1, 5)
# How long to wait for further lines after a new one, since waking up costs as much as a hundred lines.
PAUSE_SECONDS: Final = 0.01
# The pause after each page, so that events of jobs find the event loop and the processor idle. There is no pause if so
# many lines are unread, since the stream may be trimmed.
BREATH_SECONDS: Final = 0.001
HURRY_LINES: Final = 2000

_log: Final = logging.getLogger(__name__)


class LogTail:
    """Reads the stream from the cursor of the hub on. The hub has a cursor while there are live subscriptions.

    Args:
        target: Where Redis is.
        hub: Publishes the lines that are read.
        key: The stream's key in Redis.
        wanted: The hub sets it when it has its first live subscription.
        due: The hub sets it when `LogHub.send_dropped` has something to send.
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

    async def send_dropped(self) -> None:
        """Send `dropped` to clients that missed lines and have room again, until cancelled."""
        while True:
            await self._due.wait()
            self._hub.send_dropped()

    async def run(self) -> None:
        """Read and publish until cancelled. Errors of Redis are logged, and reading is tried again after a pause."""
        while True:
            while self._hub.cursor is None:
                await self._wanted.wait()
            try:
                connection = await Connection.open(self._target)
                try:
                    await self._read_on(connection)
                finally:
                    connection.close()
            except (RedisUnavailableError, RedisRefusedError) as error:
                pause = self._retry.fail()
                if self._retry.failures in LOGGED_FAILURES:
                    _log.warning("%s; the log stream waits and tries again", error)
                await anyio.sleep(pause)

    async def _read_on(self, connection: Connection) -> None:
        """Read and publish until there is no live subscription any more.

        Raises:
            RedisUnavailableError: The connection broke.
            RedisRefusedError: Redis refused a command.
        """
        while (cursor := self._hub.cursor) is not None:
            query = PageAfter(self._key, cursor.id, self._count)
            page = query.parse(await connection.execute(*query.commands(), timeout_seconds=TIMEOUT_SECONDS))
            self._retry.reset()
            await self._publish(cursor, page)
            if cursor.lag(page.state) < HURRY_LINES:
                await anyio.sleep(BREATH_SECONDS)
            if page.entries:
                self._count = next_count(page.entries)
            if not page.full and self._hub.cursor is cursor:
                wait = ("XREAD", "COUNT", 1, "BLOCK", BLOCK_MILLISECONDS, "STREAMS", self._key, cursor.id)
                await connection.ask(*wait, timeout_seconds=TIMEOUT_SECONDS)
                await anyio.sleep(PAUSE_SECONDS)

    async def _publish(self, cursor: LogCursor, page: LogPage) -> None:
        await anyio.lowlevel.checkpoint()  # to parse the reply took time
        index = self._hub.publish(cursor, page, 0)
        while self._hub.flush() or index < len(page.entries):
            await anyio.lowlevel.checkpoint()  # other tasks run
            if index < len(page.entries):
                index = self._hub.publish(cursor, page, index)
