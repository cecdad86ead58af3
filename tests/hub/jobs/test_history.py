"""The index of recent events: what it finds, what it forgets, and how much memory it takes."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from jobws.bullmq.events import Kind, Life, kind_of
from jobws.hub.jobs.history import MOST_IN_ALL, MOST_PER_QUEUE, History
from jobws.hub.jobs.queue_history import FILLED_TOGETHER, LEAST_PER_QUEUE, QueueHistory
from tests.support.steps import do_all

if TYPE_CHECKING:
    from collections.abc import Callable


def kind(event: str, prev: str | None = None) -> Kind:
    fields = [b"event", event.encode(), b"jobId", b"1"]
    found = kind_of(fields if prev is None else [*fields, b"prev", prev.encode()])
    assert found is not None
    return found


def filled(*events: tuple[str, str, Kind], capacity: int = 10) -> QueueHistory:
    """Return a history with these events (job, stream id, kind), oldest first."""
    history = QueueHistory(capacity)
    do_all(history.fill([(stream_id.encode(), job.encode(), each) for job, stream_id, each in reversed(events)], "0-0"))
    return history


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
    history = filled(*(("1", f"{number}-0", each) for number, each in enumerate(kinds)))
    transition = history.last_transition(b"1")
    outcome = transition if transition is not None and transition.kind.life is Life.ENDS else None
    assert outcome == (None if found is None else (f"{found}-0".encode(), kinds[found]))
    assert history.last_transition(b"2") is None


def test_the_oldest_is_forgotten_beyond_the_capacity() -> None:
    done = kind("completed")
    history = filled(("1", "1-0", done), ("2", "2-0", done), ("1", "3-0", done), capacity=3)
    assert history.floor == "0-0"
    history.add(b"3", b"4-0", done)
    assert [len(history.after(job)[0]) for job in (b"1", b"2", b"3")] == [1, 1, 1]
    assert (len(history), history.floor) == (3, "1-0")
    history.resize(1)
    assert ([*history.job_ids], history.floor) == ([b"3"], "3-0")


def test_what_redis_trimmed_is_forgotten() -> None:
    done = kind("completed")
    history = filled(("1", "1-9", done), ("1", "2-0", done), ("2", "2-1", done), ("3", "10-0", done))
    history.forget_before("2-1")
    assert ([len(history.after(job)[0]) for job in (b"1", b"2", b"3")], history.floor) == ([0, 1, 1], "2-0")
    history.forget_before("10-0")
    assert [len(history.after(job)[0]) for job in (b"1", b"2", b"3")] == [0, 0, 1]


def test_capacities_are_bounded_by_queue_and_in_all() -> None:
    history = History()
    assert history.resize("a", 5) == LEAST_PER_QUEUE
    assert history.resize("a", 50_000) == 50_000
    assert history.resize("a", 10**9) == MOST_PER_QUEUE
    for number in range(49):
        history.of(f"q{number}")
    assert history.resize("a", 10**9) == MOST_IN_ALL // 50


def test_a_job_of_many_events_forgets_its_oldest() -> None:
    recent = filled(*(("1", f"{number}-0", kind("progress")) for number in range(1, 101)), capacity=200)
    for number in range(2, 101):
        recent.forget_before(f"{number}-0")
        assert recent.floor == f"{number - 1}-0"
        stream_ids, kinds = recent.after(b"1")
        assert stream_ids == [b"%d-0" % each for each in range(number, 101)]
        assert len(kinds) == len(stream_ids) == len(recent)
        assert recent.after(b"1", f"{number}-0")[0] == stream_ids[1:]
        assert recent.last_transition(b"1") is None
        assert recent.reach == f"{number - 1}-0"
    assert recent.knows(b"1", b"100-0", kind("progress"))
    assert not recent.knows(b"1", b"100-0", kind("active"))
    assert not recent.knows(b"1", b"99-0", kind("progress"))
    recent.forget_before("101-0")
    assert (len(recent), [*recent.job_ids]) == (0, [])


def test_a_turn_that_was_forgotten_is_unknown() -> None:
    events = [kind("completed"), *([kind("progress")] * 30)]
    recent = filled(*(("1", f"{number}-0", each) for number, each in enumerate(events, 1)), capacity=40)
    assert recent.last_transition(b"1") == (b"1-0", kind("completed"))
    recent.forget_before("2-0")
    assert recent.last_transition(b"1") is None


@pytest.mark.parametrize(
    ("floor", "oldest", "after", "lacks", "reach"),
    [
        (None, None, "5-0", False, None),
        ("0-0", None, "5-0", False, None),
        ("0-0", "7-0", "5-0", True, "7-0"),
        ("0-0", "7-0", "6-18446744073709551615", False, "7-0"),
        ("0-0", "7-0", "0-0", False, "7-0"),
        ("6-0", "7-0", "5-9", True, "6-0"),
        ("6-0", "7-0", "6-0", False, "6-0"),
        ("6-0", None, "5-0", True, "6-0"),
    ],
)
def test_what_may_be_gone_after_a_position(
    floor: str | None, oldest: str | None, after: str, lacks: bool, reach: str | None
) -> None:
    recent = QueueHistory(10)
    if oldest is not None:
        recent.add(b"1", oldest.encode(), kind("active"))
    if floor is not None:
        recent.reach_to(floor)
    assert (recent.may_miss(after), recent.reach) == (lacks, reach)


def test_queues_are_found_by_job_until_they_are_forgotten() -> None:
    recent = History()
    do_all(recent.fill("a", [(b"2-0", b"1", kind("active")), (b"1-0", b"2", kind("active"))], "0-0"))
    assert (recent.queues_of(b"1"), recent.queues_of(b"3"), recent.filled("a"), recent.floor("a")) == (
        ["a"],
        [],
        True,
        "0-0",
    )
    recent.of("a").reach_to("1-0")
    assert recent.floor("a") == "1-0"
    recent.resize("a", LEAST_PER_QUEUE + 7)
    old = recent.restart("a")
    assert old.after(b"1")[0] == [b"2-0"]
    assert (recent.queues_of(b"1"), recent.filled("a"), recent.floor("a")) == ([], False, "0-0")
    assert recent.of("a").capacity == LEAST_PER_QUEUE + 7
    assert not recent.filled("b")
    recent.of("a").add(b"1", b"3-0", kind("active"))
    recent.forget("a")
    assert (recent.queues_of(b"1"), recent.filled("a")) == ([], False)


def test_whatever_forgets_an_event_or_knows_all_again_is_a_change() -> None:
    recent = History()
    events = [(b"%d-0" % number, b"1", kind("progress")) for number in range(LEAST_PER_QUEUE + 2, 0, -1)]

    def changes(*calls: Callable[[], object]) -> list[int]:
        counts = []
        for call in calls:
            before = recent.changes
            call()
            counts.append(recent.changes - before)
        return counts

    assert changes(
        lambda: recent.resize("a", LEAST_PER_QUEUE + 2), lambda: do_all(recent.fill("a", events, "0-0"))
    ) == [
        0,
        2,
    ]
    assert changes(
        lambda: recent.resize("a", LEAST_PER_QUEUE + 2),
        lambda: recent.resize("a", LEAST_PER_QUEUE + 1),
        lambda: recent.forget_before("a", "2-0"),
        lambda: recent.forget_before("a", "3-0"),
    ) == [0, 1, 0, 1]
    assert all(changes(lambda: recent.restart("a"), lambda: recent.reach_to("a", "3-0"), lambda: recent.forget("a")))


def test_what_a_stream_held_is_taken_over_so_many_at_a_time() -> None:
    events = [(b"%d-0" % number, b"1", kind("progress")) for number in range(2 * FILLED_TOGETHER + 1, 0, -1)]
    known = [len(recent) for recent in [QueueHistory()] for _ in recent.fill(events, "0-0")]
    assert known == [FILLED_TOGETHER, 2 * FILLED_TOGETHER]


def test_an_index_is_full_when_the_next_event_has_the_oldest_forgotten() -> None:
    recent = QueueHistory(2)
    full = [recent.is_full]
    for number in range(2):
        recent.add(b"1", b"%d-0" % number, kind("active"))
        full.append(recent.is_full)
    assert full == [False, False, True]


@pytest.mark.parametrize(
    ("filled_down_to", "after", "has_all"), [(None, "9-0", False), ("2-0", "2-0", True), ("2-0", "1-9", False)]
)
def test_an_index_has_all_after_its_floor(filled_down_to: str | None, after: str, has_all: bool) -> None:
    recent = QueueHistory(2)
    if filled_down_to is not None:
        recent.reach_to(filled_down_to)
        recent.reach_to("1-0")
    assert recent.has_all_after(after) is has_all


@pytest.mark.long
def test_an_event_costs_what_the_documentation_says() -> None:
    """With four events for each job, an event takes about 130 bytes, with the ids."""
    kinds = [kind(event) for event in ("added", "waiting", "active", "completed")]
    history = filled(capacity=100_000)
    tracemalloc.start()
    for number in range(10_000):
        for order, each in enumerate(kinds):
            history.add(b"job-%d" % (1_000_000 + number), b"%d-%d" % (1795435729358 + number, order), each)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 60 < used / 40_000 < 160
