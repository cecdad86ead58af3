"""The log that all programs share: the endpoint `/logs`, its tasks, and writing lines to the log's stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from jobws.bullmq.store import Store
from jobws.errors import RedisUnavailableError
from jobws.hub.log.broadcaster import LogHub
from jobws.hub.log.client import LogClient
from jobws.hub.log.subscription import LogSubscription
from jobws.protocol.log.records import to_entry
from jobws.protocol.log.requests import LogSession
from jobws.redis.log_stream import Append
from jobws.server.auto_reset_event import AutoResetEvent
from jobws.server.log.history import LogHistory
from jobws.server.log.tail import LogTail
from jobws.server.websocket.clients import Clients, Endpoint
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobws.access.sights import AnySight
    from jobws.privacy.rules import Privacy
    from jobws.protocol.log.records import LogRecord
    from jobws.redis.connection import RedisTarget
    from jobws.server.fair_turns import FairTurns
    from jobws.server.settings import Settings
    from jobws.server.tasks import Tasks
    from jobws.server.websocket.admission import Admission
    from jobws.server.websocket.hello import Greeting
    from jobws.server.websocket.rates import Rates

# How many lines one command adds.
APPENDED_AT_ONCE: Final = 50


class Logs(Endpoint[LogClient, LogSubscription]):
    """The endpoint `/logs`, with the tasks that it needs, and writing to the log.

    Args:
        target: Where Redis is.
        settings: The limits.
        admission: Closes clients without a valid token.
        greeting: Makes the first frame.
        rates: What the holders of tokens may send.
        turns: Limits how long the messages of clients take at a time.
        tasks: The tasks of the bridge.
        privacy: Says which lines clients do not see.
        by_queue: Whether a line's `queue` is the label of a queue. If it is not, clients whose rights cover only the
            lines of certain queues are refused, since the bridge cannot tell which lines these are.

    Attributes:
        clients: The clients of `/logs`.
        hub: Passes lines on to clients. Its counters are part of the metrics.
    """

    def __init__(
        self,
        target: RedisTarget,
        settings: Settings,
        admission: Admission,
        greeting: Greeting,
        rates: Rates,
        turns: FairTurns,
        tasks: Tasks,
        privacy: Privacy,
        *,
        by_queue: bool,
    ) -> None:
        key = settings.logs_stream.encode()
        self._settings = settings
        self._by_queue = by_queue
        self._store = Store(target, {}, privacy)
        self._tasks = tasks
        wanted, due = AutoResetEvent(), AutoResetEvent()
        self.hub = LogHub(privacy, time.perf_counter, wanted.set, due.set)
        self.clients: Clients[LogClient, LogSubscription] = Clients(self, settings, admission, greeting, rates, turns)
        self._tail = LogTail(target, self.hub, key, wanted, due)
        self._history = LogHistory(self.hub, self._store, key, settings.join_seconds)

    def start(self) -> None:
        """Start the tasks of the log. Returns immediately."""
        self._tasks.spawn_supervised("the store of logs", self._store.run)
        self._tasks.spawn_supervised("the tail of the log", self._tail.run)
        self._tasks.spawn_supervised("the sending of dropped lines' number", self._tail.send_dropped)

    async def append(self, records: Sequence[LogRecord]) -> None:
        """Write lines to the stream, in order. If it is cancelled, lines that were not sent yet are not written.

        Raises:
            RedisUnavailableError: Redis did not take all lines, or the bridge is not running.
        """
        settings, taken, turn = self._settings, 0, Turn()
        if not self._tasks.are_running:
            raise RedisUnavailableError("the bridge is not running")
        for start in range(0, len(records), APPENDED_AT_ONCE):
            some = records[start : start + APPENDED_AT_ONCE]
            entries = []
            for record in some:
                entries.append(to_entry(record))
                await turn.pause()
            query = Append(settings.logs_stream.encode(), settings.logs_limit_entries, entries)
            try:
                added = await self._store.ask(query)
            except RedisUnavailableError as error:
                raise RedisUnavailableError(f"{error}; {taken} of {len(records)} lines were written before") from None
            taken += added
            if added < len(some):
                raise RedisUnavailableError(f"Redis took {taken} of {len(records)} lines, and no more")

    # ---- the endpoint `/logs` ----

    def connect(self, wake: Callable[[], None], sight: AnySight) -> LogClient:
        """Make the hub's side of a client of `/logs`; see `Endpoint.connect`."""
        session = LogSession(self._settings.max_message_bytes, sight, by_queue=self._by_queue)
        return LogClient(session, self.hub, self._settings.outbox_bytes, wake)

    def look_up(self, client: LogClient, pending: LogSubscription) -> None:
        """Start the task that answers a subscription; see `Endpoint.look_up`."""
        self._tasks.spawn(self._history.run, client, pending)
