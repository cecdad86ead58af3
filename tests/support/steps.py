"""Does for the hub what tasks of the server do: finishes work that comes in short steps, and begins look-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.hub.jobs.query import Query

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from jobws.bullmq.snapshot import Job
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.pending import PendingSubscription


def do_all(steps: Iterator[object]) -> None:
    """Take all steps."""
    for _ in steps:
        pass


def ask_for(pending: PendingSubscription, labels: Collection[str], fanout: Fanout) -> Query:
    """Begin the look-up of a subscription, and return it. The caller must give it an answer."""
    query = Query(pending.present, labels, fanout)
    query.note_streams()
    return query


def jobs_of(query: Query) -> list[Job]:
    """Return the jobs that are looked up."""
    return [(queue, job_id) for queue, job_ids in query.job_ids.items() for job_id in job_ids]


def begin_again(fanout: Fanout, queue: str, reason: str, generated: str, oldest: str) -> tuple[str, str]:
    """Do what is done when entries of a stream were lost: begin to read it again, and send `gap` to all.

    Result and further arguments are those of `Fanout.begin_reread`.
    """
    start, floor = fanout.begin_reread(queue, generated, oldest)
    do_all(fanout.send_gap(queue, reason, floor))
    return start, floor
