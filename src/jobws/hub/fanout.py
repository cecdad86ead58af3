"""From a batch of stream entries to the outboxes of those who want them, in one synchronous call.

No await stands between looking up members and offering to them, so there are no locks and no copies; and members are
looked up before anything is decoded, so an event that nobody wants costs a hash look-up.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from jobws.bullmq.events import Entry, event_name, field, payload
from jobws.hub.rooms import Held, Member, Membership, Rooms
from jobws.protocol.codec import Frame, job_event, json_text
from jobws.protocol.messages import OUTCOMES, Cursor, Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


_log: Final = logging.getLogger(__name__)

# One call may take this long: other connections' requests wait meanwhile.
MAX_OFFERS: Final = 20_000
MAX_SECONDS: Final = 0.020
# After one of these a job lives (again), so an earlier outcome is no longer its outcome.
_LIVES: Final = frozenset({"added", "waiting", "active"})


class Fanout:
    """The one path of an event through the process.

    Args:
        rooms: Who wants what.
        max_payload_bytes: Larger payloads are truncated.
        clock: Seconds, never going back; asked while a batch is published.

    Attributes:
        cursors: By queue label, the stream id up to which entries were published.
        counts: What happened, for the metrics: `entries`, `deliveries`, and one key per anomaly.
    """

    def __init__(self, rooms: Rooms, max_payload_bytes: int, clock: Callable[[], float]) -> None:
        self.rooms = rooms
        self.cursors: Cursor = {}
        self.counts: Counter[str] = Counter()
        self._max_payload_bytes = max_payload_bytes
        self._clock = clock

    def cursor_of(self, room: Room) -> Cursor:
        """How far the queues that matter for `room` have been published."""
        if room.queue is None:
            return dict(self.cursors)
        return {room.queue: self.cursors[room.queue]} if room.queue in self.cursors else {}

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
                self.cursors[queue] = stream_id.decode()
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
            self.counts["entries"] += index + 1 - start
            self.counts["deliveries"] += batch.offers
            batch.finish()


class _Batch:
    """One call of `publish`: what it has offered, and whom it must flush."""

    __slots__ = ("_fanout", "_jobs", "_leaving", "_queue", "_queue_json", "_touched", "_whole_queue", "offers")

    def __init__(self, fanout: Fanout, queue: str) -> None:
        self._fanout = fanout
        self._queue = queue
        self._queue_json = json_text(queue)
        self._jobs = fanout.rooms.jobs
        self._whole_queue = fanout.rooms.whole_queue(queue)
        self._touched: dict[Member, None] = {}
        self._leaving: list[Membership] = []
        self.offers = 0

    def offer(self, stream_id: bytes, fields: Sequence[bytes]) -> None:
        # BullMQ writes `event` and `jobId` first; custom events may not.
        job_id = fields[3] if len(fields) > 3 and fields[2] == b"jobId" else field(fields, b"jobId")
        rooms = self._jobs.get(job_id) if job_id is not None else None
        if (rooms is None and not self._whole_queue) or job_id is None:
            return
        groups: list[Mapping[Membership, None]] = [self._whole_queue] if self._whole_queue else []
        if rooms is not None:
            if rooms.anywhere:
                groups.append(rooms.anywhere)
            if rooms.by_queue and (members := rooms.by_queue.get(self._queue)):
                groups.append(members)
        raw_name = field(fields, b"event")
        if raw_name is None:
            self._fanout.counts["missing-field"] += 1
            return
        name = event_name(raw_name)
        takers = self._takers(groups, name.text)
        if not takers:
            return
        data, anomalies = payload(self._queue_json, fields, self._fanout._max_payload_bytes)  # noqa: SLF001
        for anomaly in anomalies:
            self._fanout.counts[anomaly] += 1
        frame = job_event(name.json, stream_id, data)
        if len(groups) == 1:
            for membership in takers:
                self._offer_to(membership, name.text, frame)
        else:
            self._offer_once(takers, name.text, frame)

    def _takers(self, groups: Iterable[Mapping[Membership, None]], event: str) -> list[Membership]:
        """Those who chose this event. Whether the job has ended concerns the others too."""
        ends, lives = event in OUTCOMES, event in _LIVES
        takers = []
        for group in groups:
            for membership in group:
                subscription = membership.subscription
                if ends and subscription.room.job_id is not None:
                    membership.ended = True
                    if subscription.until_end and membership.held is None:
                        self._leaving.append(membership)
                elif lives:
                    membership.ended = False
                if subscription.events is None or event in subscription.events:
                    takers.append(membership)
        return takers

    def _offer_to(self, membership: Membership, event: str, frame: Frame) -> Held | None:
        self.offers += 1
        connection = membership.connection
        self._touched[connection] = None
        if membership.held is None:
            connection.outbox.append(frame)
        elif connection.outbox.hold(len(frame)):
            held = Held(event, frame)
            membership.held.append(held)
            return held
        return None

    def _offer_once(self, takers: list[Membership], event: str, frame: Frame) -> None:
        """Several rooms match: one delivery per connection (G2), live if one of its memberships is."""
        by_connection: dict[Member, list[Membership]] = {}
        for membership in takers:
            by_connection.setdefault(membership.connection, []).append(membership)
        for memberships in by_connection.values():
            memberships.sort(key=_is_pending)
            shared = self._offer_to(memberships[0], event, frame)
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
