"""From a batch of stream entries to the outboxes of those who want them, in one synchronous call.

No await stands between looking up members and offering to them, so there are no locks and no copies; and members are
looked up before anything is decoded, so an event that nobody wants costs two hash look-ups.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from jobws.bullmq.events import Entry, Life, field, kind_of, payload
from jobws.hub.job_lines import JobLines
from jobws.hub.membership import Held, Member, Membership
from jobws.hub.recent import Recent
from jobws.protocol.codec import Frame, encode, job_event, json_text, replayed_event
from jobws.protocol.identifiers import START, is_after, position
from jobws.protocol.messages import OUTCOMES, Cursor, Gap, GapData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jobws.bullmq.events import Kind, Past
    from jobws.hub.recent import RecentEvents
    from jobws.hub.rooms import Rooms


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
        knows_all: Whether all queues are known that were there at the start; a room without a queue waits for that.
        untold: The queues of which entries were missed, until it was looked up which outcomes were among them.
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
        self.knows_all = True
        self.untold: set[str] = set()
        self.published: dict[str, RecentEvents] = {}
        self.job_lines = JobLines(self.without_events, self.counts, self.release)
        self._max_payload_bytes = max_payload_bytes
        self._clock = clock

    # ---- what a listener tells ----

    def fill(self, queue: str, newest_first: Sequence[Past], floor: str) -> Iterator[None]:
        """What the stream held before it was read on: nobody is told, but late subscribers may ask for it.

        It is done when the last of its short steps is.
        """
        return self.recent.fill(queue, newest_first, floor)

    def keep(self, queue: str, max_length: int) -> int:
        """A stream may hold so many entries; how many of them are remembered."""
        return self.recent.keep(queue, max_length)

    def forget_before(self, queue: str, stream_id: str) -> None:
        """Redis has trimmed what lies before that entry."""
        self.recent.of(queue).forget_before(stream_id)

    def forget(self, queue: str) -> None:
        """The queue is gone and nobody reads its stream: keep nothing of it. If it comes back it is a new one.

        Subscriptions that name it stay. For one without a queue its job was never there.
        """
        for membership in self.rooms.forget(queue):
            self.job_lines.forget(membership, queue)
        self.recent.forget(queue)
        self.published.pop(queue, None)
        self.cursors.pop(queue, None)
        self.verified.pop(queue, None)
        self.without_events.discard(queue)
        self.untold.discard(queue)

    def begin_again(self, queue: str, generated: str) -> str:
        """The stream, whose last id is `generated`, will be published again, since it is not what it was.

        Events that were published before are skipped. Returns the id after which to read: nothing older than what is
        remembered, unless the stream has gone back that far.
        """
        floor = self.recent.floor(queue)
        start = floor if position(generated) > position(floor) else START
        self.published[queue] = self.recent.begin_again(queue)
        self.untold.add(queue)
        self.cursors[queue] = start
        return start

    def end_again(self, queue: str, reason: str, floor: str) -> Iterator[None]:
        """It was: say that events may be missing all the same. `floor` is the id up to which the stream may lack some.

        `reason` is that of the wire's `gap`. Each client is told in a step of its own; nothing may be published before
        the last one.
        """
        self.published.pop(queue, None)
        self.recent.of(queue).reach_to(floor)
        self.recent.of(queue).doubt(self.cursors[queue])
        self.counts["gaps"] += 1
        self.job_lines.give_up_all(queue)  # or a position behind what is held would be told
        position = self.cursors[queue]
        gap = encode(Gap(GapData(queue, reason, None, {queue: position})))
        for connection in self.rooms.concerned(queue):
            connection.tell_gap(gap, queue, position)
            connection.outbox.flush()
            yield
        self.on_gap(queue)

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
        """Let through what was held for a member, and from now on everything. Nothing happens if it has left."""
        if membership.left:
            return
        outbox = membership.connection.outbox
        for held in membership.let_go():
            if not held.delivered:
                held.delivered = True
                self.counts["held"] += 1
                outbox.release(len(held.frame))
                outbox.append(held.frame)
        if membership.over:
            membership.connection.leave(membership)

    # ---- frames ----

    def replayed(self, queue: str, stream_id: bytes | None, kind: Kind, fields: Sequence[bytes]) -> Frame:
        """The frame of an event that was read back; see `replayed_event`."""
        return replayed_event(kind.name.json, stream_id, self.payload(json_text(queue), fields))

    def payload(self, queue_json: bytes, fields: Sequence[bytes]) -> bytes:
        """The data of an event; what is wrong with it is counted."""
        data, anomalies = payload(queue_json, fields, self._max_payload_bytes)
        for anomaly in anomalies:
            self.counts[anomaly] += 1
        return data


class _Batch:
    """One call of `publish`: what it has offered, and whom it must flush."""

    __slots__ = (
        *("_anywhere", "_fanout", "_followed", "_leaving", "_named", "_published", "_queue", "_queue_json", "_recent"),
        *("_touched", "_whole_queue", "offers"),
    )

    def __init__(self, fanout: Fanout, queue: str) -> None:
        self._fanout = fanout
        self._queue = queue
        self._queue_json = json_text(queue)
        self._anywhere = fanout.rooms.anywhere
        self._named = fanout.rooms.named(queue)
        self._followed = fanout.job_lines.followers
        self._recent = fanout.recent.of(queue)
        self._published = fanout.published.get(queue)
        self._whole_queue = fanout.rooms.whole_queue(queue)
        self._touched: dict[Member, None] = {}
        self._leaving: list[Membership] = []
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
        anywhere, named = self._anywhere.get(job_id), self._named.get(job_id)
        if anywhere is None and named is None and not self._whole_queue:
            return
        if job_id in self._followed:
            self._fanout.job_lines.happened(self._queue, job_id, ends=kind.name.text in OUTCOMES)
        groups = [each for each in (self._whole_queue, anywhere, named) if each]
        takers = self._takers(groups, stream_id, kind)
        if not takers:
            return
        frame = job_event(kind.name.json, stream_id, self._fanout.payload(self._queue_json, fields))
        if len(groups) == 1:
            for membership in takers:
                self._offer_to(membership, stream_id, kind, frame)
        else:
            self._offer_once(takers, stream_id, kind, frame)

    def _takers(self, groups: Iterable[Mapping[Membership, None]], stream_id: bytes, kind: Kind) -> list[Membership]:
        """Those who chose this event. What it says of the job's life concerns the others too.

        An outcome made from the hash may be ahead of the stream, whose outcomes up to there are then no news.
        """
        event, queue, lives = kind.name.text, self._queue, kind.life is Life.LIVES
        tells, settled_by = kind.life is not Life.SAME, None if lives else stream_id
        ends = event in OUTCOMES
        # Members of one room were mostly settled by the same event, so one comparison does for all of them.
        compared, is_news = None, True
        takers = []
        for group in groups:
            for membership in group:
                subscription = membership.subscription
                if subscription.room.job_id is not None:
                    if tells:
                        settled = membership.lives.get(queue)
                        if settled is not None and settled is not compared:
                            compared, is_news = settled, is_after(stream_id, settled)
                        if settled is None and queue not in membership.lives:
                            membership.see(queue, settled_by)
                        elif settled is None or is_news:
                            membership.lives[queue] = settled_by
                        elif not lives:
                            continue
                    # A job of that id in another queue may still lack its outcome.
                    if ends and subscription.until_end and membership.over:
                        self._leaving.append(membership)
                if subscription.events is None or event in subscription.events:
                    takers.append(membership)
        return takers

    def _offer_to(self, membership: Membership, stream_id: bytes, kind: Kind, frame: Frame) -> Held | None:
        self.offers += 1
        connection = membership.connection
        self._touched[connection] = None
        if membership.held is None:
            connection.outbox.append(frame)
        elif connection.outbox.hold(len(frame)):
            held = Held(kind.name.text, frame, self._queue, stream_id)
            membership.held.append(held)
            return held
        return None

    def _offer_once(self, takers: list[Membership], stream_id: bytes, kind: Kind, frame: Frame) -> None:
        """Several rooms match: one delivery per connection (G2), live if one of its memberships is."""
        by_connection: dict[Member, list[Membership]] = {}
        for membership in takers:
            by_connection.setdefault(membership.connection, []).append(membership)
        for memberships in by_connection.values():
            memberships.sort(key=_is_pending)
            shared = self._offer_to(memberships[0], stream_id, kind, frame)
            if shared is not None:
                for other in memberships[1:]:
                    if other.held is not None:
                        other.held.append(shared)
                        shared.sharers += 1

    def finish(self) -> None:
        for membership in self._leaving:
            membership.connection.leave(membership)
        for connection in self._touched:
            connection.outbox.flush()


def _is_pending(membership: Membership) -> bool:
    return membership.held is not None


def _ignore(_queue: str) -> None:
    """Nobody asked."""
