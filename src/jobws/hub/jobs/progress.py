"""Merges progress: of the updates that a job reports within some milliseconds, a subscription gets only the latest.

The first update is sent immediately, and opens a window. What is reported within the window is held, in place of what
was held of the job before. At the end of the window it is sent, and the next window begins, or the window is closed if
there is nothing to send. A subscription gets what is held for it earlier if something later must be sent, so that no
position that a client gets is ahead of an update that it has not.

All subscriptions to a job share one window per queue, and all subscriptions to a whole queue share another one. So an
update costs the same for any number of subscriptions, and what is held is stored once for all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from jobws.hub.jobs.subscription import Subscription

Update: TypeAlias = "tuple[int, bytes, Sequence[bytes]]"
"""What a window holds of one job: the number of the update within the window, its stream id, and its fields."""
Due: TypeAlias = "tuple[bytes, Sequence[bytes], Collection[Subscription]]"
"""An update's stream id and fields, and the subscriptions that must get it."""


class Window:
    """The time after an update was sent, for the subscriptions to one job in one queue, or to one whole queue.

    Args:
        queue: The queue's label.
        job_id: The job's id in UTF-8. None means that this is the window of a whole queue.
        ends: When the window ends, in seconds on the clock of `Fanout`, which never goes back.
    """

    __slots__ = ("_count", "_had", "_held", "ends", "job_id", "queue")

    def __init__(self, queue: str, job_id: bytes | None, ends: float) -> None:
        self.queue = queue
        self.job_id = job_id
        self.ends = ends
        self._count = 0
        # By job, the latest update. The oldest of these is first.
        self._held: dict[bytes, Update] = {}
        # The number of the latest update that a subscription has got, or need not get, if this is not 0.
        self._had: dict[Subscription, int] = {}

    def hold(self, job_id: bytes, stream_id: bytes, fields: Sequence[bytes]) -> None:
        """Hold an update in place of the one that is held of the same job. Call this in the order of the stream ids."""
        self._count = count = self._count + 1
        held = self._held
        if self.job_id is None and job_id in held:
            del held[job_id]
        held[job_id] = (count, stream_id, fields)

    def due_to(self, subscriptions: Collection[Subscription]) -> list[Due]:
        """Return the updates that these subscriptions must still get, by ascending stream id.

        Each one comes with those of `subscriptions` that were not sent it, and were not passed over.
        """
        if not self._had:
            return [(stream_id, fields, subscriptions) for _, stream_id, fields in self._held.values()]
        had = {each: self._had.get(each, 0) for each in subscriptions}
        least = min(had.values(), default=self._count)
        due: list[Due] = []
        for count, stream_id, fields in reversed(self._held.values()):
            if count <= least:
                break
            due.append((stream_id, fields, [each for each in subscriptions if count > had[each]]))
        due.reverse()
        return due

    def pass_over(self, subscriptions: Iterable[Subscription]) -> None:
        """Note that these subscriptions have got what is held now, or need not get it."""
        if self._held:
            self._had.update(dict.fromkeys(subscriptions, self._count))

    def empty(self) -> bool:
        """Drop all that is held, at the end of the window. Return True if anything was held."""
        was_used = bool(self._held)
        self._held.clear()
        self._had.clear()
        return was_used


class Windows:
    """All open windows. Times are seconds on the clock of `Fanout`, which never goes back.

    Args:
        seconds: How long a window is. 0 means that progress is not merged: there are no windows.
        on_open: Called when a window is opened while there is no other. It must not wait.

    Attributes:
        of_jobs: The windows of jobs, by job id and then by queue.
        of_queues: The windows of whole queues.
        in_order: All of these windows. That which ends first is first.
    """

    def __init__(self, seconds: float, on_open: Callable[[], None]) -> None:
        self.of_jobs: dict[bytes, dict[str, Window]] = {}
        self.of_queues: dict[str, Window] = {}
        self._seconds = seconds
        self._on_open = on_open
        self.in_order: OrderedDict[Window, None] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self.in_order)

    def open(self, queue: str, job_id: bytes | None, now: float) -> None:
        """Open a window of a job in the queue, or (`job_id` None) of the whole queue. It must not be open already.

        `now` is the present time. If `seconds` is 0, nothing happens.
        """
        if not self._seconds:
            return
        window = Window(queue, job_id, now + self._seconds)
        if job_id is None:
            self.of_queues[queue] = window
        else:
            self.of_jobs.setdefault(job_id, {})[queue] = window
        if not self.in_order:
            self._on_open()
        self.in_order[window] = None

    def is_open(self, window: Window) -> bool:
        """Return whether this window was not closed."""
        return window in self.in_order

    def first_ended(self, now: float) -> Window | None:
        """Return a window that has ended at the time `now`, or None. The caller calls `begin_again` or `close`."""
        window = next(iter(self.in_order), None)
        return window if window is not None and window.ends <= now else None

    def next_end(self) -> float | None:
        """Return the time at which the next window ends. None if there is no window."""
        window = next(iter(self.in_order), None)
        return None if window is None else window.ends

    def begin_again(self, window: Window, now: float) -> None:
        """Let a window that has ended begin again at the present time `now`."""
        window.ends = now + self._seconds
        self.in_order.move_to_end(window)

    def close(self, window: Window) -> None:
        """Close a window. What it holds is dropped."""
        del self.in_order[window]
        if window.job_id is None:
            del self.of_queues[window.queue]
            return
        by_queue = self.of_jobs[window.job_id]
        del by_queue[window.queue]
        if not by_queue:
            del self.of_jobs[window.job_id]

    def of_queue(self, queue: str) -> list[Window]:
        """Return all windows of a queue: that of the queue, and those of its jobs."""
        return [window for window in self.in_order if window.queue == queue]

    def of(self, subscription: Subscription) -> list[Window]:
        """Return the windows of a subscription: those of its room, in the queues whose events it gets.

        A subscription that is not in its room yet has none.
        """
        key = subscription.request.key
        if not subscription.in_room:
            return []
        by_queue = self.of_queues if key.job_id is None else self.of_jobs.get(key.job_id.encode(), {})
        return [window for queue, window in by_queue.items() if subscription.gets_events_of(queue)]
