"""What the hub leaves to others: work in short steps, done to its end, and what a subscription has looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobws.bullmq.snapshot import Job
    from jobws.hub.joining import Join


def do_all(steps: Iterator[None]) -> None:
    """Take all of them."""
    for _ in steps:
        pass


def jobs_of(join: Join) -> list[Job]:
    """What a subscription has looked up."""
    return [(queue, job_id) for queue, job_ids in join.job_ids.items() for job_id in job_ids]
