"""The endpoints that return a job's log lines, page by page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from jobws.bullmq.job_log import JobLogPage, JobLogSlice
from jobws.errors import RequestError
from jobws.protocol.http_resources import JobLogs
from jobws.protocol.identifiers import parse_job_id
from jobws.server.http.request import json_answer, parameters

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.bullmq.keys import Queue
    from jobws.server.http.service import Service

DEFAULT_LINES: Final = 100
MAX_LINES: Final = 1000
# How many bytes the lines of a page may have, unless a single line is larger.
PAGE_BYTES: Final = 1024 * 1024
# How many lines the first read asks for, before the size of the lines is known.
FIRST_LINES: Final = 16
_START: Final = re.compile(r"-?\d{1,15}", re.ASCII)


class JobLogPages:
    """The endpoints that return the log lines of a job."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def path(self, request: Request) -> Response:
        """`GET /jobs/{queue}/{jobId}/logs?start=&limit=`."""
        return await self._page(request, request.path_params["queue"], request.path_params["job_id"])

    async def query(self, request: Request) -> Response:
        """`GET /job-logs?queue=&jobId=&start=&limit=`. This form serves ids with a slash, too."""
        asked = parameters(request, ("queue", "jobId"))
        if asked.keys() != {"queue", "jobId"}:
            raise RequestError("bad-data", "expected ?queue=…&jobId=…")
        return await self._page(request, asked["queue"], asked["jobId"])

    async def _page(self, request: Request, label: str, id: str) -> Response:
        job_id = parse_job_id(id)
        queue = await self._service.queue(label)
        asked = parameters(request, ("start", "limit"))
        start, limit = _start(asked.get("start")), _limit(asked.get("limit"))
        lines, first, total = await self._lines(queue, job_id, start, limit)
        end = first + len(lines)
        texts = [line.decode(errors="replace") for line in lines]
        return json_answer(JobLogs(queue.label, job_id, texts, first, total, end if end < total else None))

    async def _lines(self, queue: Queue, job_id: str, start: int, limit: int) -> tuple[list[bytes], int, int]:
        """Return the lines, the index at which they begin, and how many lines the job has.

        The index is `start`, even if the job has fewer lines. A negative `start` gives the index that it stands for, or
        0 if the job has fewer lines.

        Args:
            queue: The queue.
            job_id: The job.
            start: The index of the first line; a negative one counts from the end.
            limit: How many lines to return at most.

        Raises:
            RequestError: `unknown-job`.
        """
        is_hidden = self._service.privacy.hides_lines(queue.label)
        if start < 0:
            _, total = await self._ask(JobLogSlice(queue, job_id, 0, 1, is_hidden))
            start = max(0, total + start)
        found: list[bytes] = []
        size, count = 0, min(limit, FIRST_LINES)
        while True:
            lines, total = await self._ask(JobLogSlice(queue, job_id, start + len(found), count, is_hidden))
            for line in lines:
                size += len(line)
                if found and size > PAGE_BYTES:
                    return found, start, total
                found.append(line)
            left = limit - len(found)
            if not left or len(lines) < count or start + len(found) >= total:
                return found, start, total
            count = min(left, max(1, (PAGE_BYTES - size) * len(found) // max(size, 1)))

    async def _ask(self, slice: JobLogSlice) -> tuple[list[bytes], int]:
        lines, total, exists = await self._service.ask(JobLogPage(slice))
        if not exists and not total:
            label = slice.queue.label
            raise RequestError("unknown-job", f'no job of that id in queue "{label}"; it may have been removed')
        return lines, total


def _start(text: str | None) -> int:
    if text is None:
        return 0
    if not _START.fullmatch(text):
        raise RequestError("bad-data", "`start` must be the number of a line, or a negative one, counted from the end")
    return int(text)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LINES
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_LINES):
        raise RequestError("bad-data", f"`limit` must be an integer from 1 to {MAX_LINES}")
    return int(text)
