"""Small runs of the chaos test; `make chaos` does large ones. Seeds are fixed, but processes run as they like."""

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
    """Nobody is told of a gap where there is none, nor of an outcome once more because of it.

    Redis 6.2 cannot tell: test_without_counts.py says when.
    """
    if report.is_counted:
        assert (report.gaps, report.from_hash, report.repeated) == (0, 0, 0), report


async def test_no_outcome_is_lost_or_doubled_whatever_breaks() -> None:
    report = await run(SMALL)
    print(report)
    assert not report.wrong, report
    assert report.broken["Redis kills"]
    # What was lost was told as a gap, or found in the jobs' hashes. Few faults fit into six seconds on a busy machine.
    assert report.gaps or report.from_hash


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
    """Two processes, with nothing in common but Redis."""
    report = await run(SMALL._replace(harsh=False, bridges=2, only=("bridge kills",)))
    print(report)
    assert not report.wrong, report
    nothing_needless(report)
    assert report.broken["bridge kills"] >= 3


@pytest.mark.thorough
@pytest.mark.parametrize("harsh", [True, False])
async def test_the_adapter_in_node_gets_every_outcome_once(harsh: bool) -> None:
    """Over WebSocket, over HTTP alone, and from one to the other and back."""
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
    """So the harness can tell. Its clients come back, and join their rooms again.

    It does not die: on a busy machine Node takes longer to start than the jobs to be done, and nothing would be live.
    """
    await anyio.to_thread.run_sync(install_packages, OPPONENT, "socket.io")
    cut = ("clients cut", "all clients cut")
    report = await run(SMALL._replace(jobs=60, clients=4, seconds=4, harsh=False, kind="socketio", only=cut))
    print(report)
    assert len(report.lost) > 10, report
    assert report.frames["live"] > 10, report
    assert not report.trouble, report
