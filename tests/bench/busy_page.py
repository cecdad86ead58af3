"""Measures the page at `/` while it shows 5,000 jobs of a queue that has 500 events a second."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.bench.board_jobs import Traffic, events
from tests.bench.servers import Events, server
from tests.bench.viewer import viewer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.viewer import Task, Viewer

ROWS: Final = 5000
EVENTS_PER_SECOND: Final = 500
# Until all jobs are in the list, a page that is slow has this time.
FILL_SECONDS: Final = 120
# The jobs in sight change, then the viewer scrolls: half of the time each.
TRACE_SECONDS: Final = 10
SETTLE_SECONDS: Final = 3
SCROLL_PIXELS: Final = 1500
SCROLL_SECONDS: Final = 0.1
HEAP_SAMPLES: Final = 9
HEAP_SAMPLE_SECONDS: Final = 2


class Traced(NamedTuple):
    """What was measured in one trace.

    Attributes:
        rows: How many jobs the list had at its end.
        events_per_second: How many there were. On a busy machine, they are fewer than planned.
        longest: The task with the most CPU time.
        longest_wall: The longest time from the begin of a task to its end, in milliseconds.
        tasks: How many tasks ran scripts.
        busy: The part of the time in which scripts ran, by CPU time.
    """

    rows: int
    events_per_second: float
    longest: Task
    longest_wall: float
    tasks: int
    busy: float


@contextmanager
def busy_list(redis_port: int, rows: int = ROWS) -> Iterator[Viewer]:
    """Show the list of jobs of a queue with 500 events a second until the end of the context."""
    Events(redis_port).client.flushall()
    with (
        server("jobws", redis_port, "--queues", "http") as running,
        Traffic(redis_port, rows, EVENTS_PER_SECOND) as traffic,
        viewer() as shown,
    ):
        shown.page.goto(f"http://127.0.0.1:{running.port}/#/queues/http")
        shown.wait(SETTLE_SECONDS)  # it follows the queue before the first event
        traffic.begin()
        deadline = time.monotonic() + FILL_SECONDS
        # A few jobs are on their way to be removed.
        while shown.rows() < rows * 0.99:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the list has {shown.rows()} rows, not {rows}")
            shown.wait(0.5)
        yield shown


def tasks(redis_port: int, rounds: int) -> list[Traced]:
    """Return the tasks of so many traces."""
    client: Any = Events(redis_port).client
    found = []
    with busy_list(redis_port) as shown:
        for _ in range(rounds):
            shown.wait(SETTLE_SECONDS)
            before, began = events(client), time.monotonic()
            with shown.traced() as ran:
                shown.wait(TRACE_SECONDS / 2)
                shown.page.mouse.move(700, 600)
                for turn in range(int(TRACE_SECONDS / 2 / SCROLL_SECONDS)):
                    # Further down for the first two thirds, then up again.
                    shown.page.mouse.wheel(0, SCROLL_PIXELS if turn % 3 < 2 else -SCROLL_PIXELS)
                    shown.wait(SCROLL_SECONDS)
                seconds = time.monotonic() - began
                rate = (events(client) - before) / seconds
            shown.page.evaluate("() => (document.querySelector('.list').scrollTop = 0)")
            cpu = sum(each.cpu for each in ran) / 1000 / seconds
            longest_wall = max(each.wall for each in ran)
            found.append(Traced(shown.rows(), rate, max(ran), longest_wall, len(ran), cpu))
            print(f"  {found[-1]}", file=sys.stderr, flush=True)
    return found


def heap(redis_port: int, minutes: float, first: float) -> tuple[int, int]:
    """Return the bytes of the JavaScript heap after collections of garbage: after `first` minutes, and at the end.

    Both are the least of some, since events that have just arrived, and compiled code, come and go.
    """
    with busy_list(redis_port) as shown:
        began = time.monotonic()
        sizes = []
        for due in (first, minutes):
            while (left := began + due * 60 - time.monotonic()) > 0:
                shown.wait(min(left, 30))
            found = []
            for _ in range(HEAP_SAMPLES):
                found.append(shown.heap_bytes())
                shown.wait(HEAP_SAMPLE_SECONDS)
            sizes.append(min(found))
            print(f"  minute {due:g}: {sorted(found)}, {shown.rows()} rows", file=sys.stderr, flush=True)
    return sizes[0], sizes[1]
