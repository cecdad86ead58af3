"""The log that workers and API share: its WebSocket `/logs`, and the way into its stream, put together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from jobws.bullmq.store import Store
from jobws.errors import RedisUnavailableError
from jobws.hub.log.broadcaster import LogHub
from jobws.hub.log.client import LogClient
from jobws.protocol.log.records import to_entry
from jobws.protocol.log.requests import LogSession
from jobws.redis.log_stream import Append
from jobws.server.log.history import LogHistory
from jobws.server.log.tail import LogTail
from jobws.server.supervisor import Health, supervise
from jobws.server.websocket.endpoint import Clients

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from jobws.hub.log.subscription import LogSubscription
    from jobws.protocol.codec import Frame
    from jobws.protocol.log.records import LogRecord
    from jobws.redis.connection import RedisTarget
    from jobws.server.settings import Settings

# To make an entry takes some 5 µs, and to make its command as much: job events wait meanwhile.
APPENDED_AT_ONCE: Final = 50


class Logs:
    """Everything of the log.

    Args:
        target: Where Redis is.
        settings: The limits.
        hello: Makes the first frame.

    Attributes:
        clients: The WebSockets.
        hub: Where lines pass; its counters feed the metrics.
    """

    def __init__(self, target: RedisTarget, settings: Settings, hello: Callable[[], Frame]) -> None:
        key = settings.logs_stream.encode()
        self._settings = settings
        self._store = Store(target, {})
        self._tasks: TaskGroup | None = None
        self.hub = LogHub(time.perf_counter)
        self.clients: Clients[LogClient, LogSubscription] = Clients(self._connect, self._start, hello, settings)
        self._tail = LogTail(target, self.hub, key)
        self._history = LogHistory(self.hub, self._store, key, settings.join_seconds)

    def start(self, tasks: TaskGroup) -> None:
        """Serve in `tasks`; returns immediately."""
        self._tasks = tasks
        tasks.start_soon(supervise, "the store of logs", self._store.run, Health())
        tasks.start_soon(supervise, "the tail of the log", self._tail.run, Health())
        tasks.start_soon(supervise, "the telling of dropped lines", self._tail.tell, Health())

    def stop(self) -> None:
        """Begin no new task."""
        self._tasks = None

    async def append(self, records: Sequence[LogRecord]) -> None:
        """Write lines to the stream, in order. Cancelling leaves out what was not sent yet.

        Raises:
            RedisUnavailableError: Redis did not take all of them, or the bridge does not run.
        """
        settings, taken = self._settings, 0
        if self._tasks is None:
            raise RedisUnavailableError("the bridge is not running")
        for start in range(0, len(records), APPENDED_AT_ONCE):
            some = records[start : start + APPENDED_AT_ONCE]
            entries = [to_entry(record) for record in some]
            question = Append(settings.logs_stream.encode(), settings.logs_limit_entries, entries)
            try:
                added = await self._store.ask(question)
            except RedisUnavailableError as error:
                raise RedisUnavailableError(f"{error}; {taken} of {len(records)} lines were written before") from None
            taken += added
            if added < len(some):
                raise RedisUnavailableError(f"Redis took {taken} of {len(records)} lines, and no more")

    def _connect(self, wake: Callable[[], None]) -> LogClient:
        session = LogSession(self._settings.max_message_bytes)
        return LogClient(session, self.hub, self._settings.outbox_bytes, wake)

    def _start(self, connection: LogClient, subscription: LogSubscription) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(self._history.run, connection, subscription)
