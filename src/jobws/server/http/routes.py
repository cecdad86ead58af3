"""The routes of the HTTP interface (protocol.md §9), and the endpoints that return the state and result of jobs.

Clients use HTTP to submit jobs, and as a fallback in networks that block WebSockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.access.caller import ANYONE
from jobws.access.scope import Action
from jobws.access.visible import Sight
from jobws.errors import RequestError
from jobws.protocol.http_resources import Jobs, Results
from jobws.protocol.identifiers import parse_job_id
from jobws.protocol.messages import ItemError, JobSnapshot, Result
from jobws.protocol.request_types import Room
from jobws.protocol.requests import parse_rooms
from jobws.server.http.append_log import LogPosting
from jobws.server.http.job_events import EventStreams
from jobws.server.http.job_log import JobLogPages
from jobws.server.http.queues import QueueListing
from jobws.server.http.request import json_answer, json_body, parameters
from jobws.server.http.rights import CheckedRoute, identity_of, in_path, in_query, nothing, reads_a_queue, to
from jobws.server.http.service import UNKNOWN_QUEUE
from jobws.server.http.submit import Submitting
from jobws.server.http.wait import first_outcome, has_ended, parse_wait, with_outcome
from jobws.server.http.websocket_over_http import FrameStreams
from jobws.server.http.whoami import whoami

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.bullmq.snapshot import Found, Job
    from jobws.server.http.service import Service


# Looking up one job takes Redis some 10 µs, and all other clients of Redis wait meanwhile.
MAX_LOOKUPS: Final = 10_000


def routes(service: Service) -> list[CheckedRoute]:
    """Return the routes of the HTTP interface, except those of `health`, `openapi`, `static` and the metrics."""
    job_in_path, job_in_query = to(Action.READ_JOB, in_path), to(Action.READ_JOB, in_query)
    submit_in_path, submit_in_query = to(Action.SUBMIT, in_path), to(Action.SUBMIT, in_query)
    asking, submitting, queues = _Asking(service), Submitting(service), QueueListing(service)
    return [
        CheckedRoute("/jobs", asking.query, job_in_query, ["GET"]),
        CheckedRoute("/jobs", submitting.submit, submit_in_query, ["POST"]),
        CheckedRoute("/jobs/{queue}", submitting.submit, submit_in_path, ["POST"]),
        CheckedRoute("/jobs/{job_id}", asking.anywhere, job_in_path, ["GET"]),
        CheckedRoute("/jobs/{queue}/{job_id}", asking.one, job_in_path, ["GET"]),
        CheckedRoute("/jobs/{queue}/{job_id}/logs", JobLogPages(service).path, job_in_path, ["GET"]),
        CheckedRoute("/job-logs", JobLogPages(service).query, job_in_query, ["GET"]),
        CheckedRoute("/analyze/{queue}", submitting.analyze, submit_in_path, ["POST"]),
        CheckedRoute("/lookup", asking.look_up, to(Action.READ_JOB), ["POST"]),
        CheckedRoute("/events", EventStreams(service).events, to(Action.READ_JOB), ["GET"]),
        CheckedRoute("/events", FrameStreams(service).frames, to(Action.ADMIN), ["POST"]),
        CheckedRoute("/logs", LogPosting(service).post, to(Action.WRITE_LOGS), ["POST"]),
        CheckedRoute("/whoami", whoami, nothing, ["GET"]),
        CheckedRoute("/queues", queues.queues, reads_a_queue, ["GET"]),
        CheckedRoute("/queues/{queue}/jobs", queues.jobs, job_in_path, ["GET"]),
    ]


class _Asking:
    """The endpoints that return the state and result of jobs."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def one(self, request: Request) -> Response:
        """`GET /jobs/{queue}/{jobId}`."""
        room = Room(request.path_params["queue"], parse_job_id(request.path_params["job_id"]))
        return await self._job(request, room)

    async def anywhere(self, request: Request) -> Response:
        """`GET /jobs/{jobId}`."""
        return await self._job(request, Room(None, parse_job_id(request.path_params["job_id"])))

    async def query(self, request: Request) -> Response:
        """`GET /jobs?queue=&jobId=`. This form serves ids with a slash, too."""
        asked = parameters(request, ("queue", "jobId"))
        if "jobId" not in asked:
            raise RequestError("bad-data", "`jobId`: expected ?jobId=, and optionally &queue=")
        return await self._job(request, Room(asked.get("queue"), parse_job_id(asked["jobId"])))

    async def _job(self, request: Request, room: Room) -> Response:
        """Return a job, or the list of jobs with this id if no queue is named. `?wait=` waits until it has ended."""
        service = self._service
        seconds = parse_wait(parameters(request, ("wait",)).get("wait"), service.settings.max_wait_seconds)
        may_come = bool(seconds) and room.queue in service.nameable
        snapshots = await self._look_up(room, may_come=may_come)
        if seconds and not has_ended(snapshots):
            outcome = await first_outcome(service, request, identity_of(request), room, seconds)
            before, snapshots = snapshots, await self._look_up(room)
            if outcome is not None:
                snapshots = with_outcome(snapshots, outcome, room.job_id or "", before)
        if not snapshots:
            where = "any queue" if room.queue is None else f'queue "{room.queue}"'
            raise RequestError("unknown-job", f"no job of that id in {where}; it may have been removed")
        return json_answer(snapshots[0] if room.queue is not None else Jobs(snapshots))

    async def _look_up(self, room: Room, *, may_come: bool = False) -> list[JobSnapshot]:
        """Return the present snapshots of the jobs of a room.

        Args:
            room: The job id, and the queue or None.
            may_come: Whether an unknown queue gives an empty list. Otherwise it is an error.

        Raises:
            RequestError: `unknown-queue`, or a job could not be looked up.
            RedisUnavailableError: Redis did not answer.
        """
        await self._service.find([] if room.queue is None else [room.queue])
        jobs = self._jobs_of(room)
        if isinstance(jobs, ItemError):
            if may_come:
                return []
            raise RequestError(jobs.code, jobs.message)
        found = await self._service.look_up(jobs, results=True)
        return _snapshots(found.get(job) for job in jobs)

    async def look_up(self, request: Request) -> Response:
        """`POST /lookup`: many jobs in one request. An error with one job is the result of this job alone."""
        service = self._service
        body = await json_body(request, service.body_limits)
        rooms = parse_rooms(body, service.nameable, service.settings.max_subscriptions, Sight(ANYONE))
        named = [room.queue for room in rooms if isinstance(room, Room)]
        if None in named:
            await service.find([])
        await service.find({queue for queue in named if queue is not None})
        # The list is made once, since discovery may add a queue during the look-up.
        asked = [room if isinstance(room, ItemError) else self._jobs_of(room) for room in rooms]
        jobs = {job: None for item in asked if isinstance(item, list) for job in item}
        if len(jobs) > MAX_LOOKUPS:
            raise RequestError("too-many", f"{len(jobs)} look-ups (ids times queues); name the `queue` of each id")
        found = await service.look_up(jobs, results=False)
        return json_answer(Results([_result(item, found) for item in asked]))

    def _jobs_of(self, room: Room) -> list[Job] | ItemError:
        known = self._service.labels
        if room.queue is not None and room.queue not in known:
            return UNKNOWN_QUEUE
        return [(label, room.job_id or "") for label in (known if room.queue is None else (room.queue,))]


def _result(item: list[Job] | ItemError, found: Found) -> Result:
    if isinstance(item, ItemError):
        return Result(error=item)
    try:
        return Result(jobs=_snapshots(found.get(job) for job in item))
    except RequestError as error:
        return Result(error=ItemError(error.code, error.message))


def _snapshots(found: Iterable[JobSnapshot | ItemError | None]) -> list[JobSnapshot]:
    snapshots = []
    for each in found:
        if isinstance(each, ItemError):
            raise RequestError(each.code, each.message)
        if each is not None:
            snapshots.append(each)
    return snapshots
