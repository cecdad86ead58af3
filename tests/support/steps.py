"""What the hub leaves to others: work in short steps, done to its end, and what a subscription has looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.hub.jobs.query import Query

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from jobws.bullmq.snapshot import Job
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.subscription import PendingSubscription


def do_all(steps: Iterator[None]) -> None:
    """Take all of them."""
    for _ in steps:
        pass


def ask_for(pending: PendingSubscription, labels: Collection[str], fanout: Fanout) -> Query:
    """What a subscription looks up, asked now; it must be given the answer."""
    query = Query(pending.rooms, labels, fanout)
    query.ask()
    return query


def jobs_of(query: Query) -> list[Job]:
    """What is looked up."""
    return [(queue, job_id) for queue, job_ids in query.job_ids.items() for job_id in job_ids]


def begin_again(fanout: Fanout, queue: str, reason: str, generated: str, oldest: str) -> tuple[str, str]:
    """A hole is found: see `Fanout.begin_again`. All are told."""
    start, floor = fanout.begin_reread(queue, reason, generated, oldest)
    do_all(fanout.send_gap(queue, reason, floor))
    return start, floor
