"""The endpoints that list queues with their counts, and the jobs of a queue that are in one state, page by page."""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, Final

from jobws.access.identity import allows
from jobws.access.scope import Action
from jobws.bullmq.listing import page
from jobws.errors import RequestError
from jobws.protocol.http_resources import JobPage, QueueList, QueueStatus
from jobws.protocol.messages import NAMED_QUEUES, JobSnapshot
from jobws.server.http.request import json_answer, parameters
from jobws.server.http.rights import identity_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.server.http.service import Service

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200


class QueueListing:
    """The endpoints `GET /queues`, `GET /queues/{queue}/jobs` and `GET /queue-jobs`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def queues(self, request: Request) -> Response:
        """`GET /queues?limit=&cursor=`: a page of the queues whose counts the caller may read, with these counts.

        The queues are sorted by their labels, as strings. A page begins with the first label after `cursor`. So queues
        that appear or vanish between two pages make no other queue come twice or be left out.
        """
        asked = parameters(request, ("limit", "cursor"))
        limit, cursor = _limit(asked.get("limit"), NAMED_QUEUES), asked.get("cursor", "")
        known, problems, identity = self._service.labels, self._service.problems(), identity_of(request)
        further = (label for label in known if label > cursor and allows(identity, Action.READ_QUEUE, label))
        labels = nsmallest(limit + 1, further)
        statuses = []
        for label, queue in [(label, known[label]) for label in labels[:limit]]:
            seen, stats = await self._service.numbers(queue)
            statuses.append(
                QueueStatus(
                    queue=label,
                    found=seen.found,
                    paused=seen.paused,
                    counts=seen.counts,
                    oldest_waiting_seconds=stats.oldest_waiting_seconds,
                    completed_per_minute=stats.completed_per_minute,
                    failed_per_minute=stats.failed_per_minute,
                    workers=stats.workers,
                    events=seen.length,
                    max_events=seen.max_length,
                    retention_seconds=seen.retention_seconds,
                    problem=problems.get(label),
                )
            )
        return json_answer(QueueList(statuses, labels[limit - 1] if len(labels) > limit else None))

    async def jobs_in_path(self, request: Request) -> Response:
        """`GET /queues/{queue}/jobs?state=&limit=&cursor=`: a page of the queue's jobs that are in one state."""
        return await self._jobs(request, request.path_params["queue"])

    async def jobs_in_query(self, request: Request) -> Response:
        """`GET /queue-jobs?queue=&state=&limit=&cursor=`. This form serves labels with a slash, too."""
        label = parameters(request, ("queue",)).get("queue")
        if label is None:
            raise RequestError("bad-data", "expected ?queue=…&state=…")
        return await self._jobs(request, label)

    async def _jobs(self, request: Request, label: str) -> Response:
        """Return a page of the jobs of a queue that are in one state.

        A request without `state` is refused. Which job comes first depends on the state: of `waiting`, `prioritized`
        and `delayed` the job that is to run last, of `active` and `waiting-children` the one that came into the state
        last, and of `completed` and `failed` the one that ended last.

        The ids are read before the jobs. A job that changes its state between these reads is returned in its new state,
        and one that is removed is left out. So a page may have fewer than `limit` jobs although others follow. Only a
        `cursor` of null in the answer says that nothing follows.
        """
        queue = await self._service.queue(label)
        asked = parameters(request, ("state", "limit", "cursor"))
        query = page(queue, asked.get("state"), _limit(asked.get("limit"), DEFAULT_LIMIT), asked.get("cursor"))
        job_ids, cursor = await self._service.ask(query)
        jobs = [(queue.label, job_id) for job_id in job_ids]
        found = await self._service.look_up(jobs, results=False)
        return json_answer(JobPage([each for job in jobs if isinstance(each := found.get(job), JobSnapshot)], cursor))


def _limit(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        raise RequestError("bad-data", f"`limit` must be an integer from 1 to {MAX_LIMIT}")
    return int(text)
