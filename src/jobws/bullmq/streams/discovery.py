"""Which queues there are: all of a prefix are looked for again and again, and one that somebody names immediately.

One whose keys are gone is forgotten after a while, if nobody is subscribed to it.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from jobws.bullmq.keys import Queue, queue_of_meta
from jobws.bullmq.keyspace import TIMEOUT_SECONDS, are_queues, scan, time
from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.redis.connection import Connection, RedisTarget

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jobws.redis.commands import Command

RETRY_SECONDS: Final = 0.5
# SCAN of a million keys takes Redis 1.4 s of its one thread, so each step is followed by a rest of 99 times its length.
REST: Final = 99
# The quickest of so many steps tells how busy Redis is; the others tell how busy this process is.
STEPS: Final = 8
# Names that are looked for together, and how many a second: a name takes Redis a microsecond.
NAMES_TOGETHER: Final = 100
NAMES_PER_SECOND: Final = 1000
# Between two looks for the queues that subscriptions wait for.
AWAITED_SECONDS: Final = 1.0
# Of the queues that were found together.
SHOWN_NAMES: Final = 5

_log: Final = logging.getLogger(__name__)


class Registry(Protocol):
    """What discovery tells: `server.jobs.queue_readers.Queues`."""

    def knows(self, name: str) -> bool:
        """Whether a queue of that name is read, or never can be, since its label is another's."""
        ...

    def found(self, name: str, since: str | None) -> None:
        """A queue is there. It was not yet at the stream id `since`; None: it was there before us."""
        ...

    def found_all(self) -> None:
        """All queues were found that were there before us."""
        ...

    def awaited(self, count: int) -> Collection[str]:
        """At most so many names of queues that are not known and that subscriptions wait for, in turns."""
        ...

    def is_needed(self, name: str) -> bool:
        """Whether somebody is subscribed to the queue, or to a job that it was seen to have."""
        ...

    def forget(self, name: str) -> None:
        """The queue is gone: keep nothing of it. If it comes back it is `found` again. It must not wait."""
        ...


class _Search:
    """Names that somebody wants to be looked for: `left` are to be asked for, `open` of them have no answer yet."""

    def __init__(self, names: Collection[str]) -> None:
        self.left = deque(names)
        self.open = len(names)
        self.done = anyio.Event()


class Discovery:
    """Finds the queues under a prefix.

    One task asks over one connection, one thing after the other, and costs Redis about 1 % of its thread.

    Args:
        target: Where Redis is.
        prefix: Which queues.
        seconds: Between the beginnings of two passes over all keys; more if there are so many that this would cost
            Redis more.
        forget_seconds: After how long a queue is forgotten, once its keys are gone.
        registry: Is told what was found.
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
        # All that were found, those of the present pass, and since when passes find some no more.
        self._names: set[str] = set()
        self._seen: set[str] = set()
        self._missed: dict[str, float] = {}
        # The pass: where it goes on, when the next step is due, and when it began, by both clocks.
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
        """Wait until all keys were passed over once."""
        await self._scanned.wait()

    @property
    def is_complete(self) -> bool:
        """Whether all keys were passed over once."""
        return self._scanned.is_set()

    async def find(self, names: Collection[str]) -> None:
        """Return once each of the queues is known, or was not there after this call. Waits while Redis is away.

        Cancelling is safe.
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
        """Look for queues until cancelled. Trouble with Redis is tried again."""
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
        """Wait for the next thing to do, and do it. What somebody waits for comes first."""
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
                # While searches wait for their time, further ones change nothing.
                await (anyio.sleep_forever() if self._searches else self._asked.wait())

    # ---- by name ----

    def _await(self, now: float) -> None:
        """Search for what subscriptions wait for, once a second."""
        if now < self._awaited_at or not self._scanned.is_set():
            return
        self._awaited_at = now + AWAITED_SECONDS
        if self._awaited not in self._searches and (names := self._registry.awaited(NAMES_PER_SECOND)):
            self._awaited = _Search(names)
            self._searches[self._awaited] = None

    async def _search(self, connection: Connection) -> None:
        """Look for some names of each search in turn, so that a long one holds up no other."""
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
        """A pass that was cut short says nothing: another server may have answered since."""
        self._cursor = b"0"
        self._step_at = anyio.current_time()
        self._seen.clear()

    async def _scan_on(self, connection: Connection) -> None:
        """One step of a pass, and its rest."""
        began_at = anyio.current_time()
        if self._cursor == b"0":
            self._began_at = began_at
            self._began = await time(connection)
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
            # A queue that a later pass finds was not there when this one began.
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
        """A pass has ended: forget the queues that passes have not found for long."""
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
                # Somebody may need it by now.
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
