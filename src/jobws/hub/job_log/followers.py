"""Who follows the lines of which job's log, how far, and whose events wait until the last lines were read.

A subscription that asked for lines is followed from its ack on. Its outcome is held, by the means of a pending
subscription, until a look at the list that began after the outcome has found no more lines, or is overdue. Nobody else
waits, and who has no lines to follow costs an event one look at an empty dictionary.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from jobws.hub.job_log.reader import JobLineReader
from jobws.protocol.codec import encode_data, job_frame, tail_of
from jobws.protocol.messages import JobLogData

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Iterable, Sequence

    from jobws.bullmq.snapshot import Job
    from jobws.hub.job_log.reader import Batch, Step
    from jobws.hub.jobs.subscription import Subscriber, Subscription
    from jobws.protocol.codec import Frame
    from jobws.protocol.messages import Sub

_NAME: Final = b'"job-log"'
MAX_LINE_BYTES: Final = 64 * 1024
"""What a line may have in a frame; a longer one is cut, and HTTP has it whole."""


class Following:
    """One subscription's lines.

    Attributes:
        readers: How far, by queue.
        unread: The queues whose lines must be read before the subscription goes on. The value is the number with which
            that was asked for: a look that began before does not count.
    """

    __slots__ = ("readers", "unread")

    def __init__(self) -> None:
        self.readers: dict[str, JobLineReader] = {}
        self.unread: dict[str, int] = {}


class Group:
    """Followers that are equally far, so that one look at the list serves all of them.

    Attributes:
        members: Each with its number in `Following.unread`; None: it waits for nothing.
    """

    def __init__(self, job: Job, reader: JobLineReader) -> None:
        self.job = job
        self.reader = reader
        self.members: list[tuple[Subscription, int | None]] = []


class JobLines:
    """All followed lines of jobs' logs.

    Args:
        without_events: The queues whose stream is switched off; a live view.
        counts: Where to count lines that are told.
        release: Lets through what was held for a member, once its lines were read.
        on_news: Told that a job may have new lines, and whether an outcome waits for them; must not wait.
        on_drain: Told who waits, and for how long at most is up to it; must not wait.

    Attributes:
        followers: By job id in UTF-8, as it stands in the stream.
        draining: Those whose lines must be read up to now, and what is to be done then.
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

    # ---- what the hub tells ----

    def drain(
        self, subscription: Subscription, queues: Iterable[str], then: Callable[[], None], *, urgent: bool = False
    ) -> None:
        """Have the lines read that there are now in these queues, and then call `then`, also if it has left.

        That is immediately if there is no queue. `urgent`: before those of others, since an event waits.
        """
        job_id = subscription.request.room.job_id or ""
        following = self.followers.setdefault(job_id.encode(), {}).setdefault(subscription, Following())
        for queue in queues:
            self._asked += 1
            following.unread[queue] = self._asked
        # Where no event tells that the job begins to live, its list is looked at without.
        for queue in {*following.unread, *self._without_events}:
            self._on_news((queue, job_id), urgent)
        if not following.unread:
            then()
            return
        if subscription not in self.draining:
            self._on_drain(subscription)
        self.draining[subscription] = then
        self._draining_of.setdefault(subscription.connection, {})[subscription] = None

    def draining_of(self, member: Subscriber) -> Collection[Subscription]:
        """The subscriptions of one client that wait for lines."""
        return self._draining_of.get(member, {}).keys()

    def _end_draining(self, subscription: Subscription) -> Callable[[], None] | None:
        """End a subscription's wait for lines, and return what is to be done then. None: it did not wait."""
        then = self.draining.pop(subscription, None)
        if then is not None:
            of_client = self._draining_of[subscription.connection]
            del of_client[subscription]
            if not of_client:
                del self._draining_of[subscription.connection]
        return then

    def hold(self, subscription: Subscription, queue: str) -> None:
        """An outcome of that queue is about to be offered: the last lines go first."""
        if subscription.held is None:
            subscription.held = []
            self.drain(subscription, (queue,), partial(self._release, subscription), urgent=True)
        elif subscription in self.draining:
            self.drain(subscription, (queue,), self.draining[subscription], urgent=True)

    def happened(self, queue: str, job_id: bytes, *, ends: bool) -> None:
        """An event of a followed job is about to be offered. `ends`: it is an outcome."""
        for subscription in list(self.followers[job_id]) if ends else ():
            if subscription.request.room.queue in (None, queue):
                self.hold(subscription, queue)
        self._on_news((queue, job_id.decode()), False)

    def forget(self, subscription: Subscription, queue: str) -> None:
        """The queue is gone: a subscription without a queue follows no lines there, and waits for none."""
        following = self.followers.get((subscription.request.room.job_id or "").encode(), {}).get(subscription)
        if following is not None:
            following.readers.pop(queue, None)
            if following.unread.pop(queue, None) is not None and not following.unread:
                self.give_up(subscription)

    def leave(self, subscription: Subscription) -> None:
        """Follow no lines for this subscription any more."""
        job_id = (subscription.request.room.job_id or "").encode()
        followers = self.followers.get(job_id, {})
        followers.pop(subscription, None)
        if not followers:
            self.followers.pop(job_id, None)
        then = self._end_draining(subscription)
        if then is not None:
            then()

    def give_up(self, subscription: Subscription) -> None:
        """What waits for lines goes on without further ones. They follow, if it is still there then."""
        then = self._end_draining(subscription)
        if then is not None:
            then()
            subscription.connection.outbox.flush()
            subscription.connection.outbox.wake()  # some wait for that, and nothing may have been held

    def give_up_all(self, queue: str) -> None:
        """Give up the wait for lines of all subscriptions that see a queue's events."""
        for subscription in list(self.draining):
            if subscription.request.room.queue in (None, queue):
                self.give_up(subscription)

    # ---- looking ----

    def groups(self, job: Job) -> tuple[list[Group], list[Subscription]]:
        """Who follows the lines of a job, and whose client must first take what waits for it."""
        queue, job_id = job
        groups: dict[JobLineReader, Group] = {}
        full: list[Subscription] = []
        for subscription, following in self.followers.get(job_id.encode(), {}).items():
            if not self._follows(subscription, following, queue):
                continue
            reader = following.readers.get(queue)
            if reader is None:
                after = (subscription.request.logs or {}).get(queue)
                reader = following.readers[queue] = JobLineReader() if after is None else JobLineReader.after(after)
            if subscription.connection.outbox.roomy:
                group = groups.setdefault(reader, Group(job, reader))
                group.members.append((subscription, following.unread.get(queue)))
            else:
                full.append(subscription)
        return list(groups.values()), full

    def _follows(self, subscription: Subscription, following: Following, queue: str) -> bool:
        """Whether lines of that queue may come, or are waited for."""
        if subscription.request.room.queue not in (None, queue):
            return False
        if queue in subscription.job_states:
            return subscription.job_states[queue] is None or queue in following.unread
        return queue in following.unread or queue in self._without_events

    def tell(self, group: Group, step: Step) -> bool:
        """Deliver what a look at a group's lines yielded, and let those go on that waited for it.

        False: for a client that must take first what waits for it the same look is to be taken again.
        """
        queue, _ = group.job
        frames: dict[Sub | None, Frame] = {}
        tail: bytes | None = None
        all_told = True
        for subscription, asked in group.members:
            if subscription.left:
                continue
            outbox = subscription.connection.outbox
            if step.batch is not None and not outbox.roomy:
                all_told = False
                continue
            following = self._following(subscription)
            following.readers[queue] = step.reader
            if step.batch is not None:
                sub = subscription.request.room.sub
                if sub not in frames:
                    tail = tail or _tail(group.job, step.batch, step.reader)
                    frames[sub] = job_frame(_NAME, tail, sub=sub)
                outbox.append(frames[sub])
                self._counts["job-log-lines"] += len(step.batch.lines)
            if asked is not None and not step.again and following.unread.get(queue) == asked:
                del following.unread[queue]
                if not following.unread:
                    self.give_up(subscription)
            outbox.flush()
        return all_told

    def _following(self, subscription: Subscription) -> Following:
        return self.followers[(subscription.request.room.job_id or "").encode()][subscription]


def _tail(job: Job, batch: Batch, reader: JobLineReader) -> bytes:
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
    """Lines as a frame has them. What is no UTF-8 becomes U+FFFD."""
    return [line[:MAX_LINE_BYTES].decode(errors="replace") for line in lines]
