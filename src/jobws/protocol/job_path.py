"""The paths of the HTTP interface that have more about a job. Pure."""

from __future__ import annotations

from urllib.parse import urlencode


def job_path(queue: str, job_id: str, event: str | None = None) -> str:
    """Return the path, below the bridge's base URL, of a job, or of one event of a job (protocol.md, H11).

    Args:
        queue: The label of the job's queue.
        job_id: The job's id.
        event: The position of the event, which is its `id`; None for the path of the job.
    """
    named = {"queue": queue, "jobId": job_id}
    return f"/jobs?{urlencode(named if event is None else {**named, 'event': event})}"
