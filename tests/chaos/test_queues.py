"""A few queues appear, are obliterated and come back. `make chaos ARGS="--only queues"` has forty of them."""

from __future__ import annotations

import pytest

from tests.chaos.appendonly import Added, Streams
from tests.chaos.run import run
from tests.chaos.watcher import Claim, Watch
from tests.chaos.world import Plan

# No restarts of bridges, which the large run has: on a busy machine, a new bridge would see little of this short run.
FAULTS = ("clients cut", "all clients cut", "clients paused", "Redis unreachable")
SMALL = Plan(seed=2, jobs=0, clients=4, seconds=0, only=FAULTS).with_queues(8, 14)
FIRST = [Added(f"{number}-0", stream=0) for number in (1, 2, 3, 5, 6)]
SECOND = [Added(f"{number}-0", stream=1) for number in (11, 12)]


@pytest.mark.long
@pytest.mark.thorough
async def test_no_outcome_is_lost_and_no_gap_is_missing_in_queues_that_come_and_go() -> None:
    report = await run(SMALL)
    print(report)
    assert not report.wrong, report
    # Some entries were trimmed before the bridge could read them.
    assert report.watched["told as missing"]
    assert report.frames["from hash"]


def watched(*told: int | str, begin: str = "1-0") -> Watch:
    """Return a watch that got events, given by numbers, and `pong 3` or `gap 3`, which are about the events up to 3."""
    watch = Watch("", begin)
    for each in told:
        if isinstance(each, int):
            watch.got.append(f"{each}-0")
            continue
        frame, number = each.split()
        watch.claims.append(Claim("gap" if frame == "gap" else "pong", f"{number}-0", len(watch.got)))
    return watch


@pytest.mark.parametrize(
    ("watch", "silent", "needless"),
    [
        (watched(2, 3, 5, 6, "pong 6"), 0, 0),
        (watched(2, 3, 6, "pong 6"), 1, 0),
        (watched(2, 3, 6, "gap 6", "pong 6"), 0, 0),
        (watched(2, "pong 3", 5, 6, "gap 6"), 1, 1),
        (watched(2, 3, 5, "gap 5", 6, "pong 6"), 0, 1),
        (watched(2, 3), 0, 0),
        (watched(2, 3, 5, 6, "gap 8", 11, 12, "pong 12"), 0, 1),
        (watched(2, 3, "gap 8", 11, 12, "pong 12"), 0, 0),
        (watched(2, 3, 11, 12, "pong 12"), 1, 0),
        (watched(2, 3, "gap 8", 12, "pong 12"), 1, 0),
        (watched(6, "pong 6", begin="6-0"), 0, 0),
    ],
)
def test_what_a_pong_says_without_it_is_silent(watch: Watch, silent: int, needless: int) -> None:
    found = watch.judge(FIRST + SECOND)
    assert len(found.silent) == silent, found
    assert found.counts["needless"] == needless, found


@pytest.mark.parametrize(
    ("watch", "doubles", "wrong"),
    [
        (watched(2, 3, 3), 1, 0),
        (watched(3, 2), 0, 1),
        (watched(3, "gap 3", 2), 0, 0),
        (watched(1, 2), 0, 1),
        (watched(2, 7), 0, 1),
        (watched(2, "pong 3", 3), 0, 1),
    ],
)
def test_events_come_once_in_order_and_before_the_pong_that_says_so(watch: Watch, doubles: int, wrong: int) -> None:
    found = watch.judge(FIRST + SECOND)
    assert (len(found.doubles), len(found.wrong)) == (doubles, wrong), found


def test_what_redis_writes_to_its_file_is_what_its_streams_had() -> None:
    streams = Streams()
    for command in (
        "XADD bull:a:events MAXLEN = 20 5-1 event added jobId 7",
        "XADD bull:a:events NOMKSTREAM 5-2 event drained",
        "XTRIM bull:a:events MAXLEN = 0",
        "DEL bull:a:id bull:a:events",
        "XADD bull:a:events 6-0 event added jobId events",
        "XADD other 6-0 event added jobId 7",
    ):
        streams.take(command.encode().split())
    assert streams.entries == {"a": [Added("5-1", 0), Added("5-2", 0), Added("6-0", 1)]}
    assert streams.present == {"a": 1}
