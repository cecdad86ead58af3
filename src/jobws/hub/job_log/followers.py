"""The followers: subscriptions that asked for the log lines of their job. This module knows which lines each one got.

After its ack, a subscription with `logs` gets the lines that exist already, and then new ones. Its outcome is held back
(`Subscription.held`) until a read of the list of lines that began after the outcome finds no more lines, or `give_up`
ends the wait. Other subscriptions do not wait. If none wants lines, an event costs one look-up in an empty dictionary.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from jobws.hub.job_log.reader import JobLogReader
from jobws.hub.jobs.subscription import ALIVE
from jobws.protocol.codec import encode_data, job_frame, tail_of
from jobws.protocol.messages import JobLogData

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Iterable, Sequence

    from jobws.bullmq.snapshot import Job
    from jobws.hub.job_log.reader import Batch, ReadResult
    from jobws.hub.jobs.subscription import Subscriber, Subscription
    from jobws.protocol.codec import Frame
    from jobws.protocol.messages import Sub

_NAME: Final = b'"job-log"'
MAX_LINE_BYTES: Final = 64 * 1024
"""How many bytes a line in a frame may have. A longer one is cut; `GET /jobs/{queue}/{jobId}/logs` returns it whole."""


class Following:
    """The state of one subscription that follows lines.

    Attributes:
        readers: By queue, how far lines were sent.
        unread: The queues whose lines must be read before held events are sent. The value is a number that grows with
            each demand for such a read. A read that began before the latest demand does not fulfil it.
    """

    __slots__ = ("readers", "unread")

    def __init__(self) -> None:
        self.readers: dict[str, JobLogReader] = {}
        self.unread: dict[str, int] = {}


class Group:
    """Followers of a job that have got the same lines, so that one read of the list serves all of them.

    Attributes:
        job: The queue and the job id.
        reader: How far the members have got the lines.
        members: Each subscription with its number in `Following.unread`, or None if it does not wait.
    """

    def __init__(self, job: Job, reader: JobLogReader) -> None:
        self.job = job
        self.reader = reader
        self.members: list[tuple[Subscription, int | None]] = []


class JobLogs:
    """All subscriptions that follow log lines.

    Args:
        without_events: The queues whose stream is switched off; a live view.
        counts: The counters in which lines that are sent are counted.
        release: Sends the held events of a subscription. Called after its lines were read.
        on_news: Called with a job that may have new lines, and with True if an outcome waits for them. Must not wait.
        on_drain: Called with a subscription that begins to wait for lines. The callee limits the time: when it
            is up, the callee calls `give_up`, which does nothing if the lines have come. It must not wait itself.

    Attributes:
        followers: The followers of each job, by job id in UTF-8, as in the stream.
        draining: The subscriptions that wait until their present lines were read, with the function to call then.
    """

    def __init__(
        self,
        without_events: Collection[str],
        counts: Counter[str],
        release: Callable[[Subscription], None],
        on_news: Callable[[Job, bool], None],
        on_drain: Callable[[Subscription], None],
    ) -> None:
        self.followers: dict[bytes, dict[Subscription, Following]] = {}
        self.draining: dict[Subscription, Callable[[], None]] = {}
        self._on_news = on_news
        self._on_drain = on_drain
        self._without_events = without_events
        self._counts = counts
        self._release = release
        self._asked = 0
        self._draining_of: dict[Subscriber, dict[Subscription, None]] = {}

    # ---- called by the hub ----

    def drain(
        self, subscription: Subscription, queues: Iterable[str], then: Callable[[], None], *, urgent: bool = False
    ) -> None:
        """Have the present lines in these queues read and sent, and then call `then`.

        `then` is called even if the subscription ends meanwhile, or if the lines do not come in time. It is called
        immediately if `queues` is empty and no queue is left from an earlier call.

        Args:
            subscription: The follower.
            queues: The queues whose lines are to be read.
            then: The function to call. It replaces that of an earlier call for the same subscription.
            urgent: Whether an event waits for the lines, so that they are read before those of other jobs.
        """
        job_id = subscription.request.key.job_id or ""
        following = self.followers.setdefault(job_id.encode(), {}).setdefault(subscription, Following())
        for queue in queues:
            self._asked += 1
            following.unread[queue] = self._asked
        # In queues without events, nothing shows that a job was added, so its list is always read.
        for queue in {*following.unread, *filter(subscription.gets_events_of, self._without_events)}:
            self._on_news((queue, job_id), urgent)
        if not following.unread:
            then()
            return
        if subscription not in self.draining:
            self._on_drain(subscription)
        self.draining[subscription] = then
        self._draining_of.setdefault(subscription.client, {})[subscription] = None

    def draining_of(self, member: Subscriber) -> Collection[Subscription]:
        """Return the subscriptions of one client that wait for lines."""
        return self._draining_of.get(member, {}).keys()

    def _end_draining(self, subscription: Subscription) -> Callable[[], None] | None:
        """End a subscription's wait for lines, and return the function to call then, or None if it did not wait."""
        if (then := self.draining.pop(subscription, None)) is not None:
            of_client = self._draining_of[subscription.client]
            del of_client[subscription]
            if not of_client:
                del self._draining_of[subscription.client]
        return then

    def hold(self, subscription: Subscription, queue: str) -> None:
        """Hold the events of a subscription until its last lines in this queue were sent. Called before an outcome.

        If it waits for other lines already, it then waits for these, too. If it holds events since past ones are still
        being sent to it, this does nothing: after the past events, `Fanout.go_live` makes it wait for lines.
        """
        if subscription.held is None:
            subscription.held = []
            self.drain(subscription, (queue,), partial(self._release, subscription), urgent=True)
        elif subscription in self.draining:
            self.drain(subscription, (queue,), self.draining[subscription], urgent=True)

    def happened(self, queue: str, job_id: bytes, *, ends: bool) -> None:
        """Have the lines of a followed job read, because an event of the job is about to be sent.

        `ends` is true if the event is an outcome. Then followers hold back this event and later ones until the lines
        are sent.
        """
        for subscription in list(self.followers[job_id]) if ends else ():
            if subscription.gets_events_of(queue):
                self.hold(subscription, queue)
        self._on_news((queue, job_id.decode()), False)

    def forget(self, subscription: Subscription, queue: str) -> None:
        """Stop following lines in one queue, because the queue is gone, or the client may no longer read the job there.

        Call this only for a subscription that names no queue, which is not checked here, and only after its
        `job_states` has lost the queue; otherwise the lines might be followed again. Lines of this queue that are being
        read now are not sent. If the subscription waited only for lines of this queue, this ends its wait with
        `give_up`.
        """
        if (following := self._following(subscription)) is not None:
            following.readers.pop(queue, None)
            if following.unread.pop(queue, None) is not None and not following.unread:
                self.give_up(subscription)

    def limit(self, subscription: Subscription) -> None:
        """Stop following lines in the queues that the rights of a new token exclude. See `forget`."""
        following = self._following(subscription) or Following()
        for queue in {*following.readers, *following.unread}:
            if not subscription.gets_events_of(queue):
                self.forget(subscription, queue)

    def leave(self, subscription: Subscription) -> None:
        """Stop following lines for a subscription that has ended. If it waited, the `then` of its `drain` is called."""
        job_id = (subscription.request.key.job_id or "").encode()
        followers = self.followers.get(job_id, {})
        followers.pop(subscription, None)
        if not followers:
            self.followers.pop(job_id, None)
        if (then := self._end_draining(subscription)) is not None:
            then()

    def give_up(self, subscription: Subscription) -> None:
        """End a subscription's wait for lines, if it waits: call the `then` of its `drain`, which sends what waited.

        Lines that are found later are still sent, unless the subscription has ended.
        """
        if (then := self._end_draining(subscription)) is not None:
            then()
            subscription.client.outbox.wake()  # the writer must see the end of the wait even if there is no frame

    def give_up_all(self, queue: str) -> None:
        """End the wait of all subscriptions that get events of this queue, even for lines of other queues."""
        for subscription in list(self.draining):
            if subscription.gets_events_of(queue):
                self.give_up(subscription)

    # ---- called when a list is read ----

    def groups(self, job: Job) -> tuple[list[Group], list[Subscription]]:
        """Return the followers of a job in groups, and those that get no lines now, since their outbox has no room."""
        queue, job_id = job
        groups: dict[JobLogReader, Group] = {}
        full: list[Subscription] = []
        for subscription, following in self.followers.get(job_id.encode(), {}).items():
            if not self._follows(subscription, following, queue):
                continue
            reader = following.readers.get(queue)
            if reader is None:
                after = (subscription.request.logs or {}).get(queue)
                reader = following.readers[queue] = JobLogReader() if after is None else JobLogReader.after(after)
            if subscription.client.outbox.below_low_water:
                group = groups.setdefault(reader, Group(job, reader))
                group.members.append((subscription, following.unread.get(queue)))
            else:
                full.append(subscription)
        return list(groups.values()), full

    def _follows(self, subscription: Subscription, following: Following, queue: str) -> bool:
        """Return whether lines of this queue are to be read for the subscription.

        This is so while the subscription waits for lines of this queue, or while the job is alive in this queue. In a
        queue without events, it is also so while the subscription's `job_states` does not say whether the job is alive.
        """
        if not subscription.gets_events_of(queue):
            return False
        state = subscription.job_states.get(queue)
        return queue in following.unread or state is ALIVE or (state is None and queue in self._without_events)

    def send(self, group: Group, result: ReadResult) -> bool:
        """Send the new lines of one read, `result`, to the members of a group, and note how far each has got the lines.

        If there are no more lines to read, the wait of members that waited for the lines ends. Returns False if a
        member's outbox had no room. The job's log must then be read again for this member.
        """
        queue, _ = group.job
        frames: dict[Sub | None, Frame] = {}
        tail: bytes | None = None
        all_sent = True
        for subscription, asked in group.members:
            following = self._following(subscription)
            if following is None or queue not in following.readers:  # it has ended, or `forget` was called meanwhile
                continue
            outbox = subscription.client.outbox
            if result.batch is not None and not outbox.below_low_water:
                all_sent = False
                continue
            following.readers[queue] = result.reader
            if result.batch is not None:
                sub = subscription.request.key.sub
                if sub not in frames:
                    tail = tail or _tail(group.job, result.batch, result.reader)
                    frames[sub] = job_frame(_NAME, tail, sub=sub)
                outbox.append(frames[sub])
                self._counts["job-log-lines"] += len(result.batch.lines)
            if asked is not None and not result.again and following.unread.get(queue) == asked:
                del following.unread[queue]
                if not following.unread:
                    self.give_up(subscription)
            outbox.flush()
        return all_sent

    def _following(self, subscription: Subscription) -> Following | None:
        return self.followers.get((subscription.request.key.job_id or "").encode(), {}).get(subscription)


def _tail(job: Job, batch: Batch, reader: JobLogReader) -> bytes:
    queue, job_id = job
    data = JobLogData(
        queue,
        job_id,
        lines=as_texts(batch.lines),
        first=batch.first,
        position=reader.position.encode(),
        gap=batch.gap or UNSET,
        truncated=any(len(line) > MAX_LINE_BYTES for line in batch.lines) or UNSET,
    )
    return tail_of(encode_data(data))


def as_texts(lines: Sequence[bytes]) -> list[str]:
    """Return lines as strings, cut to `MAX_LINE_BYTES`. Bytes that are not valid UTF-8 become U+FFFD."""
    return [line[:MAX_LINE_BYTES].decode(errors="replace") for line in lines]
