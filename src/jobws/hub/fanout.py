"""From a batch of stream entries to the outboxes of those who want them, in one synchronous call.

No await stands between looking up members and offering to them, so there are no locks and no copies; and members are
looked up before anything is decoded, so an event that nobody wants costs two hash look-ups.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from jobws.bullmq.events import Entry, Life, field, kind_of, payload
from jobws.hub.job_lines import JobLines
from jobws.hub.recent import Recent
from jobws.hub.rooms import DOUBTED, Held, Member, Membership, Rooms
from jobws.protocol.codec import encode, job_frame, json_text, tail_of
from jobws.protocol.identifiers import START, Position, is_after, position
from jobws.protocol.messages import OUTCOMES, Cursor, Gap, GapData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jobws.bullmq.events import Kind, Past
    from jobws.hub.recent import RecentEvents
    from jobws.protocol.codec import Frame
    from jobws.protocol.messages import Sub


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
        recent: The events that were published, and what the streams held before.
        counts: What happened, for the metrics: `entries`, `deliveries`, and one key per anomaly.
        on_gap: Told which queue's events may be missing; must not wait.
        without_events: The queues whose stream is switched off.
        untold: The queues of which entries were missed, until it was looked up which outcomes were among them. Until
            then no position is told in them.
        published: By queue whose stream is read again, what was published of it before.
        job_lines: The lines of jobs' logs that are followed.
    """

    def __init__(self, rooms: Rooms, max_payload_bytes: int, clock: Callable[[], float]) -> None:
        self.rooms = rooms
        self.cursors: Cursor = {}
        self.verified: Cursor = {}
        self.recent = Recent()
        self.counts: Counter[str] = Counter()
        self.on_gap: Callable[[str], None] = _ignore
        self.without_events: set[str] = set()
        self.untold: set[str] = set()
        self.published: dict[str, RecentEvents] = {}
        # By queue, positions of which something before may not have been sent; and those that may be of another stream.
        self._doubtful: dict[str, _Span] = {}
        self._foreign: dict[str, _Span] = {}
        self.job_lines = JobLines(self.without_events, self.counts, self.release)
        self._max_payload_bytes = max_payload_bytes
        self._clock = clock

    # ---- what a listener tells ----

    def fill(self, queue: str, newest_first: Iterable[Past], floor: str) -> None:
        """What the stream held before it was read on: nobody is told, but late subscribers may ask for it."""
        self.recent.of(queue).fill(newest_first, floor)

    def keep(self, queue: str, max_length: int) -> int:
        """A stream may hold so many entries; how many of them are remembered."""
        return self.recent.keep(queue, max_length)

    def forget_before(self, queue: str, stream_id: str) -> None:
        """Redis has trimmed what lies before that entry."""
        self.recent.of(queue).forget_before(stream_id)

    def begin_again(self, queue: str, reason: str, generated: str, oldest: str) -> tuple[str, str]:
        """The stream will be published again, since it is not what it was: say so, and that events may be missing.

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
        known = self.recent.floor(queue)
        start = known if position(generated) > position(known) else START
        floor = max(start, oldest, key=position)
        self._doubt(self._doubtful, queue, min(self.verified[queue], generated, key=position), cursor)
        self._doubt(self._foreign, queue, generated, cursor)
        self.published[queue] = self.recent.begin_again(queue)
        self.untold.add(queue)
        self.cursors[queue] = start
        self.counts["gaps"] += 1
        self.job_lines.give_up_all(queue)
        gap = encode(Gap(data=GapData(queue, reason, None)))
        limit = position(floor)
        concerned: dict[Member, None] = {}
        for membership in self.rooms.members(queue):
            concerned[membership.connection] = None
            settled = membership.lives.get(queue)
            if settled is not None and (reason != "trimmed" or position(settled) <= limit):
                membership.lives[queue] = DOUBTED
        for connection in concerned:
            connection.outbox.append(gap)
            connection.outbox.flush()
        return start, floor

    def _doubt(self, spans: dict[str, _Span], queue: str, after: str, up_to: str) -> None:
        if position(after) < position(up_to):
            known = spans.get(queue)
            span = _Span(position(after), position(up_to))
            spans[queue] = span if known is None else _Span(min(known.after, span.after), max(known.up_to, span.up_to))

    def end_again(self, queue: str, floor: str) -> None:
        """It was published again. `floor` is the id up to which it may lack some."""
        self.published.pop(queue, None)
        self.recent.of(queue).reach_to(floor)
        self.on_gap(queue)

    def may_lack(self, queue: str, after: str) -> bool:
        """Whether a client may miss events that was told to go on after that position."""
        return _is_in(self._doubtful.get(queue), after) or self.recent.of(queue).may_lack(after)

    def is_foreign(self, queue: str, after: str, end: str) -> bool:
        """Whether a position may be of another stream than the present one, which ended with `end` (`0-0`: empty)."""
        last = self.cursors.get(queue, START) if end == START else end
        return position(after) > position(last) or _is_in(self._foreign.get(queue), after)

    def publish(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        """Offer `entries[start:]` of one queue, in order, and flush each connection once.

        Returns:
            The index of the first entry that was not looked at: `len(entries)`, or less if the call took its share of
            time. The caller goes on from there after a checkpoint.
        """
        batch = _Batch(self, queue)
        deadline = self._clock() + MAX_SECONDS
        index = start
        try:
            for index in range(start, len(entries)):
                stream_id, fields = entries[index]
                try:
                    batch.offer(stream_id, fields)
                except Exception:  # noqa: BLE001 - one poison entry stops nothing (G6)
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
            self.counts["entries"] += index + 1 - start
            self.counts["deliveries"] += batch.offers
            batch.finish()

    def release(self, membership: Membership) -> None:
        """Let through what was held for a subscription, and from now on everything. Nothing happens if it has left."""
        held_back, membership.held = membership.held or [], None
        outbox = membership.connection.outbox
        for index, held in enumerate(held_back):
            if membership.left:  # with this one's outcome
                for rest in held_back[index:]:
                    outbox.release(rest.tail)
                return
            outbox.release(held.tail)
            self.counts["held"] += 1
            self.send(membership, held.kind, held.queue, held.position, held.tail, replayed=held.replayed)

    # ---- frames ----

    def send(self, membership: Membership, kind: Kind, queue: str, at: bytes, tail: bytes, *, replayed: bool) -> None:
        """Send an event to one subscription, which may end with it. The caller flushes."""
        ends = kind.name.text in OUTCOMES
        told = ends or not (queue in self.untold or (membership.owed and queue in membership.owed))
        sub = membership.subscription.room.sub
        membership.connection.outbox.append(
            job_frame(kind.name.json, tail, position=at if told else None, sub=sub, replayed=replayed)
        )
        if ends and membership.subscription.until_end:
            membership.connection.leave(membership)

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


def _is_in(span: _Span | None, text: str) -> bool:
    return span is not None and span.after < position(text) <= span.up_to


class _Batch:
    """One call of `publish`: what it has offered, and whom it must flush."""

    __slots__ = (
        *(
            "_fanout",
            "_followed",
            "_jobs",
            "_published",
            "_queue",
            "_queue_json",
            "_recent",
            "_touched",
            "_whole_queue",
        ),
        "offers",
    )

    def __init__(self, fanout: Fanout, queue: str) -> None:
        self._fanout = fanout
        self._queue = queue
        self._queue_json = json_text(queue)
        self._jobs = fanout.rooms.jobs
        self._followed = fanout.job_lines.followers
        self._recent = fanout.recent.of(queue)
        self._published = fanout.published.get(queue)
        self._whole_queue = fanout.rooms.whole_queue(queue)
        self._touched: dict[Member, None] = {}
        self.offers = 0

    def offer(self, stream_id: bytes, fields: Sequence[bytes]) -> None:
        # BullMQ writes `event` and `jobId` first; custom events may not.
        job_id = fields[3] if len(fields) > 3 and fields[2] == b"jobId" else field(fields, b"jobId")
        if job_id is None:
            return
        kind = kind_of(fields)
        if kind is None:
            self._fanout.counts["missing-field"] += 1
            return
        self._recent.add(job_id, stream_id, kind)
        if self._published is not None and self._published.knows(job_id, stream_id, kind):
            return
        rooms = self._jobs.get(job_id)
        if rooms is None and not self._whole_queue:
            return
        if job_id in self._followed:
            self._fanout.job_lines.happened(self._queue, job_id, ends=kind.name.text in OUTCOMES)
        takers: list[Membership] = []
        if self._whole_queue:
            self._choose(takers, self._whole_queue, kind)
        if rooms is not None:
            self._note(takers, rooms.anywhere, stream_id, kind, anywhere=True)
            if rooms.by_queue and (members := rooms.by_queue.get(self._queue)):
                self._note(takers, members, stream_id, kind)
        if takers:
            self._send(takers, stream_id, kind, self._fanout.tail(self._queue_json, fields))

    def _choose(self, takers: list[Membership], members: Iterable[Membership], kind: Kind) -> None:
        """Add those who chose this event."""
        event = kind.name.text
        takers += [each for each in members if each.subscription.events is None or event in each.subscription.events]

    def _note(
        self,
        takers: list[Membership],
        members: Iterable[Membership],
        stream_id: bytes,
        kind: Kind,
        *,
        anywhere: bool = False,
    ) -> None:
        """Add those who chose this event. What it says of the job's life concerns the others too.

        An outcome made from the hash may be ahead of the stream, whose outcomes up to there are then no news.
        """
        event, queue, life = kind.name.text, self._queue, kind.life
        ends = event in OUTCOMES
        tells, lives = ends or life is not Life.SAME, life is Life.LIVES
        # Members of one room were mostly settled by the same event, so one comparison does for all of them.
        compared, is_news = None, True
        for membership in members:
            if tells:
                settled = membership.lives.get(queue)
                if settled is not None and settled is not compared:
                    compared, is_news = settled, is_after(stream_id, settled)
                if settled is None or is_news:
                    membership.lives[queue] = None if lives else stream_id
                elif life is not Life.SAME and not lives:
                    continue
                if ends and membership.owed:
                    membership.pay(queue)  # what was missed before it is gone: the hash tells of this one
            elif anywhere:
                membership.lives.setdefault(queue, None)
            chosen = membership.subscription.events
            if chosen is None or event in chosen:
                takers.append(membership)

    def _send(self, takers: list[Membership], stream_id: bytes, kind: Kind, tail: bytes) -> None:
        """A frame for each: those of one name share it, and all of them share a large tail."""
        queue, ends = self._queue, kind.name.text in OUTCOMES
        untold = not ends and queue in self._fanout.untold
        with_position: dict[Sub | None, Frame] = {}
        without: dict[Sub | None, Frame] = {}
        self.offers += len(takers)
        for membership in takers:
            connection, subscription = membership.connection, membership.subscription
            self._touched[connection] = None
            if membership.held is not None:
                if connection.outbox.hold(tail):
                    membership.held.append(Held(kind, queue, stream_id, tail, replayed=False))
                continue
            hidden = untold or (membership.owed is not None and queue in membership.owed and not ends)
            frames, sub = without if hidden else with_position, subscription.room.sub
            frame = frames.get(sub)
            if frame is None:
                at = None if hidden else stream_id
                frame = frames[sub] = job_frame(kind.name.json, tail, position=at, sub=sub)
            connection.outbox.append(frame)
            if ends and subscription.until_end:
                connection.leave(membership)

    def finish(self) -> None:
        for connection in self._touched:
            connection.outbox.flush()


def _ignore(_queue: str) -> None:
    """Nobody asked."""
