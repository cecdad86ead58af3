"""Sends the events of one queue to the subscriptions that chose them.

Subscriptions are looked up before the event is decoded, so an event without subscriptions costs two hash look-ups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.bullmq.child_names import without_child
from jobws.bullmq.events import PROGRESS, Life, field, kind_of
from jobws.hub.jobs.subscription import ALIVE, BufferedEvent, JobEnded, Subscriber, Subscription
from jobws.protocol.codec import job_frame
from jobws.protocol.identifiers import is_after

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from jobws.bullmq.events import Kind
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.progress import Window
    from jobws.hub.jobs.subscription import JobState
    from jobws.protocol.codec import Frame
    from jobws.protocol.messages import Sub

FAILED: Final = "failed"
_NO_WINDOWS: Final[Mapping[str, Window]] = {}


class Batch:
    """The state of one synchronous step in which events of one queue are sent. Each client is flushed once, at its end.

    Args:
        fanout: Has the rooms, the history and the windows, and makes the payloads.
        queue: The queue's label.
        now: The time when a window that is opened begins, in seconds on the clock of `fanout`.

    Attributes:
        deliveries: How many deliveries there were so far. An event for three subscriptions is three deliveries.
    """

    __slots__ = (
        "_anywhere",
        "_fanout",
        "_followed",
        "_history",
        "_named",
        "_now",
        "_open_windows",
        "_published_before",
        "_queue",
        "_touched",
        "_whole_queue",
        "_windows",
        "deliveries",
    )

    def __init__(self, fanout: Fanout, queue: str, now: float) -> None:
        self._fanout = fanout
        self._queue = queue
        self._now = now
        self._windows = fanout.progress
        self._open_windows = fanout.progress.in_order
        self._anywhere = fanout.rooms.anywhere
        self._named = fanout.rooms.named(queue)
        self._followed = fanout.job_logs.followers
        self._history = fanout.history.of(queue)
        self._published_before = fanout.rereads.get(queue)
        self._whole_queue = fanout.rooms.whole_queue(queue)
        self._touched: dict[Subscriber, None] = {}
        self.deliveries = 0

    def deliver(self, stream_id: bytes, fields: Sequence[bytes]) -> None:
        """Add an event to the history, and send it to the subscriptions that chose it.

        If it says that its job is alive or has ended, all subscriptions to the job note that (`job_states`). Without a
        job id, or with an empty one, it is an event of the queue itself, such as `drained`. An event that was published
        before is only added to the history.
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
        if not (self._whole_queue or job_id in self._named or job_id in self._anywhere):
            return
        if kind is PROGRESS and job_id:
            self._deliver_progress(job_id, stream_id, fields)
            return
        anywhere = named = None
        if job_id:
            anywhere, named = self._anywhere.get(job_id), self._named.get(job_id)
        recipients: list[Subscription] = []
        if anywhere is not None:
            self._add_from_job_room(recipients, anywhere, stream_id, kind)
        if named is not None:
            self._add_from_job_room(recipients, named, stream_id, kind)
        if self._whole_queue or self._open_windows:
            to_queue = self._wanting(self._whole_queue, kind, job_id, stream_id)
            self._send_earlier(job_id, to_queue, recipients)
            recipients = [*to_queue, *recipients]
        if job_id in self._followed:
            self._fanout.job_logs.happened(self._queue, job_id, ends=kind.is_outcome)
        if recipients and kind.name.text == FAILED and (hidden := without_child(fields)) is not None:
            queue, text = self._queue, (job_id or b"").decode(errors="replace")
            others = {each: None for each in recipients if not each.client.may_name_children(queue, text)}
            if others:
                self._send([*others], stream_id, kind, self._fanout.tail(queue, stream_id, hidden))
                recipients = [each for each in recipients if each not in others]
        if recipients:
            self._send(recipients, stream_id, kind, self._fanout.tail(self._queue, stream_id, fields))

    def _deliver_progress(self, job_id: bytes, stream_id: bytes, fields: Sequence[bytes]) -> None:
        """Have windows hold an update of a job's progress, or send it and open windows.

        There may be one window for the subscriptions to the job, and another one for those to the whole queue. Each of
        the two groups gets the update immediately if it has no open window; then one is opened.

        Args:
            job_id: The job's id in UTF-8.
            stream_id: The stream id of the update.
            fields: The fields of its entry, as a flat list.
        """
        queue, windows = self._queue, self._windows
        by_queue = windows.of_jobs.get(job_id)
        window = None if by_queue is None else by_queue.get(queue)
        recipients: list[Subscription] = []
        if window is not None:
            window.hold(job_id, stream_id, fields)
        else:
            for room in (self._anywhere.get(job_id), self._named.get(job_id)):
                if room is not None:
                    self._add_from_job_room(recipients, room, stream_id, PROGRESS)
            if recipients:
                windows.open(queue, job_id, self._now)
        if self._whole_queue:
            window = windows.of_queues.get(queue)
            if window is not None:
                window.hold(job_id, stream_id, fields)
            elif to_queue := self._wanting(self._whole_queue, PROGRESS, job_id, stream_id):
                windows.open(queue, None, self._now)
                recipients += to_queue
        if job_id in self._followed:
            self._fanout.job_logs.happened(queue, job_id, ends=False)
        if recipients:
            self._send(recipients, stream_id, PROGRESS, self._fanout.tail(queue, stream_id, fields))

    def _wanting(
        self, members: Iterable[Subscription], kind: Kind, job_id: bytes | None, stream_id: bytes
    ) -> list[Subscription]:
        """Return those members of the queue's room that are to be sent an event; see `Subscription.wants`."""
        queue, event = self._queue, kind.name.text
        return [each for each in members if each.wants(queue, event, job_id, stream_id)]

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
                    subscription.clear_owed(queue)  # the hash now has this outcome, and no longer the one that was owed
            elif queue not in subscription.job_states:
                if not subscription.gets_events_of(queue):
                    continue
                subscription.note_job_in(queue)
            chosen = subscription.request.events
            if subscription.ahead is not None and subscription.is_ahead_of(queue, stream_id):
                continue
            if changes_state and subscription.flow is not None:
                subscription.flow.note(subscription, kind)
            if chosen is None or event in chosen:
                recipients.append(subscription)

    def _send(self, recipients: list[Subscription], stream_id: bytes, kind: Kind, tail: bytes) -> None:
        """Send the event to each recipient, or hold it for the recipient. End the subscriptions that it is to end.

        `tail` is the end of the frame; see `Fanout.tail`. Recipients with the same `sub` share a frame. If the tail is
        large, all frames share it.
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
            if subscription.flow is not None:
                self._fanout.send(subscription, kind, queue, stream_id, tail, replayed=False)
                continue
            frames, sub = without if hidden else with_position, request.key.sub
            frame = frames.get(sub)
            if frame is None:
                at = None if hidden else stream_id
                frame = frames[sub] = job_frame(kind.name.json, tail, position=at, sub=sub)
            client.outbox.append(frame)
            if ends and request.until_end:
                client.end(subscription)

    # ---- progress that is held ----

    def _send_earlier(self, job_id: bytes | None, to_queue: list[Subscription], to_job: list[Subscription]) -> None:
        """Send to the recipients of an event the progress that the windows of its job and of its queue hold for them.

        That happened before the event. `job_id` is None for an event of the queue itself.
        """
        of_queue = self._windows.of_queues.get(self._queue)
        if of_queue is not None and to_queue:
            self.send_held(of_queue, to_queue)
        of_job = self._windows.of_jobs.get(job_id or b"", _NO_WINDOWS).get(self._queue)
        if of_job is not None:
            self.send_held(of_job, to_job)

    def send_held(self, window: Window, members: Collection[Subscription]) -> None:
        """Send the progress that waits in a window to those `members` of its room that have not got it."""
        self._send_updates(window, members)
        window.pass_over(members)

    def _send_updates(self, window: Window, members: Collection[Subscription]) -> None:
        for stream_id, fields, waiting in window.due_to(members):
            try:
                recipients: list[Subscription] = []
                if window.job_id is None:
                    recipients = self._wanting(waiting, PROGRESS, field(fields, b"jobId"), stream_id)
                else:
                    self._add_from_job_room(recipients, waiting, stream_id, PROGRESS)
                if recipients:
                    self._send(recipients, stream_id, PROGRESS, self._fanout.tail(self._queue, stream_id, fields))
            except Exception:  # noqa: BLE001 - the event after it must be sent
                self._fanout.note_poison(self._queue, stream_id)

    def end_window(self, window: Window) -> bool:
        """Send what a window holds to all members of its room. Return whether there was something, and a member."""
        if window.job_id is None:
            members = [*self._whole_queue]
        else:
            members = [*self._anywhere.get(window.job_id, ()), *self._named.get(window.job_id, ())]
        self._send_updates(window, members)
        return window.empty() and bool(members)

    @property
    def forgets(self) -> bool:
        """Whether the queue's history is full, so that each new event displaces an older one."""
        return self._history.is_full

    def finish(self) -> None:
        """Flush every client that has a new frame."""
        for client in self._touched:
            client.outbox.flush()
