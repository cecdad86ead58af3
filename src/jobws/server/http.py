"""The same over HTTP: submit a job, ask for its state and result. The fallback where no WebSocket gets through."""

from __future__ import annotations

import hashlib
import re
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlencode

import msgspec
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobws.errors import RequestError
from jobws.protocol.codec import decode_json
from jobws.protocol.identifiers import parse_job_id, type_name
from jobws.protocol.messages import ItemError, JobSnapshot, Room
from jobws.protocol.requests import parse_rooms
from jobws.server.problems import refuse_encoded_slash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from starlette.requests import Request

    from jobws.bullmq.keys import Queue
    from jobws.bullmq.snapshot import Found, Job
    from jobws.server.settings import Settings

# BullMQ's options that a stranger may set; the others tie jobs together or change whole queues.
OPTIONS: Final = frozenset(
    {"attempts", "backoff", "delay", "keepLogs", "lifo", "priority", "removeOnComplete", "removeOnFail"}
)
DEFAULT_NAME: Final = "job"
_INTEGER: Final = re.compile(r"-?\d+", re.ASCII)


class Service(Protocol):
    """What the routes need of the bridge."""

    settings: Settings

    @property
    def labels(self) -> Mapping[str, Queue]:
        """The queues by label."""
        ...

    async def look_up(self, jobs: Collection[Job], *, results: bool) -> Found:
        """See `Store.look_up`."""
        ...

    async def submit(self, queue: Queue, name: str, data: object, job_id: str, opts: Mapping[str, object]) -> None:
        """See `Submitter.add`."""
        ...


def routes(service: Service) -> list[Route]:
    """The routes of `service`."""
    endpoints = _Endpoints(service)
    return [
        Route("/jobs", endpoints.query, methods=["GET"]),
        Route("/jobs/{queue}", endpoints.submit, methods=["POST"]),
        Route("/jobs/{job_id}", endpoints.anywhere, methods=["GET"]),
        Route("/jobs/{queue}/{job_id}", endpoints.one, methods=["GET"]),
        Route("/analyze/{queue}", endpoints.analyze, methods=["POST"]),
        Route("/lookup", endpoints.look_up, methods=["POST"]),
    ]


