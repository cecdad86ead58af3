"""Sends the numbers of a queue to all subscriptions that want them. They are read once, however many these are."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
from msgspec import structs

from jobws.errors import RedisUnavailableError
from jobws.protocol.codec import job_frame, json_text
from jobws.protocol.queue_stats import QUEUE_STATS, QueueStats, stats_tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jobws.bullmq.keys import Queue
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.subscription import Subscription
    from jobws.server.auto_reset_event import AutoResetEvent
    from jobws.server.jobs.queue_numbers import QueueNumbers

# Some changes have no event, such as draining a queue, and workers that come and go. They are found this late.
SILENT_SECONDS: Final = 10.0
_NAME: Final = json_text(QUEUE_STATS)

_log: Final = logging.getLogger(__name__)


class _Sent:
    """What was sent of one queue.

    Attributes:
        stats: The numbers that were read last.
        read_at: When they were read, in seconds on anyio's clock.
        cursor: The id of the last entry of the queue's stream that was published before that; None if there was none.
        sent_to: The subscriptions that have these numbers.
    """

    def __init__(self, stats: QueueStats, read_at: float, cursor: str | None, sent_to: set[Subscription]) -> None:
        self.stats = stats
        self.read_at = read_at
        self.cursor = cursor
        self.sent_to = sent_to

    def is_due(self, now: float, seconds: float, cursor: str | None) -> bool:
        """Whether to read the numbers again: `seconds` are over, and something may have changed.

        Something may have changed if `cursor`, the id of the last entry published by now, is another one, and if a rate
        is not zero, since it falls without an entry. Otherwise the numbers are read again after SILENT_SECONDS.
        """
        changes = cursor != self.cursor or self.stats.completed_per_minute or self.stats.failed_per_minute
        return now - self.read_at >= (seconds if changes else max(seconds, SILENT_SECONDS))


class StatsFeed:
    """Sends `queue-stats` to the subscriptions to whole queues that want it.

    Args:
        fanout: Knows these subscriptions, and how far each queue's stream was published.
        queues: The queues by label; a live view.
        numbers: Reads the numbers.
        wanted: Set when a subscription wants numbers that has none.
        seconds: The shortest time between two readings of a queue's numbers.
    """

    def __init__(
        self,
        fanout: Fanout,
        queues: Mapping[str, Queue],
        numbers: QueueNumbers,
        wanted: AutoResetEvent,
        seconds: float,
    ) -> None:
        self._fanout = fanout
        self._queues = queues
        self._numbers = numbers
        self._wanted = wanted
        self._seconds = seconds
        self._sent: dict[str, _Sent] = {}

    async def run(self) -> None:
        """Send numbers until cancelled. While nobody wants them, wait."""
        while True:
            wanting = self._fanout.rooms.wanting_stats(self._queues)
            self._sent = {queue: sent for queue, sent in self._sent.items() if queue in wanting}
            for queue in wanting:
                if queue in self._queues:
                    await self._read(queue)
            # Subscriptions may have ended or begun meanwhile.
            for queue, members in self._fanout.rooms.wanting_stats(self._queues).items():
                if queue in self._sent:
                    self._send(self._sent[queue], members)
            with anyio.move_on_after(self._seconds if self._fanout.rooms.may_want_stats else None):
                await self._wanted.wait()

    async def _read(self, queue: str) -> None:
        """Read a queue's numbers if they were never read, or if it is time to read them again (`_Sent.is_due`).

        While Redis does not answer, the numbers that were read before are kept.
        """
        sent, cursor = self._sent.get(queue), self._fanout.cursors.get(queue)
        now = anyio.current_time()
        if sent is not None and not sent.is_due(now, self._seconds, cursor):
            return
        try:
            stats = (await self._numbers.of(self._queues[queue])).stats
        except RedisUnavailableError as error:
            _log.debug("the numbers of queue %s wait: %s", queue, error)
            return
        is_news = sent is None or _without_age(stats) != _without_age(sent.stats)
        self._sent[queue] = _Sent(stats, now, cursor, set() if is_news or sent is None else sent.sent_to)

    def _send(self, sent: _Sent, members: Iterable[Subscription]) -> None:
        """Send a queue's numbers to those members that do not have them.

        A client whose outbox is nearly full gets later ones, and so does a member that waits for past events.
        """
        sent_to, sent.sent_to = sent.sent_to, set()
        stats, seconds = sent.stats, sent.stats.oldest_waiting_seconds
        if seconds is not None:
            stats = structs.replace(
                stats, oldest_waiting_seconds=round(seconds + anyio.current_time() - sent.read_at, 3)
            )
        tail = stats_tail(stats)
        for each in members:
            outbox = each.client.outbox
            if each not in sent_to:
                frame = job_frame(_NAME, tail, sub=each.request.key.sub)
                if each.held is not None or not outbox.has_room(len(frame)):
                    continue
                self._fanout.counts[QUEUE_STATS] += 1
                outbox.append(frame)
                outbox.flush()
            sent.sent_to.add(each)


def _without_age(stats: QueueStats) -> QueueStats:
    return structs.replace(stats, oldest_waiting_seconds=None)
