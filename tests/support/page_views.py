"""Every view of the bridge's page: its address, what is there when it is, and jobs to show in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tests.support.page import begin

if TYPE_CHECKING:
    from tests.support.redis import Redis

# By address.
VIEWS: Final = {
    "#/": (".row .name a", "http"),
    "#/queues/http": (".job .title", "fetch"),
    "#/queues/http/failed": (".group .n", "1"),
    "#/queues/http/submit": (".submit .primary", "Submit"),
    "#/jobs/http/runs": (".jobhead .chip", "active"),
    "#/jobs/http/broken": (".failure .reason", "no such page"),
    "#/jobs/http/done": (".tree .text", "fine"),
    "#/logs": ("h1", "Logs"),
}


def fill(redis: Redis) -> None:
    """Add what the views show: jobs of the queue `http` in several states, and a line of the log."""
    now = int(time.time() * 1000)
    redis.add_job("http", "runs", name="fetch", timestamp=now, progress='{"done":1,"total":3}')
    redis.client.rpush("bull:http:runs:logs", "first", "second")
    begin(redis, "http", "runs")
    redis.add_job("http", "broken", state="failed", failedReason="no such page", timestamp=now, finishedOn=now)
    redis.add_job("http", "done", state="completed", returnvalue='{"it":"fine"}', timestamp=now, finishedOn=now)
    redis.add_log("a line", queue="http")
