"""Writes entries to a Redis stream from a thread of its own, so that the calling threads never wait.

Entries pass through a `SimpleQueue`, since its `put` is reentrant: a signal handler or a destructor that logs may
interrupt it and call it again. The thread starts with the first entry. So a program that never logs, or forks first,
has no such thread.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobws.redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.redis.login import LoggedIn

BUFFER_ENTRIES: Final = 10_000
BUFFER_BYTES: Final = 16 * 1024 * 1024
# The limits of what is written in one round trip. Meanwhile, entries for the next one gather.
BATCH_ENTRIES: Final = 500
BATCH_BYTES: Final = 1024 * 1024
EXIT_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 5.0
# The memory that CPython takes for an entry, a dict of five to seven strings, in addition to the text.
_ENTRY_BYTES: Final = 800
OWN_LOG: Final = "jobws.logs"

_log: Final = logging.getLogger(OWN_LOG)


class _Item(NamedTuple):
    entry: dict[str, str]
    size: int


class Writer:
    """Writes entries to one stream, and keeps those that wait to be written.

    Args:
        connect: Opens a connection. Blocks.
        explain: Gets the exception that `connect` or a command raised, or that Redis answered. Returns a sentence that
            says for people why writing failed.
        dropped: Gets the number of entries that were dropped, and the present time in milliseconds since 1970. Returns
            the entry that reports them.
        stream: The stream's key.
        limit_entries: About how many entries the stream keeps.
        buffer_bytes: How many bytes of memory the waiting entries may take.
    """

    def __init__(
        self,
        connect: Callable[[], LoggedIn],
        explain: Callable[[Exception], str],
        dropped: Callable[[int, int], dict[str, str]],
        stream: str,
        limit_entries: int,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._connect = connect
        self._explain = explain
        self._dropped = dropped
        self._buffer_bytes = buffer_bytes
        self._command = ("XADD", stream, "MAXLEN", "~", limit_entries, "*")
        self._closed = False
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        """Set the initial state. Also called in a child after a fork, since all that was there is the parent's."""
        # None is no entry. It wakes the thread.
        self._waiting: SimpleQueue[_Item | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # Acquired when the thread is started, and released only if this fails. A flag would not do, since a signal
        # handler that logs may interrupt `put`.
        self._started = threading.Lock()
        self._flushes: deque[threading.Event] = deque()
        self._hurry = threading.Event()
        self._stuck = False
        # Each counter is written either by callers of `put` or by the thread, so no lock is needed.
        self._bytes_put = self._bytes_evicted = self._evicted = 0  # written by the threads that call `put`
        self._bytes_taken = self._reported = 0  # written by the writer's thread
        self._batch: list[_Item] = []
        self._connection: LoggedIn | None = None
        self._warned = False

    def put(self, entry: dict[str, str]) -> None:
        """Add an entry to those that wait to be written. If too many do, drop the oldest ones. Return immediately.

        Only one thread at a time may call this. A signal handler or a destructor may interrupt the call with another
        one.
        """
        if self._closed:
            return
        item = _Item(entry, _ENTRY_BYTES + sum(map(len, entry.values())))
        self._bytes_put += item.size
        self._waiting.put(item)
        while self._waiting.qsize() > BUFFER_ENTRIES or self._waiting_bytes() > self._buffer_bytes:
            try:
                oldest = self._waiting.get_nowait()
            except Empty:
                break
            if oldest is not None:
                self._bytes_evicted += oldest.size
                self._evicted += 1
        if self._started.acquire(blocking=False):
            self._thread = threading.Thread(target=self._run, name="jobws-logs", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                self._thread = None
                self._started.release()

    def is_this_thread(self) -> bool:
        """Whether the calling thread is the writer's own."""
        return self._thread is threading.current_thread()

    def flush(self) -> None:
        """Wait until all earlier entries are written or one attempt has failed, for at most 2 s.

        Return immediately if the writer is closed, if its thread was not started, or if the caller is this thread.
        Entries that are not written raise nothing.
        """
        # At the end of the program, `logging` flushes closed handlers once more. Their threads have ended.
        if self._closed or self._thread is None or self.is_this_thread():
            return
        done = threading.Event()
        self._flushes.append(done)
        self._nudge()
        self._stuck = not done.wait(EXIT_SECONDS)

    def close(self) -> None:
        """Flush, and end the thread. Wait for nothing if the last flush timed out. Later entries are dropped."""
        if self._closed:
            return
        if not self._stuck:
            self.flush()
        self._closed = True
        self._nudge()
        if self._thread is not None and not self._stuck:
            self._thread.join(EXIT_SECONDS)

    def _nudge(self) -> None:
        self._waiting.put(None)
        self._hurry.set()

    def _waiting_bytes(self) -> int:
        return self._bytes_put - self._bytes_evicted - self._bytes_taken

    # ---- the thread ----

    def _run(self) -> None:
        retry, pause = Retry(LONGEST_PAUSE_SECONDS), 0.0
        while True:
            self._gather()
            # This attempt ends only the flushes that were requested before it began.
            flushes = len(self._flushes)
            if self._batch and not self._write():
                pause = retry.fail()
            else:
                retry.reset()
                if not self._waiting.empty():
                    continue
            for _ in range(flushes):
                self._flushes.popleft().set()
            if self._closed:
                return self._disconnect()
            if retry.failures:
                self._hurry.wait(pause)
                self._hurry.clear()

    def _gather(self) -> None:
        """Move waiting entries to the batch. If entries were dropped, put one with their number before the next one.

        If the batch is empty and no entry waits, wait for an entry. `_nudge` ends this wait, too, and the batch may
        then stay empty.
        """
        size = sum(item.size for item in self._batch)
        wait = not self._batch
        while len(self._batch) < BATCH_ENTRIES and size < BATCH_BYTES:
            try:
                item = self._waiting.get(block=wait)
            except Empty:
                return
            wait = False
            if item is None:
                continue
            self._bytes_taken += item.size
            if missing := self._evicted - self._reported:
                self._reported += missing
                self._batch.append(_Item(self._dropped(missing, time.time_ns() // 1_000_000), _ENTRY_BYTES))
            self._batch.append(item)
            size += item.size

    def _write(self) -> bool:
        """Send the batch, and return whether Redis took all of it. Entries that it did not take stay in the batch."""
        from jobws.redis.login import ask_all_blocking

        batch, refused = self._batch, list[_Item]()
        idle = self._connection is not None
        answered = 0
        failure: Exception | None = None
        try:
            if self._connection is None:
                self._connection = self._connect()
            for reply in ask_all_blocking(self._connection, [self._arguments(item) for item in batch]):
                if isinstance(reply, Exception):
                    refused.append(batch[answered])
                    failure = reply
                answered += 1
        except Exception as error:  # noqa: BLE001 - no error may end the thread
            failure = error
        self._batch = refused + batch[answered:]
        if failure is None:
            self._warned = False
            return True
        self._disconnect()
        # No warning for an old connection: Redis may have closed it, and the next attempt opens a new one.
        if not idle:
            self._warn(failure)
        return False

    def _arguments(self, item: _Item) -> tuple[Any, ...]:
        return (*self._command, *(part for pair in item.entry.items() for part in pair))

    def _warn(self, failure: Exception) -> None:
        # Not at the end of the program, when another thread may hold the lock of standard error for ever.
        if not self._warned and not self._closed:
            self._warned = True
            _log.warning(
                "%s; log lines wait for it, the newest %s at most", self._explain(failure), f"{BUFFER_ENTRIES:,}"
            )

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.disconnect()  # type: ignore[no-untyped-call]


_writers: Final[weakref.WeakSet[Writer]] = weakref.WeakSet()


def _in_child() -> None:
    # A process of multiprocessing ends without the functions of `atexit`, so `logging` does not flush there.
    util: Any = sys.modules.get("multiprocessing.util")
    for writer in list(_writers):
        writer._begin()  # noqa: SLF001 - of this file
        if util is not None:
            util.register_after_fork(writer, lambda each: util.Finalize(each, each.flush, exitpriority=0))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
