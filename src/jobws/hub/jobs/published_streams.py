"""Knows how far each queue's stream was published, and where events may be missing.

The tasks that read the streams from Redis call `PublishedStreams`. Its subclass `fanout.Fanout` publishes the events.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from jobws.hub.job_log.followers import JobLogs
from jobws.hub.jobs.history import History
from jobws.hub.jobs.queue_history import KnownStream
from jobws.hub.jobs.subscription import DOUBTED, BufferedEvent, JobEnded
from jobws.protocol.codec import encode
from jobws.protocol.echo import named
from jobws.protocol.identifiers import START, Position, position
from jobws.protocol.messages import Cursor, Gap, GapData

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobws.bullmq.events import HistoryEntry
    from jobws.hub.jobs.ends_per_minute import Ends
    from jobws.hub.jobs.queue_history import QueueHistory
    from jobws.hub.jobs.rooms import Rooms
    from jobws.hub.jobs.signals import Signals
    from jobws.hub.jobs.subscription import Subscription


class PublishedStreams(ABC):
    """How far each queue's stream was published, and what may be missing.

    Args:
        rooms: The rooms of all subscriptions.
        signals: The callbacks for work that needs Redis.

    Attributes:
        cursors: By queue label, the stream id up to which entries were published.
        verified: By queue label, the stream id up to which certainly no entry was missed. A client may continue from
            this position at another bridge. A later position is not safe: before it, there may be a hole that this
            bridge has not found.
        history: The events that were published, and those that the streams held before.
        counts: Counters for the metrics: `entries`, `deliveries`, and one key per anomaly.
        without_events: The queues whose event stream is switched off.
        knows_all: Whether the bridge has found all queues that existed when it started. Answers to subscriptions
            without a queue wait for this.
        without_position: The queues in which entries may have been missed, and whose jobs were not looked up since.
            Frames for subscriptions to these jobs have no position now, except those of outcomes.
        rereads: For each queue whose stream is read again, the history of the events that were published before.
        job_logs: The followers of jobs' log lines.
    """

    def __init__(self, rooms: Rooms, signals: Signals) -> None:
        self.rooms = rooms
        self.cursors: Cursor = {}
        self.verified: Cursor = {}
        self.history = History()
        self.counts: Counter[str] = Counter()
        self.without_events: set[str] = set()
        self.knows_all = True
        self.without_position: set[str] = set()
        self.rereads: dict[str, QueueHistory] = {}
        # By queue: the position up to which events may be missing, and the range of positions that may belong to an
        # earlier stream of the same queue.
        self._doubtful: Cursor = {}
        self._foreign: dict[str, _Span] = {}
        self._on_gap = signals.on_gap
        self.job_logs = JobLogs(
            self.without_events, self.counts, self.release, signals.on_job_log_news, signals.on_job_log_wait
        )

    @abstractmethod
    def release(self, subscription: Subscription) -> None:
        """Send what is held for a subscription, in order, and hold nothing from now on. Do nothing if it has ended.

        The caller flushes the outbox.
        """

    def fill(self, queue: str, newest_first: Sequence[HistoryEntry], floor: str) -> Iterator[None]:
        """Replace a queue's history by the events that its stream held before jobws began to read it.

        This sends nothing, but clients that return may get these events as replays. `newest_first` has every event
        after the id `floor`. This is a generator of short steps, which the caller must exhaust.
        """
        return self.history.fill(queue, newest_first, floor)

    def ends_until(self, queue: str, now_milliseconds: int) -> Ends | None:
        """Return how many jobs of a queue ended in the minute before this time, on Redis's clock; None if unknown."""
        return None if queue in self.without_events else self.history.of(queue).ends.until(now_milliseconds)

    def resize_history(self, queue: str, max_length: int) -> int:
        """Note how many entries a stream may hold, and return how many of its events the history keeps at most.

        If it has more, a call forgets at most `queue_history.FORGOTTEN_TOGETHER` of them; further calls forget more.
        """
        return self.history.resize(queue, max_length)

    def forget_before(self, queue: str, stream_id: str) -> None:
        """Forget events that Redis has trimmed: those before the entry `stream_id`.

        A call forgets at most `queue_history.FORGOTTEN_TOGETHER` of them; further calls forget more.
        """
        self.history.forget_before(queue, stream_id)

    def forget(self, queue: str) -> None:
        """Forget all about a queue that is gone and whose stream is not read. If it comes back, it is a new queue.

        Subscriptions that name the queue stay. Those without a queue stay, too, as if their job had never been in it.
        """
        for subscription in self.rooms.forget(queue):
            self.job_logs.forget(subscription, queue)
        self.history.forget(queue)
        self.rereads.pop(queue, None)
        for known in (self.cursors, self.verified):
            known.pop(queue, None)
        self._doubtful.pop(queue, None)
        self._foreign.pop(queue, None)
        self.without_events.discard(queue)
        self.without_position.discard(queue)

    def begin_reread(self, queue: str, generated: str, oldest: str) -> tuple[str, str]:
        """Prepare to publish a stream again, because entries of it are missing or it is another stream than before.

        The caller must call `send_gap` next, publish the entries, and then call `end_reread`. Meanwhile, events that
        were published before are skipped, and `without_position` has the queue. Subscriptions that get events of this
        queue stop waiting for log lines now.

        Args:
            queue: The queue's label.
            generated: The highest id that was ever added to the stream.
            oldest: The id just below that of the stream's oldest entry, not this entry's own id; `generated` if the
                stream is empty.

        Returns:
            The id after which to read, and the id up to which entries may be missing. The first is the floor of the
            history, or `0-0` if the stream's ids do not reach higher than this floor.
        """
        cursor = self.cursors[queue]
        known = self.history.floor(queue)
        start = known if position(generated) > position(known) else START
        floor = max(start, oldest, key=position)
        self._doubtful[queue] = max(cursor, self._doubtful.get(queue, START), key=position)
        if position(generated) < position(cursor):
            span = _Span(position(generated), position(cursor))
            old = self._foreign.get(queue, span)
            self._foreign[queue] = _Span(min(old.after, span.after), max(old.up_to, span.up_to))
        self.rereads[queue] = self.history.restart(queue)
        self.without_position.add(queue)
        self.cursors[queue] = start
        self.counts["gaps"] += 1
        self.job_logs.give_up_all(queue)
        return start, floor

    def send_gap(self, queue: str, reason: str, floor: str) -> Iterator[None]:
        """Send a `gap` to the queue's clients: entries up to the id `floor` may be missing.

        If a subscription's job had ended and a later outcome may be missing, the queue's value in its `job_states`
        becomes `DOUBTED`: `misses` then checks whether the job's hash has another outcome. Unless `reason` is
        `trimmed`, the subscriptions' `ahead` loses the queue. A subscription that holds back events also holds back a
        `gap` of its own. This is a generator of short steps: it yields after each subscription and each client. The
        caller must exhaust it.
        """
        limit = position(floor)
        concerned = self.rooms.clients_of(queue)
        for subscription in [*self.rooms.of_jobs_in(queue), *self.rooms.whole_queue(queue)]:
            state = subscription.job_states.get(queue)
            if isinstance(state, JobEnded) and (reason != "trimmed" or position(state.up_to) <= limit):
                subscription.job_states[queue] = DOUBTED
            if subscription.ahead is not None and reason != "trimmed":
                subscription.ahead.pop(queue, None)
            if subscription.held is not None:
                self._hold_gap(subscription, queue, reason)
            yield
        gap = encode(Gap(data=GapData(queue, reason, None)))
        for client in concerned:
            client.outbox.append(gap)
            client.outbox.flush()
            yield

    def _hold_gap(self, subscription: Subscription, queue: str, reason: str) -> None:
        """Add a gap to the held events, so that it is sent before the events that are read again."""
        key = subscription.request.key
        jobs = None if key.job_id is None else [key.job_id]
        frame = encode(Gap(sub=named(key.sub), data=GapData(queue, reason, jobs)))
        if subscription.held is not None and subscription.client.outbox.hold(frame.payload):
            subscription.held.append(BufferedEvent(None, queue, None, frame.payload, replayed=False))

    def end_reread(self, queue: str, floor: str) -> None:
        """Note that a stream was published again, and have outcomes that may have been missed looked up (`doubt`).

        `floor` is the second id that `begin_reread` returned: entries up to it may be missing. The history now has
        every event after it.
        """
        self.rereads.pop(queue, None)
        self.history.reach_to(queue, floor)
        self.doubt(queue)

    def doubt(self, queue: str) -> None:
        """Note that outcomes may have been missed: have the queue's jobs that have subscribers looked up.

        `without_position` has the queue from now on, until a look-up that began after this call has ended. An earlier
        look-up that is still under way does not count. While the stream is read again, the look-up waits for
        `end_reread`.
        """
        self.without_position.add(queue)
        if queue not in self.rereads:
            self._on_gap(queue)

    def resolve(self, queue: str) -> None:
        """Note that the outcomes that `doubt` asked for were looked up. The look-up began after the last `doubt`.

        `without_position` loses the queue, unless the stream is being read again.
        """
        if queue not in self.rereads:
            self.without_position.discard(queue)

    def known(self, queue: str) -> KnownStream:
        """Return a queue's history, and the stream id up to which its events are published now."""
        return KnownStream(self.history.of(queue), self.cursors.get(queue, START))

    def may_miss(self, queue: str, after: str) -> bool:
        """Return whether a client that continues from the position `after` may miss events."""
        doubtful = self._doubtful.get(queue)
        return (doubtful is not None and position(after) <= position(doubtful)) or self.history.of(queue).may_miss(
            after
        )

    def is_foreign(self, queue: str, after: str, end: str) -> bool:
        """Return whether the position `after` may be from an earlier stream of the queue.

        `end` is the last id of the present stream; `0-0` if it is unknown, or if the stream is empty.
        """
        last = self.cursors.get(queue, START) if end == START else end
        foreign = self._foreign.get(queue)
        return position(after) > position(last) or (
            foreign is not None and foreign.after < position(after) <= foreign.up_to
        )


class _Span(NamedTuple):
    """The positions after `after`, up to and including `up_to`."""

    after: Position
    up_to: Position
