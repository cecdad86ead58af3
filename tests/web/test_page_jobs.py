"""What the page keeps of a queue's jobs, without a browser: what it looks up, drops and tries again."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from tests.support import require
from tests.support.node import NODE
from tests.support.page_server import ADAPTER

STATES: Final = ["waiting", "active", "delayed", "prioritized", "waiting-children", "completed", "failed"]
WAITS: Final[list[Any]] = ["redis", [["1", "waiting", "5-0"]]]
BEGINS: Final[list[list[Any]]] = [["event", "ack", ""], ["pass", 0]]
LOOK_MILLISECONDS: Final = 300


def play(*steps: list[Any]) -> dict[str, Any]:
    """Return what the page has after these steps. tests/node/page-jobs.mjs says what they are."""
    command = [require("node"), "--no-warnings", str(NODE / "page-jobs.mjs"), str(ADAPTER.parent / "page" / "jobs.js")]
    done = subprocess.run(command, input=json.dumps([steps]), capture_output=True, text=True, check=True, timeout=60)
    answer: dict[str, Any] = json.loads(done.stdout)
    return {**answer["played"][0], "limit": answer["limit"]}


def test_pages_are_read_three_at_a_time() -> None:
    played = play(WAITS, *BEGINS)
    assert (played["jobs"], played["asked"], played["most"]) == (["1 n1 waiting"], STATES, 3)


def test_events_that_are_no_state_make_no_job() -> None:
    assert play(*BEGINS, ["event", "my-event", "9", "6-0"])["jobs"] == []


def test_a_job_that_redis_does_not_have_is_dropped() -> None:
    event: list[Any] = ["event", "progress", "8", "6-0", {"data": 5}]
    assert play(*BEGINS, event)["jobs"] == ["8   5"]
    assert play(*BEGINS, event, ["pass", LOOK_MILLISECONDS])["jobs"] == []


def test_of_a_progress_only_what_a_row_shows_is_kept() -> None:
    progress = {"url": "https://a.example/b", "pages": [1, 2, 3, 4]}
    active: list[Any] = [
        "redis",
        [["1", "active", "5-0", {"progress": progress}], ["2", "active", "5-0", {"progress": 140}]],
    ]
    assert play(active, *BEGINS)["jobs"] == ["1 n1 active url: https://a.example/b…", "2 n2 active 100"]
    event: list[Any] = ["event", "progress", "2", "6-0", {"data": progress}]
    assert play(active, *BEGINS, event)["jobs"][1] == "2 n2 active url: https://a.example/b…"


def test_there_is_a_limit_also_of_jobs_that_have_not_ended() -> None:
    played = play(*BEGINS, ["many", "added", 10_500])
    assert (played["limit"], played["count"]) == (10_000, 9500)
    assert played["jobs"][0] == "m1000 x waiting"


def test_after_a_gap_jobs_in_no_page_are_looked_up() -> None:
    """One is gone, and the other one is corrected, though its last event is later than all of the new stream."""
    before: list[list[Any]] = [*BEGINS, ["event", "active", "1", "50-0"], ["event", "added", "2", "51-0"]]
    after: list[Any] = ["redis", [["1", "paused", "7-0"]]]
    played = play(WAITS, *before, after, ["forget"], ["event", "gap", ""], ["pass", LOOK_MILLISECONDS])
    assert played["jobs"] == ["1 n1 paused"]
    assert played["asked"] == [*STATES, 2]


def test_after_a_clean_jobs_that_are_gone_are_dropped() -> None:
    cleaned: list[list[Any]] = [["redis", []], ["event", "cleaned", ""], ["pass", LOOK_MILLISECONDS]]
    assert play(WAITS, *BEGINS, *cleaned)["jobs"] == []


def test_a_gap_while_a_page_is_read_is_not_forgotten() -> None:
    gap: list[list[Any]] = [["redis", []], ["event", "gap", ""], ["release"], ["pass", 0], ["pass", LOOK_MILLISECONDS]]
    played = play(WAITS, ["hold"], *BEGINS, *gap)
    assert played["jobs"] == []


def test_a_gap_while_jobs_are_looked_up_is_not_forgotten() -> None:
    event: list[Any] = ["event", "active", "1", "6-0"]
    looks: list[Any] = ["pass", LOOK_MILLISECONDS]
    gap: list[list[Any]] = [["redis", []], ["event", "gap", ""], ["release"], ["pass", 0], looks]
    played = play(*BEGINS, WAITS, event, ["hold"], looks, *gap)
    assert played["jobs"] == []


def test_a_page_that_cannot_be_read_is_tried_again() -> None:
    fails: list[list[Any]] = [WAITS, ["down", True], *BEGINS]
    assert play(*fails)["jobs"] == []
    assert play(*fails, ["pass", 500])["told"] == ["no Redis"]  # once
    assert play(*fails, ["down", False], ["pass", 500])["jobs"] == ["1 n1 waiting"]
    assert play(*fails, ["down", False], ["connect"], ["pass", 0])["jobs"] == ["1 n1 waiting"]


def test_a_look_up_that_fails_is_tried_again() -> None:
    event: list[Any] = ["event", "active", "8", "6-0"]
    fails: list[list[Any]] = [*BEGINS, ["down", True], event, ["pass", LOOK_MILLISECONDS], ["down", False]]
    assert play(*fails)["jobs"] == ["8  active"]
    assert play(*fails, ["pass", 500])["jobs"] == []
