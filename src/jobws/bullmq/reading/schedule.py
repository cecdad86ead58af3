"""Decides which streams a reader reads with XREAD BLOCK and which only now and then. Pure.

It also decides when each stream is checked, which means that the reader finds out whether entries were lost unread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from jobws.bullmq.reading.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jobws.bullmq.reading.read_state import ReadState

# A read of a stream without new entries takes Redis about 1 us. All such reads together may take 1 % of its time.
LAZY_SECONDS_PER_STREAM: Final = 0.0001
# A check takes 100 us here. The checks of streams without new entries may take half a percent of a core.
CHECK_SECONDS_PER_STREAM: Final = 0.02
CHECKS_TOGETHER: Final = 64
# How often to ask again for which queues clients wait, if nothing indicates a change.
SORT_SECONDS: Final = 1.0


class Pauses(NamedTuple):
    """The intervals of a reader's reads, and of its checks whether entries were lost.

    Attributes:
        check_seconds: Between two checks of a stream, if there are few streams. After a reconnect each stream is
            checked, too.
        verify_seconds: From reading entries to the check of their stream. Clients get no position before this check.
        lazy_seconds: Between two reads of the streams that nobody waits for, if there are few.
        block_seconds: How long XREAD blocks at most. The health check fails after 5 s without a read.
        answer_seconds: How long Redis may take to answer, also a blocked XREAD. So it must be longer than
            `block_seconds`.
    """

    check_seconds: float = 5.0
    verify_seconds: float = 0.25
    lazy_seconds: float = 0.25
    block_seconds: float = 2.0
    answer_seconds: float = 5.0


USUAL_PAUSES: Final = Pauses()


class Audience(Protocol):
    """Says for which queues clients wait."""

    def is_wanted(self, queue: str) -> bool:
        """Whether a client waits for the queue's next event, so that the event must be read immediately."""
        ...


