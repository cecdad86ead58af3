"""From a batch of stream entries to the outboxes of those who want them, in one synchronous call.

No await stands between looking up members and offering to them, so there are no locks and no copies; and members are
looked up before anything is decoded, so an event that nobody wants costs two hash look-ups.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from jobws.bullmq.events import payload
from jobws.hub.job_log.followers import JobLines
from jobws.hub.jobs.batch import Batch
from jobws.hub.jobs.history import History, KnownStream
from jobws.hub.jobs.subscription import DOUBTED, Held, Subscription
from jobws.protocol.codec import Frame, encode, job_frame, tail_of
from jobws.protocol.echo import named
from jobws.protocol.identifiers import START, Position, position
from jobws.protocol.messages import Cursor, Gap, GapData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jobws.bullmq.events import HistoryEntry, Kind
    from jobws.hub.jobs.history import QueueHistory
    from jobws.hub.jobs.rooms import Rooms
    from jobws.redis.commands import Entry


_log: Final = logging.getLogger(__name__)

# One call may take this long: other connections' requests wait meanwhile.
MAX_OFFERS: Final = 20_000
MAX_SECONDS: Final = 0.020


class Fanout:
    """The one path of an event through the process.

    Args:
        rooms: Who wants what.
        max_payload_bytes: Larger payloads are truncated.
        clock: Seconds, never going back; asked while a batch is published.

    Attributes:
        cursors: By queue label, the stream id up to which entries were published.
        verified: The same, up to where it is certain that none was missed: from there another bridge, which knows
            nothing of a hole that this one has not found yet, can go on.
        history: The events that were published, and what the streams held before.
        counts: What happened, for the metrics: `entries`, `deliveries`, and one key per anomaly.
        on_gap: Told which queue's events may be missing; must not wait.
        without_events: The queues whose stream is switched off.
        knows_all: Whether all queues are known that were there at the start; a room without a queue waits for that.
        without_position: The queues in which no position is told now: entries were missed, and it is not looked up yet
            which outcomes were among them.
        published: By queue whose stream is read again, what was published of it before.
        job_lines: The lines of jobs' logs that are followed.
    """

    def __init__(self, rooms: Rooms, max_payload_bytes: int, clock: Callable[[], float]) -> None:
        self.rooms = rooms
        self.cursors: Cursor = {}
        self.verified: Cursor = {}
        self.history = History()
        self.counts: Counter[str] = Counter()
        self.on_gap: Callable[[str], None] = _ignore
        self.without_events: set[str] = set()
        self.knows_all = True
        self.without_position: set[str] = set()
        self.published: dict[str, QueueHistory] = {}
        # By queue, up to where something may be missing after a position; and positions that may be of another stream.
        self._doubtful: Cursor = {}
        self._foreign: dict[str, _Span] = {}
        self.job_lines = JobLines(self.without_events, self.counts, self.release)
        self._max_payload_bytes = max_payload_bytes
        self._clock = clock

    # ---- what a listener tells ----

    def fill(self, queue: str, newest_first: Sequence[HistoryEntry], floor: str) -> Iterator[None]:
        """What the stream held before it was read on: nobody is told, but late subscribers may ask for it.

        It is done when the last of its short steps is.
        """
        return self.history.fill(queue, newest_first, floor)

    def keep(self, queue: str, max_length: int) -> int:
        """A stream may hold so many entries; how many of them are remembered."""
        return self.history.keep(queue, max_length)

    def forget_before(self, queue: str, stream_id: str) -> None:
        """Redis has trimmed what lies before that entry."""
        self.history.forget_before(queue, stream_id)

    def forget(self, queue: str) -> None:
        """The queue is gone and nobody reads its stream: keep nothing of it. If it comes back it is a new one.

        Subscriptions that name it stay. For one without a queue its job was never there.
        """
        for subscription in self.rooms.forget(queue):
            self.job_lines.forget(subscription, queue)
        self.history.forget(queue)
        self.published.pop(queue, None)
        for known in (self.cursors, self.verified):
            known.pop(queue, None)
        self._doubtful.pop(queue, None)
        self._foreign.pop(queue, None)
        self.without_events.discard(queue)
        self.without_position.discard(queue)

    def begin_again(self, queue: str, reason: str, generated: str, oldest: str) -> tuple[str, str]:
        """The stream will be published again, since it is not what it was. `tell_gap` is due.

        Events that were published before are skipped.

        Args:
            queue: The label.
            reason: That of the wire's `gap`.
            generated: The stream's last id.
            oldest: The id before its oldest entry.

        Returns:
            The id after which to read: nothing older than what is remembered, unless the stream has gone back that far;
            and the id up to which entries may be missing.
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
        self.published[queue] = self.history.begin_again(queue)
        self.without_position.add(queue)
        self.cursors[queue] = start
        self.counts["gaps"] += 1
        self.job_lines.give_up_all(queue)
        return start, floor

    def tell_gap(self, queue: str, reason: str, floor: str) -> Iterator[None]:
        """Tell those whom it concerns, in a step each for a subscription or a client, before it is published again."""
        limit = position(floor)
        concerned = self.rooms.concerned(queue)
        for subscription in list(self.rooms.seen(queue)):
            settled = subscription.job_states.get(queue)
            if settled is not None and (reason != "trimmed" or position(settled) <= limit):
                subscription.job_states[queue] = DOUBTED
            if subscription.had is not None and reason != "trimmed":
                subscription.had.pop(queue, None)
            if subscription.held is not None:
                self._hold_gap(subscription, queue, reason)
            yield
        gap = encode(Gap(data=GapData(queue, reason, None)))
        for connection in concerned:
            connection.outbox.append(gap)
            connection.outbox.flush()
            yield

    def _hold_gap(self, subscription: Subscription, queue: str, reason: str) -> None:
        """Keep a gap among the events that a subscription holds: after those before it, before what is read again."""
        room = subscription.request.room
        jobs = None if room.job_id is None else [room.job_id]
        frame = encode(Gap(sub=named(room.sub), data=GapData(queue, reason, jobs)))
        if subscription.held is not None and subscription.connection.outbox.hold(frame.payload):
            subscription.held.append(Held(None, queue, b"", frame.payload, replayed=False))

    def end_again(self, queue: str, floor: str) -> None:
        """A stream was published again. Up to the id `floor` some entries may be missing."""
        self.published.pop(queue, None)
        self.history.reach_to(queue, floor)
        self.doubt(queue)

    def doubt(self, queue: str) -> None:
        """Outcomes may have been missed: watched jobs are to be looked up, and no position is told before that.

        While the stream is read again they wait for `end_again`.
        """
        self.without_position.add(queue)
        if queue not in self.published:
            self.on_gap(queue)

    def resolve(self, queue: str) -> None:
        """The outcomes that were missed were looked up: positions are told again, unless the stream is read again."""
        if queue not in self.published:
            self.without_position.discard(queue)

    def known(self, queue: str) -> KnownStream:
        """What is known of a queue's stream now."""
        return KnownStream(self.history.of(queue), self.cursors.get(queue, START))

    def may_miss(self, queue: str, after: str) -> bool:
        """Whether a client may miss events that goes on after that position."""
        doubtful = self._doubtful.get(queue)
        return (doubtful is not None and position(after) <= position(doubtful)) or self.history.of(queue).may_miss(
            after
        )

    def is_foreign(self, queue: str, after: str, end: str) -> bool:
        """Whether a position may be of another stream than the present one, which ended with `end` (`0-0`: empty)."""
        last = self.cursors.get(queue, START) if end == START else end
        foreign = self._foreign.get(queue)
        return position(after) > position(last) or (
            foreign is not None and foreign.after < position(after) <= foreign.up_to
        )

    def publish(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        """Offer `entries[start:]` of one queue, in order, and flush each connection once.

        Returns:
            The index of the first entry that was not looked at: `len(entries)`, or less if the call took its share of
            time. The caller goes on from there after a checkpoint.
        """
        batch = Batch(self, queue)
        deadline = self._clock() + MAX_SECONDS
        index = start
        try:
            for index in range(start, len(entries)):
                stream_id, fields = entries[index]
                try:
                    batch.offer(stream_id, fields)
                except Exception:  # noqa: BLE001 - one poison entry stops nothing
                    if not self.counts["poison"]:
                        _log.exception(
                            "entry %r of queue %s was skipped; further ones are only counted", stream_id, queue
                        )
                    self.counts["poison"] += 1
                if batch.offers >= MAX_OFFERS or (index % 64 == 63 and self._clock() > deadline):
                    break
            return index + 1 if entries else 0
        finally:
            if entries:
                self.cursors[queue] = entries[index][0].decode()
            self.history.changes += batch.forgets
            self.counts["entries"] += index + 1 - start
            self.counts["deliveries"] += batch.offers
            batch.finish()

    def release(self, subscription: Subscription) -> None:
        """Let through what was held for a subscription, and from now on everything. Nothing happens if it has left."""
        held_back, subscription.held = subscription.held or [], None
        outbox = subscription.connection.outbox
        for index, held in enumerate(held_back):
            if subscription.left:  # with this one's outcome
                for rest in held_back[index:]:
                    outbox.release(rest.tail)
                return
            outbox.release(held.tail)
            if held.kind is None:
                outbox.append(Frame(held.tail))
                continue
            self.counts["held"] += 1
            self.send(subscription, held.kind, held.queue, held.position, held.tail, replayed=held.replayed)

    # ---- frames ----

    def send(
        self, subscription: Subscription, kind: Kind, queue: str, at: bytes, tail: bytes, *, replayed: bool
    ) -> None:
        """Send an event to one subscription, which may end with it. The caller flushes."""
        is_owed = subscription.owed is not None and queue in subscription.owed
        told = kind.is_outcome or not (is_owed or queue in self.without_position)
        sub = subscription.request.room.sub
        subscription.connection.outbox.append(
            job_frame(kind.name.json, tail, position=at if told else None, sub=sub, replayed=replayed)
        )
        if kind.is_outcome and subscription.request.until_end:
            subscription.connection.leave(subscription)

    def tail(self, queue_json: bytes, fields: Sequence[bytes]) -> bytes:
        """How each frame of an event ends; what is wrong with it is counted."""
        data, anomalies = payload(queue_json, fields, self._max_payload_bytes)
        for anomaly in anomalies:
            self.counts[anomaly] += 1
        return tail_of(data)


class _Span(NamedTuple):
    """Positions: those after `after`, up to `up_to`."""

    after: Position
    up_to: Position


def _ignore(_queue: str) -> None:
    """Ignore a gap: nobody asked to be told."""