class _Endpoints:
    def __init__(self, service: Service) -> None:
        self._service = service

    # ---- asking ----

    async def one(self, request: Request) -> Response:
        refuse_encoded_slash(request)
        return await self._job(Room(request.path_params["queue"], parse_job_id(request.path_params["job_id"])))

    async def anywhere(self, request: Request) -> Response:
        refuse_encoded_slash(request)
        return await self._job(Room(None, parse_job_id(request.path_params["job_id"])))

    async def query(self, request: Request) -> Response:
        job_id = request.query_params.get("jobId")
        if job_id is None:
            raise RequestError("bad-data", "expected ?jobId=, and optionally &queue=")
        return await self._job(Room(request.query_params.get("queue"), parse_job_id(job_id)))

    async def _job(self, room: Room) -> Response:
        """The job of that id, or with no queue named, the list of all that have it."""
        jobs = list(self._jobs_of(room))
        found = await self._service.look_up(jobs, results=True)
        snapshots = _snapshots(found[job] for job in jobs)
        if not snapshots:
            where = "any queue" if room.queue is None else f'queue "{room.queue}"'
            raise RequestError("unknown-job", f"no job of that id in {where}; it may have been removed")
        return _json(snapshots[0] if room.queue is not None else {"jobs": snapshots})

    async def look_up(self, request: Request) -> Response:
        service = self._service
        rooms = parse_rooms(await self._json(request), service.labels, service.settings.max_subscriptions)
        jobs = {job: None for room in rooms if isinstance(room, Room) for job in self._jobs_of(room)}
        found = await service.look_up(jobs, results=False)
        results: list[dict[str, object]] = [
            {"error": room}
            if isinstance(room, ItemError)
            else {"jobs": _snapshots(found[job] for job in self._jobs_of(room))}
            for room in rooms
        ]
        return _json({"results": results})

    def _jobs_of(self, room: Room) -> Iterable[Job]:
        if room.queue is not None:
            self._queue(room.queue)
        labels = self._service.labels if room.queue is None else (room.queue,)
        return [(label, room.job_id or "") for label in labels]

    # ---- submitting ----

    async def submit(self, request: Request) -> Response:
        body = await self._json(request)
        if not isinstance(body, dict) or "data" not in body:
            raise RequestError("bad-data", "expected an object with `data`, and optionally `name`, `jobId` and `opts`")
        name = body.get("name", DEFAULT_NAME)
        if not isinstance(name, str) or not name:
            raise RequestError("bad-data", f"`name` must be a non-empty string, not {type_name(name)}")
        return await self._add(request, name, body["data"], body.get("jobId"), _options(body.get("opts")))

    async def analyze(self, request: Request) -> Response:
        return await self._add(request, DEFAULT_NAME, await self._json(request), None, {})

    async def _add(
        self, request: Request, name: str, data: object, wanted_id: object, opts: Mapping[str, object]
    ) -> Response:
        queue = self._queue(request.path_params["queue"])
        job_id = _new_id(queue.label, wanted_id, request.headers.get("idempotency-key"))
        job = (queue.label, job_id)
        existing = (await self._service.look_up([job], results=False))[job] is not None
        await self._service.submit(queue, name, data, job_id, opts)
        query = urlencode({"queue": queue.label, "jobId": job_id})
        links = {"job": f"{request.scope.get('root_path', '')}/jobs?{query}"}
        content = {"queue": queue.label, "jobId": job_id, "existing": existing, "links": links}
        return JSONResponse(content, 202)

    def _queue(self, label: str) -> Queue:
        queue = self._service.labels.get(label)
        if queue is None:
            raise RequestError("unknown-queue", "this bridge has no queue of that label; see `hello`")
        return queue

    async def _json(self, request: Request) -> object:
        """The body's JSON value. Only `application/json`: a form of a foreign page cannot send that unasked."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RequestError("bad-content-type", "expected the content type application/json")
        limit = self._service.settings.max_body_bytes
        body = bytearray()
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > limit:
                    raise RequestError("too-large", f"a body may have {limit} bytes")
        try:
            return decode_json(body.decode())
        except UnicodeDecodeError:
            raise RequestError("bad-json", "expected JSON in UTF-8") from None


def _new_id(queue: str, wanted: object, key: str | None) -> str:
    """The id of a new job: the caller's, or derived from its Idempotency-Key, or random.

    Node's BullMQ refuses more ids than its Python package does (src/classes/job.ts, validateOptions).
    """
    if wanted is not None:
        if not isinstance(wanted, str):
            raise RequestError("bad-job-id", f"`jobId` must be a string, not {type_name(wanted)}")
        job_id = parse_job_id(wanted)
        if _INTEGER.fullmatch(job_id) or ":" in job_id:
            raise RequestError("bad-job-id", "`jobId` must be no integer and hold no colon: BullMQ refuses both")
        return job_id
    if key is not None:
        digest = hashlib.sha256(f"{queue}\n{key}".encode()).hexdigest()
        return f"key-{digest[:40]}"
    return str(uuid.uuid4())


def _options(value: object) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError("bad-data", f"`opts` must be an object, not {type_name(value)}")
    unknown = sorted(value.keys() - OPTIONS)
    if unknown:
        raise RequestError(
            "bad-data", f"`opts.{unknown[0]}` cannot be set here; possible are {', '.join(sorted(OPTIONS))}"
        )
    return value


def _snapshots(found: Iterable[JobSnapshot | ItemError | None]) -> list[JobSnapshot]:
    snapshots = []
    for each in found:
        if isinstance(each, ItemError):
            raise RequestError(each.code, each.message)
        if each is not None:
            snapshots.append(each)
    return snapshots


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
