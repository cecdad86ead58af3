"""The endpoints that act on jobs and queues: retry, promote, remove, pause, resume. Each action has an audit line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from jobws.access.identity import allows
from jobws.access.scope import Action
from jobws.bullmq.family import job_of, labels_by_front
from jobws.bullmq.nested_queues import HasKeysOfQueue
from jobws.bullmq.scripts import unknown_job
from jobws.errors import RedisUnavailableError, RequestError
from jobws.protocol.http_resources import Acted
from jobws.protocol.identifiers import parse_job_id
from jobws.protocol.messages import ItemError
from jobws.server.http.request import json_answer, parameters
from jobws.server.http.rights import identity_of, in_path, judged, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.access.identity import Identity
    from jobws.bullmq.keys import Queue
    from jobws.bullmq.snapshot import Job
    from jobws.server.http.service import Service

# How often to look again at a flow that changes while it is to be removed.
_ATTEMPTS: Final = 5

_log: Final = logging.getLogger(__name__)


class Asked(NamedTuple):
    """What a request asks for: an action, on a queue or on a job of it."""

    action: Action
    queue: str | None
    job_id: str | None


# By the names that `POST /actions` takes. The first three need a job.
ACTIONS: Final[dict[str, Action]] = {
    "retry": Action.RETRY_JOB,
    "promote": Action.PROMOTE_JOB,
    "remove": Action.REMOVE_JOB,
    "retry-failed": Action.RETRY_QUEUE,
    "pause": Action.PAUSE_QUEUE,
    "resume": Action.RESUME_QUEUE,
}
_OF_JOBS: Final = frozenset({Action.RETRY_JOB, Action.PROMOTE_JOB, Action.REMOVE_JOB})


def may_as_asked(identity: Identity, request: Request) -> bool:
    """Whether an identity may do what the query of `POST /actions` asks for.

    Without a known `action`, only an admin passes. It learns from `in_actions_query` what is wrong. Without `queue`,
    the right must be for all queues, and without `jobId` for all jobs of the queue. Raises RequestError (`bad-data`) if
    one of the three is given twice.
    """
    asked = parameters(request, ("action", "queue", "jobId"))
    action = ACTIONS.get(asked.get("action", ""), Action.ADMIN)
    return allows(identity, action, asked.get("queue"), asked.get("jobId"))


def in_actions_query(request: Request) -> Asked:
    """Return what a request of the form `POST /actions?action=&queue=&jobId=` asks for.

    Raises:
        RequestError: `bad-data`. Something is missing, or given twice, or does not belong to the action.
    """
    asked = parameters(request, ("action", "queue", "jobId"))
    action = ACTIONS.get(asked.get("action", ""))
    if action is None:
        raise RequestError("bad-data", f"`action` can only be {', '.join(ACTIONS)}")
    if "queue" not in asked or ("jobId" in asked) != (action in _OF_JOBS):
        expected = "&jobId=…" if action in _OF_JOBS else ", and no jobId, since the action is about the queue"
        raise RequestError("bad-data", f"expected ?action={asked['action']}&queue=…{expected}")
    return Asked(action, asked["queue"], asked.get("jobId"))


def _with_children(request: Request, action: Action) -> bool:
    children = parameters(request, ("children",)).get("children")
    if children is not None and (children not in ("1", "true") or action is not Action.REMOVE_JOB):
        raise RequestError("bad-data", "`children` can only be 1 or true, and only where a job is removed")
    return children is not None


class AuditLine(Struct, rename="camel"):
    """The line of the log about an action, as JSON.

    `sub` is null if the token has no holder, or the bridge no keys. `children` is true if the jobs below the job were
    to be removed, too, and absent otherwise. `outcome` is `done`, or the code of the error; `unknown` if the action may
    have been done.
    """

    sub: str | None
    action: str
    queue: str | None
    job_id: str | None
    children: Literal[True] | UnsetType
    outcome: str


class Acting:
    """The endpoints that act on jobs and queues."""

    def __init__(self, service: Service) -> None:
        self._service = service
        actions = service.actions
        self._on_jobs = {
            Action.RETRY_JOB: actions.retry,
            Action.PROMOTE_JOB: actions.promote,
            Action.REMOVE_JOB: actions.remove,
        }
        self._on_queues: dict[Action, Callable[[Queue], Awaitable[int | None]]] = {
            Action.RETRY_QUEUE: service.failed_jobs.retry,
            Action.PAUSE_QUEUE: actions.pause,
            Action.RESUME_QUEUE: actions.resume,
        }

    async def path(self, action: Action, request: Request) -> Response:
        """`POST /jobs/{queue}/{jobId}/retry`, `POST /queues/{queue}/pause`, and so on."""
        return await self._audited(request, Asked(action, *in_path(request)))

    async def query(self, request: Request) -> Response:
        """`POST /actions?action=&queue=&jobId=`. This form serves queues and ids with a slash, too."""
        return await self._audited(request, in_actions_query(request))

    async def _audited(self, request: Request, asked: Asked) -> Response:
        if not self._service.takes_actions:
            raise RequestError("forbidden", "this bridge takes no actions: it has neither keys nor --allow-actions")
        children = _with_children(request, asked.action)
        outcome = "unknown"
        try:
            acted = await self._act(request, asked, children=children)
            outcome = "done"
        except RequestError as error:
            outcome = error.code
            raise
        finally:
            action, queue, job_id = asked
            line = AuditLine(identity_of(request).sub, action.value, queue, job_id, children or UNSET, outcome)
            text = msgspec.json.encode(line).decode()
            _log.info("audit %s", text, extra={"queue": queue, "jobId": job_id})
        return json_answer(acted, 200 if acted.failed is UNSET else 202)

    async def _act(self, request: Request, asked: Asked, *, children: bool) -> Acted:
        job_id = None if asked.job_id is None else parse_job_id(asked.job_id)
        queue = await self._service.queue(asked.queue or "")
        if job_id is None:
            failed = await self._on_queues[asked.action](queue)
            return Acted(queue.label, failed=UNSET if failed is None else failed)
        await self._check_exists(queue, job_id)
        if asked.action is Action.REMOVE_JOB:
            await self._check_keys(queue, job_id)
        if children:
            await self._remove_flow(request, queue, job_id)
        else:
            await self._on_jobs[asked.action](queue, job_id)
        return Acted(queue.label, job_id)

    async def _check_exists(self, queue: Queue, job_id: str) -> None:
        """Check that the key of the job is that of a job, since BullMQ's script would remove any key.

        Raises:
            RequestError: `unknown-job`, or Redis cannot tell.
        """
        job = (queue.label, job_id)
        found = (await self._service.look_up([job], results=False)).get(job)
        if isinstance(found, ItemError):
            raise RequestError(found.code, found.message)
        if found is None:
            raise unknown_job(queue)

    async def _check_keys(self, queue: Queue, job_id: str) -> None:
        """Check that no keys of another queue would be removed with the job.

        Raises:
            RequestError: `bad-state-for-action`.
            RedisUnavailableError: Redis does not tell.
        """
        if await self._service.ask(HasKeysOfQueue(queue, job_id)):
            raise RequestError(
                "bad-state-for-action",
                "the keys of another queue begin with those of the job, so they would be removed",
            )

    async def _remove_flow(self, request: Request, queue: Queue, job_id: str) -> None:
        """Remove a job with all jobs below it, if the caller may remove each of them. Otherwise remove nothing.

        If jobs are added below it meanwhile, this begins again, up to 5 times in all.

        Raises:
            RequestError: `forbidden`; `bad-state-for-action`: also if a job below it is of a queue that the bridge does
                not serve; and what `remove_flow` and `judged` raise.
            RedisUnavailableError: Redis did not answer, or jobs were added each time.
        """
        actions = self._service.actions
        for _ in range(_ATTEMPTS):
            below = await actions.descendants(queue, job_id)
            labels = labels_by_front(self._service.labels.values())
            places = [job_of(key, labels) for key in below]

            # A job of a queue that the bridge does not serve needs the right for every queue.
            def may(identity: Identity, places: Sequence[Job | None] = places) -> list[bool]:
                return [allows(identity, Action.REMOVE_JOB, *(place or (None, None))) for place in places]

            if not all(may(await judged(request, may))):
                raise refusal("forbidden")
            if None in places:
                raise RequestError(
                    "bad-state-for-action",
                    "a job below it is of a queue that this bridge does not serve, or has an id with a colon",
                )
            if await actions.remove_flow(queue, job_id, below):
                return
        raise RedisUnavailableError("jobs are added below the job all the time; ask again")
