"""Finds the queues under a prefix: by SCAN of all keys, again and again, and by name when a client asks for a queue.

A queue whose keys are gone is forgotten after a while, if nobody is subscribed to it. A pass is one SCAN of all keys,
which takes many steps.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from jobws.bullmq.keys import Queue, queue_of_meta
from jobws.bullmq.keyspace import TIMEOUT_SECONDS, are_queues, id_before_now, scan
from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.redis.connection import Connection, RedisTarget

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jobws.redis.commands import Command

RETRY_SECONDS: Final = 0.5
# A pass over a million keys takes 1.4 s of Redis's only thread. So each step is followed by a pause of 99 times its
# duration, and SCAN takes 1 % of the thread.
REST: Final = 99
# The pause depends on the fastest of the last 8 steps. A slower step shows how busy this process is, not Redis.
STEPS: Final = 8
# How many names are looked for in one round trip, and in a second. A name takes Redis a microsecond.
NAMES_TOGETHER: Final = 100
NAMES_PER_SECOND: Final = 1000
# The time between two searches for the queues that subscriptions wait for.
AWAITED_SECONDS: Final = 1.0
# How many names of new queues one log line shows.
SHOWN_NAMES: Final = 5

_log: Final = logging.getLogger(__name__)


class Registry(Protocol):
    """The queues that the bridge knows, by name. `server.jobs.queue_readers.Queues` implements it."""

    def knows(self, name: str) -> bool:
        """Whether a queue of this name is read, or can never be read because its label belongs to another queue."""
        ...

    def found(self, name: str, since: str | None) -> None:
        """Take note that a queue exists.

        The queue did not exist yet at the time of the stream id `since`. None means that it may be older than this
        process.
        """
        ...

    def found_all(self) -> None:
        """Take note that the first pass has ended, so all queues that existed at the start were found."""
        ...

    def next_unknown(self, count: int) -> Collection[str]:
        """Return up to `count` names of unknown queues that subscriptions wait for; at the next call, others first."""
        ...

    def is_needed(self, name: str) -> bool:
        """Whether anyone is subscribed to this queue, or to a job that had an event in it."""
        ...

    def forget(self, name: str) -> None:
        """Drop everything about a queue that is gone. Must not block.

        If the queue comes back, `found` is called again.
        """
        ...


class _Search:
    """Names to look for: `left` are not sent to Redis yet. `open` is how many have no answer yet, sent or not.

    `done` is set when all have an answer.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.left = deque(names)
        self.open = len(names)
        self.done = anyio.Event()


