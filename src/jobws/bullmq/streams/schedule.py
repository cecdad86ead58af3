"""Which of a listener's streams are waited for, which are read now and then, and when each is checked. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from jobws.bullmq.streams.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jobws.bullmq.streams.read_state import Tail

# A read of a stream that has nothing new takes Redis about 1 us; all of them may take 1 % of its time.
LAZY_SECONDS_PER_STREAM: Final = 0.0001
# A check takes us 100 us; those of streams from which nothing is read may take half a percent of a core.
CHECK_SECONDS_PER_STREAM: Final = 0.02
CHECKS_TOGETHER: Final = 64
# Who listens to what is asked so often without a sign of a change.
SORT_SECONDS: Final = 1.0


class Pauses(NamedTuple):
    """How long a listener waits for what.

    Attributes:
        check_seconds: Between two checks of a stream, as long as streams are few, besides the one after each reconnect.
        verify_seconds: From entries that were read to the check of their stream: no client is told a position before.
        lazy_seconds: Between two reads of streams that nobody listens to, as long as they are few.
        block_seconds: For entries, at most. Health turns red after 5 s without a read.
        answer_seconds: For an answer of Redis; a blocked read's comes after `block_seconds` at the latest.
    """

    check_seconds: float = 5.0
    verify_seconds: float = 0.25
    lazy_seconds: float = 0.25
    block_seconds: float = 2.0
    answer_seconds: float = 5.0


USUAL_PAUSES: Final = Pauses()


class Audience(Protocol):
    """Who listens to which queue."""

    def is_wanted(self, queue: str) -> bool:
        """Whether somebody waits for the queue's next event, so that it is to be read immediately."""
        ...


class Schedule:
    """The streams of one listener, and what is to be done when. Times are seconds on anyio's clock.

    Args:
        audience: Who listens to which queue.
        listeners: How many there are, which share what idle streams may cost.
        pauses: How long to wait for what.

    Attributes:
        pauses: How long to wait for what.
        eager: The streams to wait for.
        lazy: Those to read now and then.
    """

    def __init__(self, audience: Audience, listeners: int, pauses: Pauses) -> None:
        self.pauses = pauses
        self.eager: list[Tail] = []
        self.lazy: list[Tail] = []
        self._audience = audience
        self._listeners = listeners
        self._tails: dict[Tail, None] = {}
        # Of the streams that nobody waits for, together.
        self._pace = Pace()
        self._check_at = self._sort_at = self._lazy_at = 0.0

    @property
    def tails(self) -> Collection[Tail]:
        """All streams that it schedules."""
        return self._tails.keys()

    def add(self, tail: Tail) -> None:
        """One more stream, which is to be checked first."""
        self._tails[tail] = None
        self.hurry()

    def remove(self, tail: Tail) -> None:
        """Schedule this stream no more."""
        del self._tails[tail]
        self._sort_at = 0.0

    def begin(self) -> None:
        """Check all streams: the connection is a new one."""
        for tail in self._tails:
            tail.check_at = 0.0
        self.hurry()

    def hurry(self) -> None:
        """Something changed: look what is to be checked, and read all streams soon."""
        self._check_at = self._lazy_at = 0.0

    def seconds_left(self, now: float) -> float:
        """Until there is something to do besides waiting for entries."""
        due = min(self._check_at, self._lazy_at if self.lazy else float("inf"))
        return min(max(due - now, 0.0), self.pauses.block_seconds)

    # ---- checking ----

    def to_check(self, now: float) -> Sequence[Tail]:
        """The streams that are to be checked now, some at a time, so that reading does not wait for long."""
        if now < self._check_at:
            return ()
        due = [tail for tail in self._tails if now >= tail.check_at]
        some = sorted(due, key=lambda tail: not tail.is_wanted)[:CHECKS_TOGETHER]
        wanted, unwanted = self._check_seconds(len(self.eager)), self._check_seconds(len(self._tails))
        for tail in some:
            tail.check_at = now + (wanted if tail.is_wanted else unwanted)
        self._check_at = now if len(some) < len(due) else now + self.pauses.block_seconds
        self._sort_at = 0.0
        return some

    def _check_seconds(self, streams: int) -> float:
        """Between two checks of so many streams, if nothing is read from them."""
        return max(self.pauses.check_seconds, self._spread_seconds(streams))

    def _spread_seconds(self, streams: int) -> float:
        return streams * self._listeners * CHECK_SECONDS_PER_STREAM

    # ---- reading ----

    def sort(self, now: float) -> None:
        """Tell the streams to wait for from those to read now and then. A key that is no stream is neither.

        Those that nobody waits for are waited for all the same where that costs nothing: while they are quiet, all
        together, and no read for others has to name them each time.
        """
        if now < self._sort_at:
            return
        self._sort_at = now + SORT_SECONDS
        readable = [tail for tail in self._tails if tail.is_readable]
        is_wanted = self._audience.is_wanted
        for tail in readable:
            tail.is_wanted = not tail.may_be_lazy(now) or is_wanted(tail.queue.label)
        is_lazy = any(tail.is_wanted for tail in readable) or not self._pace.is_quiet(now)
        for tail in readable:
            tail.is_lazy = is_lazy and not tail.is_wanted
        self.eager = [tail for tail in readable if not tail.is_lazy]
        self.lazy = [tail for tail in readable if tail.is_lazy]
        wanted_at = (tail.check_at for tail in readable if tail.is_wanted)
        unwanted_at = (tail.check_at for tail in readable if not tail.is_wanted)
        # Those that nobody waits for are checked together; to wake up for each would cost as much as its check.
        pause = min(
            max(self.pauses.verify_seconds, self._spread_seconds(len(self._tails)) / 10), self.pauses.block_seconds
        )
        together = max(now + pause, min(unwanted_at, default=self._check_at))
        self._check_at = min(self._check_at, together, *wanted_at)

    def to_read_lazily(self, now: float) -> Sequence[Tail]:
        """The streams that are read now and then, if it is time."""
        if not self.lazy or now < self._lazy_at:
            return ()
        self._lazy_at = now + max(self.pauses.lazy_seconds, len(self.lazy) * LAZY_SECONDS_PER_STREAM * self._listeners)
        return self.lazy

    def note_read(self, streams: Sequence[tuple[Tail, int]], count: int, now: float) -> None:
        """Take note of how many entries each of these streams gave, when asked for `count`."""
        unwanted = [(tail, entries) for tail, entries in streams if not tail.is_wanted]
        self._pace.note(sum(entries for _, entries in unwanted), now)
        if not all(tail.is_lazy for tail, _ in unwanted) and not self._pace.is_quiet(now):
            self._sort_at = 0.0
        if any(entries == count and tail.is_lazy for tail, entries in unwanted):
            self._lazy_at = now  # there is more
        # No client is told a position before. Those that nobody waits for may cost half a percent of a core in all.
        verify_seconds = self.pauses.verify_seconds
        later = max(verify_seconds, self._spread_seconds(len(self._tails)))
        for tail, _ in streams:
            tail.check_by(now + (verify_seconds if tail.is_wanted else later))
            self._check_at = min(self._check_at, tail.check_at)
