"""How many jobs completed and failed in the last minute, and when this is not known."""

from __future__ import annotations

from itertools import count

from jobws.hub.jobs.ends_per_minute import COUNTED_TOGETHER, Ends
from tests.hub.one_bridge import Bridge, event

NOW = 1_795_435_729_000


def test_the_ends_of_the_last_minute_count() -> None:
    bridge = Bridge()
    numbers = count()
    for seconds_ago in (300, 61, 60, 59, 1, 1, 0):
        bridge.publish(f"{NOW - 1000 * seconds_ago}-{next(numbers)}", event("completed", returnvalue="1"))
    for seconds_ago in (70, 30, 0):
        bridge.publish(f"{NOW - 1000 * seconds_ago + 500}-{next(numbers)}", event("failed", failedReason="no"))
    bridge.publish(f"{NOW + 600}-0", event("removed"))
    assert bridge.fanout.ends_until("http", NOW + 999) == Ends(4, 2)
    assert bridge.fanout.ends_until("http", NOW + 30_000) == Ends(3, 1)
    assert bridge.fanout.ends_until("http", NOW + 61_000) == Ends(0, 0)
    assert bridge.fanout.ends_until("analyzer", NOW) == Ends(0, 0)


def test_seconds_that_are_long_past_are_forgotten() -> None:
    bridge = Bridge()
    for half in range(2 * COUNTED_TOGETHER):
        bridge.publish(f"{NOW + 500 * half}-0", event("completed", returnvalue="1"))
    ends = bridge.fanout.history.of("http").ends
    assert ends._completed.new == []
    assert ends.until(NOW + 1000 * COUNTED_TOGETHER - 1) == Ends(120, 0)
    assert len(ends._completed._by_second) == 61


def test_what_the_stream_has_lost_is_not_known() -> None:
    bridge = Bridge()
    bridge.publish(f"{NOW}-0", event("completed", returnvalue="1"))
    bridge.fanout.begin_reread("http", f"{NOW + 9000}-0", f"{NOW + 8000}-0")
    assert bridge.fanout.ends_until("http", NOW + 90_000) is None
    bridge.publish(f"{NOW + 9000}-0", event("completed", returnvalue="2"))
    bridge.fanout.end_reread("http", f"{NOW + 8000}-0")
    assert bridge.fanout.ends_until("http", NOW + 67_999) is None
    assert bridge.fanout.ends_until("http", NOW + 68_000) == Ends(1, 0)


def test_a_queue_without_events_tells_no_ends() -> None:
    bridge = Bridge()
    bridge.fanout.without_events.add("http")
    assert bridge.fanout.ends_until("http", NOW) is None
