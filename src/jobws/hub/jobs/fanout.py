"""Passes stream entries on to the outboxes of the clients that chose them, in one synchronous call.

There is no await between finding the subscriptions and sending to them, so locks and copies are not needed. `Batch` has
the step for one event.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from jobws.bullmq.child_names import without_child
from jobws.bullmq.events import field
from jobws.hub.jobs.batch import Batch
from jobws.hub.jobs.progress import Windows
from jobws.hub.jobs.published_streams import PublishedStreams
from jobws.protocol.codec import Frame, job_frame, tail_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jobws.bullmq.events import Kind
    from jobws.bullmq.payloads import Payloads
    from jobws.hub.jobs.progress import Window
    from jobws.hub.jobs.rooms import Rooms
    from jobws.hub.jobs.signals import Signals
    from jobws.hub.jobs.subscription import Subscription
    from jobws.protocol.request_types import Sight
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
        clock: Returns seconds that never go back. With them, `publish` limits its time, and progress is merged.
        signals: The callbacks for work that needs Redis or time.
        progress_seconds: Within this time, a subscription gets one update of a job's progress. 0 means that it gets
            every one.

    Attributes:
        progress: The windows in which progress is held.
    """

    def __init__(
        self,
        rooms: Rooms,
        payloads: Payloads,
        clock: Callable[[], float],
        signals: Signals,
        progress_seconds: float = 0.0,
    ) -> None:
        super().__init__(rooms, signals)
        self.progress = Windows(progress_seconds, signals.on_progress)
        self._on_stats_wanted = signals.on_stats_wanted
        self._payloads = payloads
        self._clock = clock

    def publish(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        """Publish `entries[start:]` of one queue, in order, and flush each client once.

        Returns:
            The index of the first entry that was not published. It is `len(entries)`, or less if the call has made
            `MAX_DELIVERIES` or taken `MAX_SECONDS`. Then the caller lets other tasks run, and calls `publish` again
            with this index as `start`.
        """
        now = self._clock()
        batch, deadline = Batch(self, queue, now), now + MAX_SECONDS
        deliver = batch.deliver
        step = 1 if self._payloads.take_long(queue) else 64  # how many entries come between two looks at the clock
        index = start
        try:
            for index in range(start, len(entries)):
                stream_id, fields = entries[index]
                try:
                    deliver(stream_id, fields)
                except Exception:  # noqa: BLE001 - one bad entry must not stop the others
                    self.note_poison(queue, stream_id)
                if batch.deliveries >= MAX_DELIVERIES or (not (index + 1) % step and self._clock() > deadline):
                    break
            return index + 1 if entries else 0
        finally:
            if entries:
                self.cursors[queue] = entries[index][0].decode()
            self.history.changes += batch.forgets
            self.counts["entries"] += index + 1 - start
            self.counts["deliveries"] += batch.deliveries
            batch.finish()

    def note_poison(self, queue: str, stream_id: bytes) -> None:
        """Count an entry that was skipped, because of the exception being handled. Log the first one of all queues."""
        if not self.counts["poison"]:
            _log.exception("entry %r of queue %s was skipped; further ones are only counted", stream_id, queue)
        self.counts["poison"] += 1

    def release(self, subscription: Subscription) -> None:
        """Send what is held for a subscription, and hold nothing from now on. Do nothing if it has ended.

        The caller flushes the outbox.
        """
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
        self._want_stats(subscription)

    def _want_stats(self, subscription: Subscription) -> None:
        # One that holds events cannot be sent the numbers yet: they would come before its ack, or before past events.
        if subscription.request.stats and subscription.held is None and not subscription.ended:
            self._on_stats_wanted()

    def go_live(self, subscription: Subscription) -> None:
        """Note that a subscription has got what it missed, and `release` it as soon as nothing else must come first.

        If it asked for log lines, the present lines come first. At the top of a flow, an outcome waits for a look. The
        caller flushes the outbox.
        """
        if subscription.flow is not None and not (subscription.ended or subscription.flow.go_live(subscription)):
            return
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
        has no position if `at` is None, or if the subscription belongs to a flow. A frame for a subscription to a job
        also has none while an outcome in this queue is owed or may be missing, unless the event is an outcome itself.
        The caller flushes the outbox.
        """
        is_owed = subscription.owed is not None and queue in subscription.owed
        key = subscription.request.key
        is_unknown = key.job_id is not None and queue in self.without_position
        if not kind.is_outcome and (is_owed or is_unknown):
            at = None
        if subscription.flow is not None:
            subscription.flow.note_sent(queue, at)
            at = None
        subscription.client.outbox.append(
            job_frame(kind.name.json, tail, position=at, sub=key.sub, parent=subscription.parent, replayed=replayed)
        )
        if kind.is_outcome and subscription.request.until_end:
            subscription.client.end(subscription)

    def tail_for(self, subscription: Subscription, queue: str, at: bytes, fields: Sequence[bytes]) -> bytes:
        """Return what `tail` returns, without the name of a child that the subscription's client may not learn."""
        hidden = without_child(fields)
        if hidden is not None:
            job_id = (field(fields, b"jobId") or b"").decode(errors="replace")
            fields = fields if subscription.client.may_name_children(queue, job_id) else hidden
        return self.tail(queue, at, fields)

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

    # ---- progress that is held ----

    def send_due_progress(self) -> float | None:
        """Send the progress of all windows that have ended.

        Returns:
            In how many seconds to call this again: 0 if this call has made `MAX_DELIVERIES` or taken `MAX_SECONDS`.
            None means that no window is open; the signal `on_progress` comes with the next one.
        """
        now = self._clock()
        batches: dict[str, Batch] = {}
        deliveries = 0
        while (window := self.progress.first_ended(now)) is not None:
            batch = batches.get(window.queue)
            if batch is None:
                batch = batches[window.queue] = Batch(self, window.queue, now)
            before = batch.deliveries
            if batch.end_window(window):
                self.progress.begin_again(window, now)
            else:
                self.progress.close(window)
            deliveries += batch.deliveries - before
            if deliveries >= MAX_DELIVERIES or self._clock() > now + MAX_SECONDS:
                break
        for batch in batches.values():
            self._finish(batch)
        end = self.progress.next_end()
        return None if end is None else max(end - now, 0.0)

    def send_held_progress(self, subscriptions: Iterable[Subscription]) -> None:
        """Send subscriptions the progress that is held for them, because something later is about to be sent."""
        for subscription in subscriptions if self.progress else ():
            for window in self.progress.of(subscription):
                self._send_held(window, subscription)

    def _send_held(self, window: Window, subscription: Subscription) -> None:
        batch = Batch(self, window.queue, 0.0)
        batch.send_held(window, (subscription,))
        self._finish(batch)

    def _finish(self, batch: Batch) -> None:
        self.counts["deliveries"] += batch.deliveries
        batch.finish()

    def join(self, subscription: Subscription) -> None:
        """Let a subscription into its room. It does not get the progress that is held now: that is older."""
        self.rooms.join(subscription)
        subscription.in_room = True
        for window in self.progress.of(subscription):
            window.pass_over((subscription,))

    def limit(self, subscription: Subscription, sight: Sight | None) -> None:
        """Replace the `sight` of a subscription; see `Subscription.limit`.

        If both the old and the new sight show a job, the subscription immediately gets the progress that is held of it.
        """
        before = self.progress.of(subscription)
        subscription.limit(sight, self.job_logs)
        self._want_stats(subscription)
        for window in self.progress.of(subscription):
            if window in before:
                self._send_held(window, subscription)
            else:
                window.pass_over((subscription,))

    def send_gap(self, queue: str, reason: str, floor: str) -> Iterator[None]:
        """Send the progress that is held, and then a `gap`; see `PublishedStreams.send_gap`.

        This is a generator of short steps, which the caller must exhaust.
        """
        for window in self.progress.of_queue(queue):
            if self.progress.is_open(window):  # it may have ended between two steps
                batch = Batch(self, queue, 0.0)
                batch.end_window(window)
                self.progress.close(window)
                self._finish(batch)
                yield
        yield from super().send_gap(queue, reason, floor)

    def forget(self, queue: str) -> None:
        """Forget all about a queue; see `PublishedStreams.forget`."""
        for window in self.progress.of_queue(queue):
            self.progress.close(window)
        super().forget(queue)
