"""The endpoints that add a job, and how the id of a new job is chosen."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET

from jobws.access.caller import ANYONE
from jobws.access.identity import allows
from jobws.access.scope import Action
from jobws.bullmq.nested_queues import HasKeysOfQueue
from jobws.errors import RequestError
from jobws.protocol.http_resources import DEFAULT_NAME, Links, NewJob, Submitted
from jobws.protocol.identifiers import is_text, parse_job_id
from jobws.protocol.job_path import job_path
from jobws.server.http.job_token import job_token
from jobws.server.http.request import json_answer, json_body, parameters
from jobws.server.http.rights import judged, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.access.identity import Identity
    from jobws.bullmq.keys import Queue
    from jobws.server.authentication import Sign
    from jobws.server.http.service import Service

_INTEGER: Final = re.compile(r"-?\d+", re.ASCII)


class _LargeJob(NewJob):
    """A new job in a large body. Its data is kept as the JSON that came, since decoding it would take long."""

    data: msgspec.Raw


class Submitting:
    """The endpoints that add jobs."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def submit(self, request: Request) -> Response:
        """`POST /jobs/{queue}`, or `POST /jobs?queue=…`: adds a job.

        The body is a `NewJob`: an object with the job's data, and optionally its name, its id and its options. The
        answer is a `Submitted`, with the status 202.
        """
        label = _label(request)
        body = await json_body(request, self._service.body_limits, NewJob, _LargeJob)
        if not is_text(body.name):
            raise RequestError("bad-data", "`name`: a lone surrogate is no valid Unicode text")
        opts = {} if body.opts is None else msgspec.to_builtins(body.opts)
        return await self._add(request, label, body.name, body.data, body.job_id, opts)

    async def analyze(self, request: Request) -> Response:
        """`POST /analyze/{queue}`: adds a job with the name `job`, whose data is the whole body: any JSON value.

        The content type must be `application/json`. The answer is that of `submit`.
        """
        label = _label(request)
        data = await json_body(request, self._service.body_limits, object, msgspec.Raw)
        return await self._add(request, label, DEFAULT_NAME, data, None, {})

    async def _add(
        self,
        request: Request,
        label: str,
        name: str,
        data: object,
        wanted_id: str | None,
        opts: Mapping[str, object],
    ) -> Response:
        keys = request.headers.getlist("idempotency-key")
        if len(keys) > 1:
            raise RequestError("bad-data", "`Idempotency-Key`: it was given twice")
        sign, random_id = self._signer(request), str(uuid.uuid4())

        def rights(identity: Identity) -> tuple[str, bool, bool]:
            job_id = _new_id(label, wanted_id, keys[0] if keys else None, random_id, identity)
            may_submit = allows(identity, Action.SUBMIT, label)
            return job_id, may_submit, allows(identity, Action.READ_JOB, label, job_id)

        identity = await judged(request, rights)
        # An identity that may only submit jobs must not learn whether the job existed, and must not get a token for an
        # id that it chose, since someone else may have added that job.
        job_id, may_submit, may_read = rights(identity)
        if not may_submit:
            raise refusal("forbidden")
        queue = await self._service.queue(label, new=True)
        if sign is not None and wanted_id is not None and not may_read:
            raise refusal("forbidden")
        if wanted_id is not None and await self._service.ask(HasKeysOfQueue(queue, job_id)):
            raise RequestError("bad-job-id", "`jobId`: the keys of another queue begin with those of a job of this id")
        existing = await self._exists(queue, job_id) if may_read else UNSET
        await self._service.submit(queue, name, data, job_id, opts)
        # If the job created its queue, this makes the bridge serve the queue, so that the link in the answer works.
        await self._service.find([queue.label])
        links = Links(f"{request.scope.get('root_path', '')}{job_path(queue.label, job_id)}")
        settings = self._service.settings
        token = UNSET if sign is None else job_token(sign, settings, identity, queue.label, job_id)
        return json_answer(Submitted(queue.label, job_id, links, existing, token), 202)

    def _signer(self, request: Request) -> Sign | None:
        """Return what signs the token that the request asks for; None if it asks for none.

        Raises:
            RequestError: `cannot-mint`: the request asks for a token, and the bridge has no key to sign it. `bad-data`:
                the query is malformed, or `withToken` is neither 1 nor true.
        """
        text = parameters(request, ("withToken",)).get("withToken")
        if text is None:
            return None
        if text not in ("1", "true"):
            raise RequestError("bad-data", "`withToken` can only be 1 or true")
        if self._service.sign is None:
            raise RequestError("cannot-mint", "this bridge has no key to sign with; --mint-secret-file names one")
        return self._service.sign

    async def _exists(self, queue: Queue, job_id: str) -> bool:
        job = (queue.label, job_id)
        if queue.label not in self._service.labels:
            return False
        return (await self._service.look_up([job], results=False)).get(job) is not None


def _label(request: Request) -> str:
    label: str | None = request.path_params.get("queue") or parameters(request, ("queue",)).get("queue")
    if label is None:
        raise RequestError("bad-data", "`queue`: expected ?queue=, the label of the job's queue")
    return label


def _new_id(queue: str, wanted: str | None, key: str | None, random_id: str, identity: Identity) -> str:
    """Return the id of a new job.

    This is `wanted`, the `jobId` that the client sent. If that is None, the id is derived from `key`, the
    Idempotency-Key. If both are None, the id is random.

    The same Idempotency-Key gives different ids in different queues, and different ids to different identities.
    Otherwise the second identity would get the id of a job that belongs to the first one.

    Raises:
        RequestError: `bad-data`: the Idempotency-Key is empty. `bad-job-id`: `wanted` is malformed, or BullMQ for Node
            would refuse it (src/classes/job.ts, validateOptions). BullMQ's Python package accepts some of these.
    """
    if key == "":
        raise RequestError("bad-data", "`Idempotency-Key`: it is empty")
    if wanted is not None:
        job_id = parse_job_id(wanted)
        if _INTEGER.fullmatch(job_id) or ":" in job_id:
            raise RequestError("bad-job-id", "`jobId` must be no integer and hold no colon: BullMQ refuses both")
        return job_id
    if key is not None:
        whose = "" if identity is ANYONE else f"\n{identity.holder!r}"
        digest = hashlib.sha256(f"{queue}\n{key}{whose}".encode()).hexdigest()
        return f"key-{digest[:40]}"
    return random_id
