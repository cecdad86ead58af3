"""`GET /jobs?queue=&jobId=&event=`: one event of a job, whole, for clients that got it without its largest fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.responses import Response

from jobws.bullmq.child_names import without_child
from jobws.bullmq.events import field, kind_of
from jobws.bullmq.lost_entries import Entries
from jobws.errors import RequestError
from jobws.hub.jobs.missed import FINISHED, finished_text
from jobws.hub.jobs.replay import outcome_fields
from jobws.protocol.identifiers import parse_position
from jobws.protocol.messages import ItemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.access.sights import AnySight
    from jobws.bullmq.keys import Queue
    from jobws.server.http.service import Service


async def whole_event(service: Service, label: str, job_id: str, event: str, sight: AnySight) -> Response:
    """Return an event's name and its payload, whatever its size.

    The event is read from the stream. If it is not there any more, the answer is the job's outcome as the job's hash
    shows it, whatever the event was. A position with a `~` names an outcome. Then only the hash is read, and it must
    show this outcome.

    Args:
        service: The bridge.
        label: The label of the job's queue.
        job_id: The job's id.
        event: The position of the event.
        sight: What the client may see. The caller has checked that it may read the job. Here the sight decides only
            whether a reason of failure names the child that failed.

    Raises:
        RequestError: `bad-data`: `event` is no position; `unknown-queue`; `unavailable`: Redis answered with an error
            for this job; or `gone`: the stream does not have the event, and the job has no hash, or no such outcome.
        RedisUnavailableError: Redis did not answer.
    """
    parsed = parse_position(event)
    if parsed is None:
        raise RequestError("bad-data", "`event` must be the `id` of an event, as its `href` has it")
    queue = await service.queue(label)
    stream_id, finished = parsed
    fields = await _entry(service, queue, job_id, stream_id) if finished is None else None
    fields = fields or await _outcome(service, queue, job_id, finished)
    kind = None if fields is None else kind_of(fields)
    if fields is None or kind is None:
        raise RequestError("gone", "neither the event nor its job is there any more, or the job has no outcome")
    if not sight.reads_children(label, job_id):
        fields = without_child(fields) or fields
    # To check, or to redact, megabytes may take 0.1 s.
    data = await anyio.to_thread.run_sync(service.payloads.whole, queue.label, event.encode(), fields)
    return Response(b'{"event":%b,%b' % (kind.name.json, data[1:]), media_type="application/json")


async def _entry(service: Service, queue: Queue, job_id: str, stream_id: str) -> Sequence[bytes] | None:
    """Return the fields of the event, or None if the stream has no event of this job with this id."""
    (entry,) = await service.ask_for_results(Entries(queue, (stream_id.encode(),)))
    return None if entry is None or field(entry[1], b"jobId") != job_id.encode() else entry[1]


async def _outcome(service: Service, queue: Queue, job_id: str, finished: str | None) -> Sequence[bytes] | None:
    """Return the fields of an event with the outcome that the job's hash shows, or None if it shows none.

    `finished` is what the position has after its `~`: the time at which the job ended. If the job has ended at another
    time, because it was retried, the result is None. If `finished` is None, any time will do.
    """
    job = (queue.label, job_id)
    found = (await service.look_up([job], results=True)).get(job)
    if isinstance(found, ItemError):
        raise RequestError(found.code, found.message)
    if found is None or found.state not in FINISHED or finished not in (None, finished_text(found)):
        return None
    return outcome_fields(job_id.encode(), found)
