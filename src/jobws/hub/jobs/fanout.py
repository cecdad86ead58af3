"""Passes stream entries on to the outboxes of the clients that chose them, in one synchronous call.

There is no await between finding the subscriptions and sending to them, so locks and copies are not needed.
Subscriptions are looked up before the event is decoded, so an event without subscriptions costs two hash look-ups.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from jobws.bullmq.events import Life, field, kind_of
from jobws.hub.jobs.published_streams import PublishedStreams
from jobws.hub.jobs.subscription import ALIVE, BufferedEvent, JobEnded, Subscriber, Subscription
from jobws.protocol.codec import Frame, job_frame, tail_of
from jobws.protocol.identifiers import is_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jobws.bullmq.events import Kind
    from jobws.bullmq.payloads import Payloads
    from jobws.hub.jobs.rooms import Rooms
    from jobws.hub.jobs.signals import Signals
    from jobws.hub.jobs.subscription import JobState
    from jobws.protocol.messages import Sub
    from jobws.redis.commands import Entry


_log: Final = logging.getLogger(__name__)

# The limits of one call of `publish`, since the requests of all connections wait meanwhile.
MAX_DELIVERIES: Final = 20_000
MAX_SECONDS: Final = 0.020


class Fanout(PublishedStreams):
    """Passes events on to subscriptions. Every event takes this one way.

    Args:
        rooms: The rooms of all subscriptions.
        payloads: Makes the payloads of events.
        clock: Returns seconds that never go back. With them, `publish` limits its time.
        signals: The callbacks for work that needs Redis.
    """

    def __init__(self, rooms: Rooms, payloads: Payloads, clock: Callable[[], float], signals: Signals) -> None:
        super().__init__(rooms, signals)
        self._payloads = payloads
        self._clock = clock

    def publish(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        """Publish `entries[start:]` of one queue, in order, and flush each client once.

        Returns:
            The index of the first entry that was not published. It is `len(entries)`, or less if the call has made
            `MAX_DELIVERIES` or taken `MAX_SECONDS`. Then the caller lets other tasks run, and calls `publish` again
            with this index as `start`.
        """
        batch = _Batch(self, queue)
        deadline = self._clock() + MAX_SECONDS
        step = 1 if self._payloads.take_long(queue) else 64  # how many entries come between two looks at the clock
        index = start
        try:
            for index in range(start, len(entries)):
                stream_id, fields = entries[index]
                try:
                    batch.deliver(stream_id, fields)
                except Exception:  # noqa: BLE001 - one bad entry must not stop the others
                    if not self.counts["poison"]:
                        _log.exception(
                            "entry %r of queue %s was skipped; further ones are only counted", stream_id, queue
                        )
                    self.counts["poison"] += 1
                if batch.deliveries >= MAX_DELIVERIES or (index % step == step - 1 and self._clock() > deadline):
                    break
            return index + 1 if entries else 0
        finally:
            if entries:
                self.cursors[queue] = entries[index][0].decode()
            self.history.changes += batch.forgets
            self.counts["entries"] += index + 1 - start
            self.counts["deliveries"] += batch.deliveries
            batch.finish()

    def release(self, subscription: Subscription) -> None:
        """Send the events that a subscription holds back, and hold none from now on. Do nothing if it has ended."""
        held_back, subscription.held = subscription.held or [], None
        outbox = subscription.client.outbox
        for index, held in enumerate(held_back):
            if subscription.ended:  # the event before this one ended it
                for rest in held_back[index:]:
                    outbox.release(rest.tail)
                return
            outbox.release(held.tail)
            if held.kind is None:
                outbox.append(Frame(held.tail))
                continue
            self.counts["held"] += 1
            self.send(subscription, held.kind, held.queue, held.position, held.tail, replayed=held.replayed)

    def go_live(self, subscription: Subscription) -> None:
        """Send the events that a subscription holds back, and send it later ones when they happen.

        If the subscription asked for log lines, this happens after the present lines were sent.
        """
        if subscription.request.logs is None or subscription.ended:
            self.release(subscription)
        else:
            subscription.held = subscription.held or []
            self.job_logs.drain(subscription, subscription.job_states, partial(self.release, subscription))

    def send(
        self, subscription: Subscription, kind: Kind, queue: str, at: bytes | None, tail: bytes, *, replayed: bool
    ) -> None:
        """Send an event to one subscription. If its `until_end` is set, an outcome ends the subscription.

        `tail` is the end of the frame, which the method `tail` returns. `at` is the position of the event. The frame
        has no position if `at` is None. Events other than outcomes have no position either while an outcome in this
        queue is owed or may be missing; no outcome is owed to a whole queue. The caller flushes the outbox.
        """
        is_owed = subscription.owed is not None and queue in subscription.owed
        key = subscription.request.key
        is_unknown = key.job_id is not None and queue in self.without_position
        has_position = kind.is_outcome or not (is_owed or is_unknown)
        subscription.client.outbox.append(
            job_frame(kind.name.json, tail, position=at if has_position else None, sub=key.sub, replayed=replayed)
        )
        if kind.is_outcome and subscription.request.until_end:
            subscription.client.end(subscription)

    def tail(self, queue: str, at: bytes, fields: Sequence[bytes]) -> bytes:
        """Return `,"data":…}`, the end that all frames of an event share. The data is the event's payload.

        What is wrong with the event is counted in `counts`.

        Args:
            queue: The queue's label.
            at: The position of the event.
            fields: The fields of the stream entry, as a flat list in which names and values alternate.
        """
        data, anomalies = self._payloads.in_frame(queue, at, fields)
        for anomaly in anomalies:
            self.counts[anomaly] += 1
        return tail_of(data)


class _Batch:
    """The state of one call of `Fanout.publish`.

    Attributes:
        deliveries: How many deliveries there were so far. An event for three subscriptions is three deliveries.
    """

    __slots__ = (
        "_anywhere",
        "_fanout",
        "_followed",
        "_history",
        "_named",
        "_published_before",
        "_queue",
        "_touched",
        "_whole_queue",
        "deliveries",
    )

    def __init__(self, fanout: Fanout, queue: str) -> None:
        self._fanout = fanout
        self._queue = queue
        self._anywhere = fanout.rooms.anywhere
        self._named = fanout.rooms.named(queue)
        self._followed = fanout.job_logs.followers
        self._history = fanout.history.of(queue)
        self._published_before = fanout.rereads.get(queue)
        self._whole_queue = fanout.rooms.whole_queue(queue)
        self._touched: dict[Subscriber, None] = {}
        self.deliveries = 0

    def deliver(self, stream_id: bytes, fields: Sequence[bytes]) -> None:
        """Add an event to the history, note in `job_states` what it says of its job, and send it.

        It goes to the subscriptions that chose it. Without a job id, or with an empty one, it is an event of the queue
        itself, such as `drained`. An event that was published before is only added to the history.
        """
        # BullMQ writes `event` and `jobId` first. Custom events may have another order.
        job_id = fields[3] if len(fields) > 3 and fields[2] == b"jobId" else field(fields, b"jobId")
        kind = kind_of(fields)
        if kind is None:
            self._fanout.counts["missing-field"] += 1
            return
        self._history.add(job_id, stream_id, kind)
        if self._published_before is not None and self._published_before.knows(job_id, stream_id, kind):
            return
        anywhere = named = None
        if job_id:
            anywhere, named = self._anywhere.get(job_id), self._named.get(job_id)
        if anywhere is None and named is None and not self._whole_queue:
            return
        if job_id in self._followed:
            self._fanout.job_logs.happened(self._queue, job_id, ends=kind.is_outcome)
        recipients: list[Subscription] = []
        if self._whole_queue:
            queue, event = self._queue, kind.name.text
            recipients += [each for each in self._whole_queue if each.wants(queue, event, job_id, stream_id)]
        if anywhere is not None:
            self._add_from_job_room(recipients, anywhere, stream_id, kind)
        if named is not None:
            self._add_from_job_room(recipients, named, stream_id, kind)
        if recipients:
            self._send(recipients, stream_id, kind, self._fanout.tail(self._queue, stream_id, fields))

    def _add_from_job_room(
        self, recipients: list[Subscription], members: Iterable[Subscription], stream_id: bytes, kind: Kind
    ) -> None:
        """Note for all members whether the job is alive or has ended. Add those that chose the event to `recipients`.

        A member without a right to the job in this queue is left out. The right is checked only while the member's
        `job_states` does not have the queue. A queue is added there only with the right, and removed when it is lost.

        A member may already have a later outcome, from the job's hash. Then `job_states` has the id up to which
        outcomes in the stream are old, and these are not sent. An event that the client has from a faster bridge is not
        sent either.
        """
        event, queue, life, ends = kind.name.text, self._queue, kind.life, kind.is_outcome
        changes_state, lives = ends or life is not Life.SAME, life is Life.LIVES
        state: JobState = JobEnded(stream_id) if changes_state and not lives else ALIVE
        # Most members of a room have the same object in `job_states`, so one comparison is enough for all of them.
        compared, is_news = None, True
        for subscription in members:
            if changes_state:
                known = subscription.job_states.get(queue)
                if known is None:
                    if not subscription.gets_events_of(queue):
                        continue
                    subscription.note_job_in(queue, state)
                else:
                    if known is not compared:
                        compared, is_news = known, known is ALIVE or is_after(stream_id, known.up_to)
                    if is_news:
                        subscription.job_states[queue] = state
                    elif life is not Life.SAME and not lives:
                        continue
                if ends and subscription.owed:
                    subscription.settle(queue)  # the hash now has this outcome, and no longer the one that was owed
            elif queue not in subscription.job_states:
                if not subscription.gets_events_of(queue):
                    continue
                subscription.note_job_in(queue)
            chosen = subscription.request.events
            if subscription.ahead is not None and subscription.is_ahead_of(queue, stream_id):
                continue
            if chosen is None or event in chosen:
                recipients.append(subscription)

    def _send(self, recipients: list[Subscription], stream_id: bytes, kind: Kind, tail: bytes) -> None:
        """Send the event to each recipient, or hold it for the recipient. End the subscriptions that it is to end.

        Recipients with the same `sub` share a frame. All frames share a large tail.
        """
        queue, ends = self._queue, kind.is_outcome
        without_position = not ends and queue in self._fanout.without_position
        with_position: dict[Sub | None, Frame] = {}
        without: dict[Sub | None, Frame] = {}
        self.deliveries += len(recipients)
        for subscription in recipients:
            client, request = subscription.client, subscription.request
            self._touched[client] = None
            # No outcome is ever owed to a subscription to a whole queue, so its frames keep their positions.
            hidden = (without_position and request.key.job_id is not None) or (
                subscription.owed is not None and queue in subscription.owed
            )
            if subscription.held is not None:
                if client.outbox.hold(tail):
                    at = None if hidden else stream_id
                    subscription.held.append(BufferedEvent(kind, queue, at, tail, replayed=False))
                continue
            frames, sub = without if hidden else with_position, request.key.sub
            frame = frames.get(sub)
            if frame is None:
                at = None if hidden else stream_id
                frame = frames[sub] = job_frame(kind.name.json, tail, position=at, sub=sub)
            client.outbox.append(frame)
            if ends and request.until_end:
                client.end(subscription)

    @property
    def forgets(self) -> bool:
        """Whether the queue's history is full, so that each new event displaces an older one."""
        return self._history.is_full

    def finish(self) -> None:
        """Flush every client that has a new frame."""
        for client in self._touched:
            client.outbox.flush()
