"""A hub without the tasks that its signals wake. Signals go nowhere, unless a test wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.bullmq.payloads import Payloads
from jobws.hub.jobs.fanout import Fanout
from jobws.hub.jobs.rooms import Rooms
from jobws.hub.jobs.signals import Signals
from jobws.privacy.rules import NO_RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.bullmq.snapshot import Job
    from jobws.hub.jobs.subscription import Subscription
    from jobws.privacy.rules import Privacy


def ignore(*_: object) -> None:
    """Take a signal, and do nothing."""


SILENT = Signals(ignore, ignore, ignore, ignore, ignore)


def new_fanout(
    *,
    on_listened: Callable[[str | None], None] = ignore,
    on_stats_wanted: Callable[[], None] = ignore,
    on_gap: Callable[[str], None] = ignore,
    on_job_log_news: Callable[[Job, bool], None] = ignore,
    on_job_log_wait: Callable[[Subscription], None] = ignore,
    on_progress: Callable[[], None] = ignore,
    progress_seconds: float = 0.0,
    max_payload_bytes: int = 1 << 20,
    privacy: Privacy = NO_RULES,
    clock: Callable[[], float] = lambda: 0.0,
) -> Fanout:
    """Return a fanout without queues."""
    signals = Signals(on_gap, on_job_log_news, on_job_log_wait, on_stats_wanted, on_progress)
    payloads = Payloads(max_payload_bytes, privacy)
    return Fanout(Rooms(on_listened), payloads, clock, signals, progress_seconds)
