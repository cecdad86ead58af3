"""The tables of `python -m tests.bench.page` say which targets a run misses."""

from __future__ import annotations

import pytest

from tests.bench.busy_page import Traced
from tests.bench.page import Minute, Watched, comparison, task_table
from tests.bench.viewer import Task


def row(lines: list[str], name: str) -> str:
    """Return the target's cell in the row with this name."""
    (line,) = [line for line in lines if line.startswith(f"| {name} |")]
    return line.split("|")[-2].strip()


@pytest.mark.parametrize(("delay", "wanted"), [(50, "≤ 50"), (51, "≤ 50, missed")])
def test_of_the_time_to_the_frame(delay: int, wanted: str) -> None:
    none = Minute(0, 0)
    found = [Watched([each] * 3, 0, 1, 1, none, none) for each in (delay, 2500)]
    assert row(comparison(found, 3), "`queue.add` → frame: p50, ms") == wanted


@pytest.mark.parametrize(
    ("rate", "cpu", "wanted"),
    [
        (500, 20, ["≥ 490", "≤ 50", "≤ 50, missed"]),
        (300, 20, ["≥ 490, missed", "≤ 50", "≤ 50, missed"]),
        (500, 51, ["≥ 490", "≤ 50, missed", "≤ 50, missed"]),
    ],
)
def test_of_the_tasks_and_of_the_events_in_them(rate: float, cpu: float, wanted: list[str]) -> None:
    lines = task_table([Traced(5000, rate, Task(cpu, 60), 60, 9, 0.3)] * 3)
    names = ("events a second", "the longest: CPU, ms", "the longest: until its end, ms")
    assert [row(lines, name) for name in names] == wanted
