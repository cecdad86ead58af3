"""The endpoints that return the state and result of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

from jobws.access.sights import sight_of
from jobws.bullmq.child_names import snapshot_without_child
from jobws.errors import RequestError
from jobws.protocol.http_resources import Jobs, Results
from jobws.protocol.identifiers import parse_job_id
from jobws.protocol.messages import ItemError, JobSnapshot, Result
from jobws.protocol.request_types import Room
from jobws.server.http.lookup_body import read_rooms
from jobws.server.http.request import body_text, json_answer, parameters
from jobws.server.http.rights import examined, identity_of, judged
from jobws.server.http.service import UNKNOWN_QUEUE
from jobws.server.http.wait import first_outcome, has_ended, parse_wait, with_outcome
from jobws.server.http.whole_event import whole_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.access.sights import AnySight
    from jobws.bullmq.snapshot import Found, Job
    from jobws.protocol.request_types import Sight, SubscriptionKey
    from jobws.server.http.service import Service


# To look up one job takes Redis some 10 µs, and all other clients of Redis wait meanwhile.
MAX_LOOKUPS: Final = 10_000


class JobLookups:
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
        """`GET /jobs?queue=&jobId=&event=`. This form serves ids with a slash, too.

        With `event`, the position of an event, the answer is this event whole, whatever its size; see `whole_event`.
        """
        asked = parameters(request, ("queue", "jobId", "event", "wait", "children"))
        if "jobId" not in asked:
            raise RequestError("bad-data", "`jobId`: expected ?jobId=, and optionally &queue=")
        queue, job_id = asked.get("queue"), parse_job_id(asked["jobId"])
        if "event" not in asked:
            return await self._job(request, Room(queue, job_id))
        if queue is None or "wait" in asked or "children" in asked:
            raise RequestError("bad-data", "`event`: expected &queue= beside it, and no &wait= or &children=")
        return await whole_event(self._service, queue, job_id, asked["event"], sight_of(identity_of(request)))

    async def _job(self, request: Request, room: Room) -> Response:
        """Return a job, or the list of jobs with this id if no queue is named.

        With `?wait=SECONDS`, this first waits until one of these jobs has ended, but for that time at most. Then it
        returns their present state. If there is no such job yet, this waits, too, since one may be added. With
        `?children=1`, the jobs below it in its flow are counted.

        Raises:
            RequestError: `unknown-job`: there is no such job, even after the wait; or the request is refused for
                another reason.
            RedisUnavailableError: Redis did not answer.
        """
        service, identity = self._service, identity_of(request)
        sight = sight_of(identity)
        asked = parameters(request, ("wait", "children"))
        seconds = parse_wait(asked.get("wait"), service.settings.max_wait_seconds)
        if "children" in asked and (asked["children"] not in ("1", "true") or room.queue is None):
            raise RequestError("bad-data", "`children` can only be 1 or true, and needs the job's `queue`")
        may_come = bool(seconds) and room.queue in service.nameable
        snapshots = await self._look_up(room, sight, may_come=may_come)
        if seconds and not has_ended(snapshots):
            outcome = await first_outcome(service, request, identity, room, seconds)
            before, snapshots = snapshots, await self._look_up(room, sight)
            if outcome is not None:
                snapshots = with_outcome(snapshots, outcome, room.job_id or "", before)
        if not snapshots:
            where = "any queue" if room.queue is None else f'queue "{room.queue}"'
            raise RequestError("unknown-job", f"no job of that id in {where}; it may have been removed")
        if "children" in asked:
            snapshots = await self._with_tree(request, room, snapshots)
        return json_answer(snapshots[0] if room.queue is not None else Jobs(snapshots))

    async def _with_tree(self, request: Request, room: Room, snapshots: Sequence[JobSnapshot]) -> list[JobSnapshot]:
        async def judge(examine: Callable[[Sight], object]) -> AnySight:
            return sight_of(await judged(request, lambda identity: examine(sight_of(identity))))

        trees = await self._service.trees.count([room], judge)
        return [structs.replace(each, tree=trees.get(room, UNSET)) for each in snapshots]

    async def _look_up(self, room: Room, sight: AnySight, *, may_come: bool = False) -> list[JobSnapshot]:
        """Return the present snapshots of the jobs of a room. A job that does not exist has none.

        Args:
            room: The job id, and the queue or None.
            sight: What the caller may read.
            may_come: Whether an unknown queue gives an empty list. Otherwise it is an error.

        Raises:
            RequestError: `unknown-queue`; or `unavailable`: Redis answered with an error for one of the jobs.
            RedisUnavailableError: Redis did not answer.
        """
        await self._service.find([] if room.queue is None else [room.queue])
        jobs = self._jobs_of(room, sight)
        if isinstance(jobs, ItemError):
            if may_come:
                return []
            raise RequestError(jobs.code, jobs.message)
        found = await self._service.look_up(jobs, results=True)
        return [
            each if sight.reads_children(each.queue, each.job_id) else snapshot_without_child(each)
            for each in _snapshots(found.get(job) for job in jobs)
        ]

    async def look_up(self, request: Request) -> Response:
        """`POST /lookup`: many jobs in one request. An error with one job is the result of this job alone."""
        service = self._service
        text = await body_text(request, service.body_limits)

        def read(sight: AnySight) -> Awaitable[Sequence[SubscriptionKey | ItemError]]:
            return read_rooms(text, service.nameable, service.settings.max_subscriptions, sight)

        sight = sight_of(await examined(request, service, read))
        rooms = await read(sight)
        await service.slow_down(request.scope, len(rooms))
        named = [room.queue for room in rooms if isinstance(room, Room)]
        if None in named:
            await service.find([])
        await service.find({queue for queue in named if queue is not None})
        # The list is made once, since discovery may add a queue during the look-up.
        asked = [room if isinstance(room, ItemError) else self._jobs_of(room, sight) for room in rooms]
        jobs = {job: None for item in asked if isinstance(item, list) for job in item}
        if len(jobs) > MAX_LOOKUPS:
            raise RequestError("too-many", f"{len(jobs)} look-ups (ids times queues); name the `queue` of each id")
        found = await service.look_up(jobs, results=False)
        return json_answer(Results([_result(item, found) for item in asked]))

    def _jobs_of(self, room: Room, sight: AnySight) -> list[Job] | ItemError:
        known, job_id = self._service.labels, room.job_id or ""
        if room.queue is None:
            return [(label, job_id) for label in sight.queues_of(job_id, known)]
        return [(room.queue, job_id)] if room.queue in known else UNKNOWN_QUEUE


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
