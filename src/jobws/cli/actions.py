"""The commands of `jobws` that act on jobs and queues: retry, promote, remove, pause, resume."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import anyio
from cyclopts import Parameter
from msgspec import UNSET

from jobws.cli.arguments import check_text
from jobws.cli.credentials import DEFAULT_URL, Credentials, TokenFlags, Url
from jobws.cli.watch import UNKNOWN
from jobws.client.rest import act
from jobws.errors import ConfigurationError, ResponseError

if TYPE_CHECKING:
    from jobws.protocol.http_resources import ActionName

NOT_NOW: Final = 1
"""The exit code of an action that the state of the job does not allow."""


def retry(
    job: str,
    *,
    failed: Annotated[bool, Parameter(negative=())] = False,
    url: Url = DEFAULT_URL,
    credentials: Credentials = None,
) -> int:
    """Let a failed job wait for another run. Exit code: 0 done, 1 it has not failed, 4 unknown.

    With --failed, it is 0 even if no job of the queue has failed.

    Args:
        job: The job, as QUEUE/ID; with --failed, the label of a queue.
        failed: Retry all failed jobs of the queue, and print how many there are.
        url: The bridge.
        credentials: The token for the bridge.
    """
    return _act("retry-failed", job, None, url, credentials) if failed else _act_on("retry", job, url, credentials)


def promote(job: str, *, url: Url = DEFAULT_URL, credentials: Credentials = None) -> int:
    """Let a delayed job wait no longer. Exit code: 0 done, 1 it is not delayed, 4 unknown.

    Args:
        job: The job, as QUEUE/ID.
        url: The bridge.
        credentials: The token for the bridge.
    """
    return _act_on("promote", job, url, credentials)


def remove(
    job: str,
    *,
    children: Annotated[bool, Parameter(negative=())] = False,
    url: Url = DEFAULT_URL,
    credentials: Credentials = None,
) -> int:
    """Remove a job. Exit code: 0 done, 1 a worker has it or it is the next job of a scheduler, 4 unknown.

    Args:
        job: The job, as QUEUE/ID.
        children: Remove the jobs below it in its flow, too.
        url: The bridge.
        credentials: The token for the bridge.
    """
    return _act_on("remove", job, url, credentials, children=children)


def pause(queue: str, *, url: Url = DEFAULT_URL, credentials: Credentials = None) -> int:
    """Let no worker take a job of a queue. Exit code: 0 done, also if it was paused before; 2 unknown queue.

    Args:
        queue: The label of the queue.
        url: The bridge.
        credentials: The token for the bridge.
    """
    return _act("pause", queue, None, url, credentials)


def resume(queue: str, *, url: Url = DEFAULT_URL, credentials: Credentials = None) -> int:
    """Let workers take jobs of a queue again. Exit code: 0 done, also if it was not paused; 2 unknown queue.

    Args:
        queue: The label of the queue.
        url: The bridge.
        credentials: The token for the bridge.
    """
    return _act("resume", queue, None, url, credentials)


def _act_on(action: ActionName, job: str, url: str, credentials: TokenFlags | None, *, children: bool = False) -> int:
    """Act on the job QUEUE/ID, and return the exit code. `children`: remove all jobs below it in its flow, too."""
    queue, _, job_id = job.partition("/")
    if not (queue and job_id):
        raise ConfigurationError(f"{job} is no job; expected QUEUE/ID, for instance http/42")
    return _act(action, queue, job_id, url, credentials, children=children)


def _act(
    action: ActionName,
    queue: str,
    job_id: str | None,
    url: str,
    credentials: TokenFlags | None,
    *,
    children: bool = False,
) -> int:
    check_text(queue=queue, job=job_id)
    headers = (credentials or TokenFlags()).headers()
    try:
        acted = anyio.run(partial(act, url, action, queue, job_id, headers, children=children), backend="trio")
    except ResponseError as error:
        if error.code not in ("unknown-job", "locked", "bad-state-for-action"):
            raise
        print(f"jobws: {error}", file=sys.stderr)
        return UNKNOWN if error.code == "unknown-job" else NOT_NOW
    if acted.failed is not UNSET:
        print(acted.failed)
    return 0
