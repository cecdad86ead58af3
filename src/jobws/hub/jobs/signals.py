"""The callbacks with which the hub asks for work that needs Redis, or time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.bullmq.snapshot import Job
    from jobws.hub.jobs.subscription import Subscription


class Signals(NamedTuple):
    """Callbacks of the hub. None of them may wait.

    Attributes:
        on_gap: Called with the label of a queue when events of the queue may have been missed. The callee soon looks
            up the queue's jobs that have subscribers, and then calls `PublishedStreams.resolve`.
        on_job_log_news: Called with a job that may have new log lines, and with True if an outcome is held back until
            they are sent. The callee has the lines read.
        on_job_log_wait: Called with a subscription whose events are held back until log lines are sent. The callee
            limits the time of the wait.
        on_stats_wanted: Called when a subscription that wants `queue-stats` can be sent them. The callee sends them.
        on_progress: Called when progress may have to be sent later. The callee calls `Fanout.send_due_progress` until
            that returns None.
    """

    on_gap: Callable[[str], None]
    on_job_log_news: Callable[[Job, bool], None]
    on_job_log_wait: Callable[[Subscription], None]
    on_stats_wanted: Callable[[], None]
    on_progress: Callable[[], None]