class Discovery:
    """Finds the queues under a prefix.

    The task in `run` uses one connection and sends one command after the other, which takes about 1 % of Redis's
    thread.

    Args:
        target: Where Redis is.
        prefix: The prefix of the queues.
        seconds: The time from the beginning of one pass to the beginning of the next. It is longer if there are so many
            keys that passes would take more than 1 % of Redis's thread.
        forget_seconds: How long a queue's keys must be gone before the queue is forgotten.
        registry: Gets what was found.
    """

    def __init__(
        self, target: RedisTarget, prefix: str, seconds: float, forget_seconds: float, registry: Registry
    ) -> None:
        self.prefix = prefix
        self._target = target
        self._seconds = seconds
        self._forget_seconds = forget_seconds
        self._registry = registry
        self._scanned = anyio.Event()
        # The names of the queues that were found and not forgotten; the names that the present pass has found; and for
        # each name that the last pass did not find, the time at which a pass first missed it.
        self._names: set[str] = set()
        self._seen: set[str] = set()
        self._missed: dict[str, float] = {}
        # The present pass: SCAN's cursor for the next step, when this step is due, and when the pass began, by our
        # clock and, as a stream id, by Redis's. `_previous` is when the last complete pass began, by Redis's.
        self._cursor: bytes = b"0"
        self._step_at = self._began_at = 0.0
        self._began = ""
        self._previous: str | None = None
        self._costs: deque[float] = deque(maxlen=STEPS)
        self._searches: dict[_Search, None] = {}
        self._search_at = self._awaited_at = 0.0
        self._awaited: _Search | None = None
        self._asked = anyio.Event()

    async def scanned(self) -> None:
        """Wait until the first pass over all keys has ended."""
        await self._scanned.wait()

    @property
    def is_complete(self) -> bool:
        """Whether the first pass over all keys has ended."""
        return self._scanned.is_set()

    async def find(self, names: Collection[str]) -> None:
        """Look for queues by name. Return when the registry knows each one, or Redis has said that it does not exist.

        This method first waits for the end of the first pass. Then it returns immediately if the registry knows all.
        Otherwise it asks Redis, and waits for as long as Redis is unavailable. Cancelling is safe.
        """
        await self._scanned.wait()
        unknown = dict.fromkeys(name for name in names if not self._registry.knows(name))
        if not unknown:
            return
        search = _Search(unknown)
        self._searches[search] = None
        self._asked.set()
        try:
            await search.done.wait()
        finally:
            self._searches.pop(search, None)

    async def run(self) -> None:
        """Look for queues until cancelled. If Redis is unavailable, try again."""
        connection: Connection | None = None
        try:
            while True:
                try:
                    if connection is None or connection.closed:
                        connection = await Connection.open(self._target)
                    await self._step(connection)
                except (RedisUnavailableError, RedisRefusedError) as error:
                    _log.debug("discovery waits: %s", error)
                    self._begin_again()
                    await anyio.sleep(RETRY_SECONDS)
        finally:
            if connection is not None:
                connection.close()

    async def _step(self, connection: Connection) -> None:
        """Wait until the next step of a search or of the pass is due, and do it. Searches come first."""
        now = anyio.current_time()
        self._await(now)
        if self._searches and now >= self._search_at:
            await self._search(connection)
        elif now >= self._step_at:
            await self._scan_on(connection)
        else:
            due = min(self._step_at, self._awaited_at, self._search_at if self._searches else self._step_at)
            self._asked = anyio.Event()
            with anyio.move_on_after(max(0.0, due - now)):
                # While a search waits until it is due, another search changes nothing.
                await (anyio.sleep_forever() if self._searches else self._asked.wait())

    # ---- by name ----

    def _await(self, now: float) -> None:
        """Start a search for the awaited queues, which are those that subscriptions wait for, at most once a second.

        This method itself waits for nothing. `now` is the time on anyio's clock.
        """
        if now < self._awaited_at or not self._scanned.is_set():
            return
        self._awaited_at = now + AWAITED_SECONDS
        if self._awaited not in self._searches and (names := self._registry.next_unknown(NAMES_PER_SECOND)):
            self._awaited = _Search(names)
            self._searches[self._awaited] = None

    async def _search(self, connection: Connection) -> None:
        """Ask Redis about up to 100 names: one of each search in turn, so that a long search delays no other."""
        asked: dict[str, list[_Search]] = {}
        while self._searches and len(asked) < NAMES_TOGETHER:
            search = next(iter(self._searches))
            del self._searches[search]
            asked.setdefault(search.left.popleft(), []).append(search)
            if search.left:
                self._searches[search] = None
        keys = [Queue(name, self.prefix, name).key("meta") for name in asked]
        try:
            are_there = await are_queues(connection, keys)
        except BaseException:
            for name, searches in asked.items():
                for search in searches:
                    search.left.append(name)
                    self._searches[search] = None
            raise
        self._search_at = anyio.current_time() + len(asked) / NAMES_PER_SECOND
        self._found([name for name, is_there in zip(asked, are_there, strict=True) if is_there])
        for search in (search for searches in asked.values() for search in searches):
            search.open -= 1
            if not search.open:
                search.done.set()

    # ---- all of them ----

    def _begin_again(self) -> None:
        """Restart the pass. It cannot go on over a new connection, which may lead to another server."""
        self._cursor = b"0"
        self._step_at = anyio.current_time()
        self._seen.clear()

    async def _scan_on(self, connection: Connection) -> None:
        """Do one step of the pass, and set when the next one is due."""
        began_at = anyio.current_time()
        if self._cursor == b"0":
            self._began_at = began_at
            self._began = await id_before_now(connection)
        asked_at = anyio.current_time()
        self._cursor, keys = await scan(connection, self._cursor, self.prefix)
        now = anyio.current_time()
        self._costs.append(now - asked_at)
        names = [name for key in keys if (name := queue_of_meta(key, self.prefix)) is not None]
        self._seen.update(names)
        unknown = [name for name in names if not self._registry.knows(name)]
        are_there = await are_queues(connection, [Queue(name, self.prefix, name).key("meta") for name in unknown])
        self._found([name for name, is_there in zip(unknown, are_there, strict=True) if is_there])
        if self._cursor == b"0":
            # A queue that is found after this pass did not exist when the pass began.
            self._previous = self._began
            if not self._scanned.is_set():
                self._registry.found_all()
                self._scanned.set()
            await self._forget(connection)
        if self._scanned.is_set():
            self._step_at = now + REST * min(self._costs)
            if self._cursor == b"0":
                self._step_at = max(self._step_at, self._began_at + self._seconds)

    async def _forget(self, connection: Connection) -> None:
        """Forget each queue that passes have missed for `forget_seconds`, if its keys are gone.

        A queue that the registry says is needed is kept. Called at the end of a pass.
        """
        now = anyio.current_time()
        self._missed = {name: self._missed.get(name, now) for name in self._names - self._seen}
        self._seen.clear()
        due = [
            name
            for name, since in self._missed.items()
            if now - since >= self._forget_seconds and not self._registry.is_needed(name)
        ]
        for start in range(0, len(due), NAMES_TOGETHER):
            some = due[start : start + NAMES_TOGETHER]
            queues = [Queue(name, self.prefix, name) for name in some]
            asked: list[Command] = [("EXISTS", queue.key("meta"), queue.key("events")) for queue in queues]
            replies = await connection.execute(*asked, timeout_seconds=TIMEOUT_SECONDS)
            for name, reply in zip(some, replies, strict=True):
                # A client may have subscribed since the query was sent.
                if reply == 0 and not self._registry.is_needed(name):
                    self._names.discard(name)
                    del self._missed[name]
                    self._registry.forget(name)

    def _found(self, names: Sequence[str]) -> None:
        for name in names:
            if not self._registry.knows(name):
                self._names.add(name)
                self._seen.add(name)
                self._registry.found(name, self._previous)
        if names and self._previous is not None:
            shown = ", ".join(f'"{name}"' for name in names[:SHOWN_NAMES])
            more = len(names) - SHOWN_NAMES
            _log.info("found %s", shown + (f" and {more} more queues" if more > 0 else ""))
