"""The routes of the HTTP interface (protocol.md §9), each with the right that it needs.

Clients use HTTP to submit jobs, and as a fallback in networks that block WebSockets.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from jobws.access.scope import Action
from jobws.server.http.actions import Acting, may_as_asked
from jobws.server.http.append_log import LogPosting
from jobws.server.http.job_events import EventStreams
from jobws.server.http.job_log import JobLogPages
from jobws.server.http.jobs import JobLookups
from jobws.server.http.queues import QueueListing
from jobws.server.http.rights import (
    CheckedRoute,
    any_token,
    in_path,
    in_query,
    may,
    queue_in_query,
    reads_a_job,
    reads_a_queue,
    reads_events,
    reads_job,
    submits,
)
from jobws.server.http.submit import Submitting
from jobws.server.http.websocket_over_http import FrameStreams
from jobws.server.http.whoami import Asking

if TYPE_CHECKING:
    from jobws.server.http.service import Service


def routes(service: Service) -> list[CheckedRoute]:
    """Return all routes but those of `health`, `openapi`, `page`, `static` and the metrics, which `app` adds."""
    job_in_path, job_in_query = reads_job(in_path), reads_job(in_query)
    submit_in_path, submit_in_query = submits(in_path), submits(in_query)
    lookups, submitting, queues = JobLookups(service), Submitting(service), QueueListing(service)
    acting = Acting(service)

    def acts(method: str, path: str, action: Action) -> CheckedRoute:
        return CheckedRoute(path, partial(acting.path, action), may(action, in_path), [method])

    return [
        CheckedRoute("/jobs", lookups.query, job_in_query, ["GET"]),
        CheckedRoute("/jobs", submitting.submit, submit_in_query, ["POST"]),
        CheckedRoute("/jobs/{queue}", submitting.submit, submit_in_path, ["POST"]),
        CheckedRoute("/jobs/{job_id}", lookups.anywhere, job_in_path, ["GET"]),
        CheckedRoute("/jobs/{queue}/{job_id}", lookups.one, job_in_path, ["GET"]),
        CheckedRoute("/jobs/{queue}/{job_id}/logs", JobLogPages(service).path, job_in_path, ["GET"]),
        CheckedRoute("/job-logs", JobLogPages(service).query, job_in_query, ["GET"]),
        CheckedRoute("/analyze/{queue}", submitting.analyze, submit_in_path, ["POST"]),
        CheckedRoute("/lookup", lookups.look_up, reads_a_job, ["POST"]),
        CheckedRoute("/events", EventStreams(service).events, reads_events, ["GET"]),
        CheckedRoute("/events", FrameStreams(service).frames, reads_events, ["POST"]),
        CheckedRoute("/logs", LogPosting(service).post, may(Action.WRITE_LOGS), ["POST"]),
        CheckedRoute("/whoami", Asking(service).whoami, any_token, ["GET"]),
        CheckedRoute("/queues", queues.queues, reads_a_queue, ["GET"]),
        CheckedRoute("/queues/{queue}/jobs", queues.jobs_in_path, job_in_path, ["GET"]),
        CheckedRoute("/queue-jobs", queues.jobs_in_query, reads_job(queue_in_query), ["GET"]),
        acts("POST", "/jobs/{queue}/{job_id}/retry", Action.RETRY_JOB),
        acts("POST", "/jobs/{queue}/{job_id}/promote", Action.PROMOTE_JOB),
        acts("DELETE", "/jobs/{queue}/{job_id}", Action.REMOVE_JOB),
        acts("POST", "/queues/{queue}/retry", Action.RETRY_QUEUE),
        acts("POST", "/queues/{queue}/pause", Action.PAUSE_QUEUE),
        acts("POST", "/queues/{queue}/resume", Action.RESUME_QUEUE),
        CheckedRoute("/actions", acting.query, may_as_asked, ["POST"]),
    ]
