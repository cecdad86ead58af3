"""Whom the hub tells that there is something to do which needs Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.bullmq.snapshot import Job
    from jobws.hub.jobs.subscription import Subscription


class Signals(NamedTuple):
    """What is called when. Nothing of it may wait.

    Attributes:
        on_gap: Told which queue's events may be missing.
        on_job_log_news: Told that a job may have new lines, and whether an outcome waits for them.
        on_job_log_wait: Told which subscription waits for lines; for how long at most is up to it.
    """

    on_gap: Callable[[str], None]
    on_job_log_news: Callable[[Job, bool], None]
    on_job_log_wait: Callable[[Subscription], None]
