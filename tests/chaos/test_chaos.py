"""Small runs of the chaos test. `make chaos` does large ones. Seeds are fixed, but the timing of processes is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from tests.bench.servers import OPPONENT
from tests.chaos.run import run
from tests.chaos.world import Plan
from tests.support import require
from tests.support.node import install_packages

if TYPE_CHECKING:
    from tests.chaos.report import Report

pytestmark = pytest.mark.long

SMALL = Plan(seed=3, jobs=120, clients=6, seconds=6)


def nothing_needless(report: Report) -> None:
    """Check that no client got a `gap` without a reason, or an outcome again because of it.

    With Redis 6.2 this cannot be avoided; test_without_counts.py says when.
    """
    if report.is_counted:
        assert (report.gaps, report.from_hash, report.repeated) == (0, 0, 0), report


async def test_no_outcome_is_lost_or_doubled_whatever_breaks() -> None:
    report = await run(SMALL)
    print(report)
    assert not report.wrong, report
    # Whether there was a gap depends on the moments of the few faults that fit into six seconds.
    assert report.broken["Redis kills"]


@pytest.mark.thorough
async def test_while_redis_keeps_everything_there_are_no_gaps_and_every_outcome_has_its_id() -> None:
    report = await run(SMALL._replace(harsh=False))
    print(report)
    assert not report.wrong, report
    nothing_needless(report)
    assert report.frames["live"]
    assert report.frames["replayed"]


@pytest.mark.thorough
async def test_clients_move_from_a_bridge_that_dies_to_another_one() -> None:
    """The two processes share only Redis."""
    report = await run(SMALL._replace(harsh=False, bridges=2, only=("bridge kills",)))
    print(report)
    assert not report.wrong, report
    nothing_needless(report)
    assert report.broken["bridge kills"] >= 3


@pytest.mark.thorough
@pytest.mark.parametrize("harsh", [True, False])
async def test_the_adapter_in_node_gets_every_outcome_once(harsh: bool) -> None:
    """Clients use WebSockets, only HTTP, or change from one to the other and back."""
    require("node")
    report = await run(SMALL._replace(harsh=harsh, kinds=("javascript",)))
    print(report)
    assert not report.wrong, report
    assert report.frames["by websocket"]
    assert report.frames["by sse"]
    assert report.frames["by hand"]
    if not harsh:
        nothing_needless(report)


@pytest.mark.thorough
async def test_the_bridge_that_jobws_replaces_loses_outcomes() -> None:
    """This shows that the test can find losses. The clients connect again and join their rooms again.

    The bridge is not killed: on a busy machine, Node takes longer to start than the jobs take, so nothing would come
    live.
    """
    await anyio.to_thread.run_sync(install_packages, OPPONENT, "socket.io")
    cut = ("clients cut", "all clients cut")
    report = await run(SMALL._replace(jobs=60, clients=4, seconds=4, harsh=False, kind="socketio", only=cut))
    print(report)
    assert len(report.lost) > 10, report
    assert report.frames["live"] > 10, report
    assert not report.trouble, report
