"""The index of recent events: what it finds, what it forgets, and what it costs."""

from __future__ import annotations

import tracemalloc

import pytest

from jobws.bullmq.events import Kind, Life, kind_of
from jobws.hub.jobs.history import LEAST_PER_QUEUE, MOST_IN_ALL, MOST_PER_QUEUE, Recent, RecentEvents
from tests.support.steps import do_all


def kind(event: str, prev: str | None = None) -> Kind:
    fields = [b"event", event.encode(), b"jobId", b"1"]
    found = kind_of(fields if prev is None else [*fields, b"prev", prev.encode()])
    assert found is not None
    return found


def filled(*events: tuple[str, str, Kind], capacity: int = 10) -> RecentEvents:
    """Job, stream id and kind of each, oldest first."""
    recent = RecentEvents(capacity)
    do_all(recent.fill([(stream_id.encode(), job.encode(), each) for job, stream_id, each in reversed(events)], "0-0"))
    return recent


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ((), None),
        (("completed",), 0),
        (("failed", "retries-exhausted", "progress", "duplicated", "deduplicated", "custom"), 0),
        (("completed", "removed:completed"), 0),
        (("failed", "removed:failed"), 0),
        (("completed", "added"), None),
        (("completed", "waiting:completed"), None),
        (("completed", "waiting", "active", "progress"), None),
        (("completed", "delayed"), None),
        (("completed", "removed:wait"), None),
        (("removed:unknown",), None),
        (("completed", "added", "active", "failed", "progress"), 3),
    ],
)
def test_the_outcome_is_that_of_the_present_life(events: tuple[str, ...], found: int | None) -> None:
    kinds = [kind(*event.split(":")) for event in events]
    recent = filled(*(("1", f"{number}-0", each) for number, each in enumerate(kinds)))
    turn = recent.turn(b"1")
    outcome = turn if turn is not None and turn.kind.life is Life.ENDS else None
    assert outcome == (None if found is None else (f"{found}-0".encode(), kinds[found]))
    assert recent.turn(b"2") is None


def test_the_oldest_is_forgotten_beyond_the_capacity() -> None:
    done = kind("completed")
    recent = filled(("1", "1-0", done), ("2", "2-0", done), ("1", "3-0", done), capacity=3)
    assert recent.floor == "0-0"
    recent.add(b"3", b"4-0", done)
    assert [len(recent.after(job)[0]) for job in (b"1", b"2", b"3")] == [1, 1, 1]
    assert (len(recent), recent.floor) == (3, "1-0")
    recent.resize(1)
    assert ([*recent.job_ids], recent.floor) == ([b"3"], "3-0")


def test_what_redis_trimmed_is_forgotten() -> None:
    done = kind("completed")
    recent = filled(("1", "1-9", done), ("1", "2-0", done), ("2", "2-1", done), ("3", "10-0", done))
    recent.forget_before("2-1")
    assert ([len(recent.after(job)[0]) for job in (b"1", b"2", b"3")], recent.floor) == ([0, 1, 1], "2-0")
    recent.forget_before("10-0")
    assert [len(recent.after(job)[0]) for job in (b"1", b"2", b"3")] == [0, 0, 1]


def test_capacities_are_bounded_by_queue_and_in_all() -> None:
    recent = Recent()
    assert recent.keep("a", 5) == LEAST_PER_QUEUE
    assert recent.keep("a", 50_000) == 50_000
    assert recent.keep("a", 10**9) == MOST_PER_QUEUE
    for number in range(49):
        recent.of(f"q{number}")
    assert recent.keep("a", 10**9) == MOST_IN_ALL // 50


@pytest.mark.long
def test_an_event_costs_what_the_documentation_says() -> None:
    """Four events a job: about 130 bytes each, the ids included."""
    kinds = [kind(event) for event in ("added", "waiting", "active", "completed")]
    recent = filled(capacity=100_000)
    tracemalloc.start()
    for number in range(10_000):
        for order, each in enumerate(kinds):
            recent.add(b"job-%d" % (1_000_000 + number), b"%d-%d" % (1795435729358 + number, order), each)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 60 < used / 40_000 < 160