class Schedule:
    """The streams of one reader, and when to read and check them. Times are seconds on anyio's clock.

    Args:
        audience: Says for which queues clients wait.
        readers: How many readers the process has. The cost of idle streams is limited for all readers together.
        pauses: The intervals of reads and checks.

    Attributes:
        pauses: The intervals of reads and checks.
        eager: The streams to read with XREAD BLOCK.
        lazy: The streams to read now and then, without BLOCK.
    """

    def __init__(self, audience: Audience, readers: int, pauses: Pauses) -> None:
        self.pauses = pauses
        self.eager: list[ReadState] = []
        self.lazy: list[ReadState] = []
        self._audience = audience
        self._readers = readers
        self._streams: dict[ReadState, None] = {}
        # How fast entries come to the streams that nobody waits for, all of these streams together.
        self._pace = Pace()
        self._check_at = self._sort_at = self._lazy_at = 0.0

    @property
    def streams(self) -> Collection[ReadState]:
        """All streams of the schedule."""
        return self._streams.keys()

    def add(self, stream: ReadState) -> None:
        """Add a stream. It is due for a check immediately, and is read only after this check."""
        self._streams[stream] = None
        self.hurry()

    def remove(self, stream: ReadState) -> None:
        """Remove a stream."""
        del self._streams[stream]
        self._sort_at = 0.0

    def begin(self) -> None:
        """Have all streams checked, since the connection is new."""
        for stream in self._streams:
            stream.check_at = 0.0
        self.hurry()

    def hurry(self) -> None:
        """Have the lazy streams read now, and have `to_check` look for due checks now, since something has changed."""
        self._check_at = self._lazy_at = 0.0

    def seconds_left(self, now: float) -> float:
        """Return the seconds until a check or a read of lazy streams is due: from 0 (due now) to `block_seconds`."""
        due = min(self._check_at, self._lazy_at if self.lazy else float("inf"))
        return min(max(due - now, 0.0), self.pauses.block_seconds)

    # ---- checking ----

    def to_check(self, now: float) -> Sequence[ReadState]:
        """Return the streams to check now: at most `CHECKS_TOGETHER`, so that reading is not delayed for long.

        They count as checked: this sets when their next check is due.
        """
        if now < self._check_at:
            return ()
        due = [stream for stream in self._streams if now >= stream.check_at]
        some = sorted(due, key=lambda stream: not stream.is_wanted)[:CHECKS_TOGETHER]
        wanted, unwanted = self._check_seconds(len(self.eager)), self._check_seconds(len(self._streams))
        for stream in some:
            stream.check_at = now + (wanted if stream.is_wanted else unwanted)
        self._check_at = now if len(some) < len(due) else now + self.pauses.block_seconds
        self._sort_at = 0.0
        return some

    def _check_seconds(self, count: int) -> float:
        """Return how many seconds pass between two checks of the same stream, if a reader checks so many streams."""
        return max(self.pauses.check_seconds, self._spread_seconds(count))

    def _spread_seconds(self, count: int) -> float:
        return count * self._readers * CHECK_SECONDS_PER_STREAM

    # ---- reading ----

    def sort(self, now: float) -> None:
        """Divide the streams into `eager` and `lazy`. If this was done within the last second, do nothing.

        It is done earlier after `remove`, after checks (`to_check`), and when many entries came to eager streams that
        nobody waits for (`note_read`).

        A key that is not a stream is in neither. Streams that nobody waits for are eager, too, where this costs
        nothing: while clients wait for no stream of this reader, and its streams together get few entries.
        """
        if now < self._sort_at:
            return
        self._sort_at = now + SORT_SECONDS
        readable = [stream for stream in self._streams if stream.is_readable]
        is_wanted = self._audience.is_wanted
        for stream in readable:
            stream.is_wanted = not stream.may_be_lazy(now) or is_wanted(stream.queue.label)
        is_lazy = any(stream.is_wanted for stream in readable) or not self._pace.is_quiet(now)
        for stream in readable:
            stream.is_lazy = is_lazy and not stream.is_wanted
        self.eager = [stream for stream in readable if not stream.is_lazy]
        self.lazy = [stream for stream in readable if stream.is_lazy]
        wanted_at = (stream.check_at for stream in readable if stream.is_wanted)
        unwanted_at = (stream.check_at for stream in readable if not stream.is_wanted)
        # Streams that nobody waits for are checked together, since waking up for each one would cost as much as its
        # check.
        pause = min(
            max(self.pauses.verify_seconds, self._spread_seconds(len(self._streams)) / 10), self.pauses.block_seconds
        )
        together = max(now + pause, min(unwanted_at, default=self._check_at))
        self._check_at = min(self._check_at, together, *wanted_at)

    def to_read_lazily(self, now: float) -> Sequence[ReadState]:
        """Return the lazy streams if it is time to read them, and set the next time. Otherwise return nothing."""
        if not self.lazy or now < self._lazy_at:
            return ()
        self._lazy_at = now + max(self.pauses.lazy_seconds, len(self.lazy) * LAZY_SECONDS_PER_STREAM * self._readers)
        return self.lazy

    def note_read(self, read: Sequence[tuple[ReadState, int]], count: int, now: float) -> None:
        """Take note of how many entries each of the streams `read` returned, and have these streams checked soon.

        At most `count` entries of each stream were asked for. A lazy stream with `count` entries is read again now.
        """
        unwanted = [(stream, entries) for stream, entries in read if not stream.is_wanted]
        self._pace.note(sum(entries for _, entries in unwanted), now)
        if not all(stream.is_lazy for stream, _ in unwanted) and not self._pace.is_quiet(now):
            self._sort_at = 0.0
        if any(entries == count and stream.is_lazy for stream, entries in unwanted):
            self._lazy_at = now  # the stream has more entries
        # Clients get no position before this check. The checks of streams that nobody waits for may take half a percent
        # of a core in all.
        verify_seconds = self.pauses.verify_seconds
        later = max(verify_seconds, self._spread_seconds(len(self._streams)))
        for stream, _ in read:
            stream.check_by(now + (verify_seconds if stream.is_wanted else later))
            self._check_at = min(self._check_at, stream.check_at)
