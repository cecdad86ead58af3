"""The past events of a whole queue that a subscription has missed, and how each of them is delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.bullmq.events import field, kind_of
from jobws.hub.jobs.missed import Replay
from jobws.protocol.codec import encode
from jobws.protocol.echo import named
from jobws.protocol.messages import Gap, GapData

if TYPE_CHECKING:
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.queue_history import QueueHistory, Recorded
    from jobws.hub.jobs.subscription import Subscription
    from jobws.redis.commands import Entry


class QueueReplay(Replay):
    """All past events of a queue that a subscription to the whole queue must get.

    They are found in the history only when it is their turn to be read, since this takes milliseconds for a queue, and
    a client may ask for hundreds. Later events are not among them: the subscription gets these when they happen.

    Args:
        subscription: The subscription.
        queue: The queue's label.
        history: The queue's history now.
        last: The last event of this history. It comes after `after`.
        after: The position after which the events are wanted.

    Attributes:
        history: The queue's history. If another one has taken its place, the stream was read again.
        misses: Whether events may be missing since the last one that was delivered, and no gap was sent for this yet.
    """

    __slots__ = ("_after", "_sent_gap", "_unopened", "history", "misses")

    def __init__(
        self, subscription: Subscription, queue: str, history: QueueHistory, last: Recorded, after: str
    ) -> None:
        super().__init__(subscription, queue, [], [])
        self.history = history
        self.misses = False
        self._after = after
        self._unopened: Recorded | None = last
        self._sent_gap = False

    def open(self) -> None:
        """Find the events that the subscription has chosen. The last event of all is always among them."""
        if self._unopened is None:
            return
        last, self._unopened = self._unopened, None
        subscription, queue = self.subscription, self.queue
        for stream_id, job_id, kind in self.history.between(self._after, last.stream_id):
            is_chosen = subscription.request.chooses(kind.name.text) and subscription.gets(queue, job_id)
            if is_chosen and stream_id != last.stream_id:
                self.stream_ids.append(stream_id)
                self.kinds.append(kind)
        self.stream_ids.append(last.stream_id)
        self.kinds.append(last.kind)
        # Some may have been forgotten since the subscription was answered, which could not tell of them.
        self.misses = self.history.may_miss(self._after)

    def deliver(self, fanout: Fanout, index: int, entry: Entry | None) -> None:
        """Send the event with this index if it was chosen, or a `gap` if the stream no longer has it.

        While events are missing one after another, there is one gap. After a stream was read again, it may be another
        one than that of the client's position, so the frames have no position. The caller flushes the outbox.

        Args:
            fanout: Where events pass.
            index: The index of the event.
            entry: The stream's entry with the id of the event. None means that there is none.
        """
        subscription, queue, kind = self.subscription, self.queue, self.kinds[index]
        is_there = entry is not None and kind_of(entry[1]) == kind
        is_chosen = subscription.request.chooses(kind.name.text)
        if is_chosen and not is_there:
            self.misses = True
        if self.misses and not self._sent_gap:
            sub = named(subscription.request.key.sub)
            subscription.client.outbox.append(encode(Gap(sub=sub, data=GapData(queue, "trimmed", None))))
            self._sent_gap = True
        if is_chosen and entry is not None and is_there:
            self.misses = self._sent_gap = False
            if subscription.gets(queue, field(entry[1], b"jobId")):
                at = self.stream_ids[index]
                tail = fanout.tail_for(subscription, queue, at, entry[1])
                position = at if fanout.history.is_current(queue, self.history) else None
                fanout.counts["replayed"] += 1
                fanout.send(subscription, kind, queue, position, tail, replayed=True)
