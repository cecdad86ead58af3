"""Every exception that jobws raises on purpose, in one tree.

    JobwsError
    ├── ConfigurationError        a setting, a URL or a queue that cannot work: fix it, start again
    │   ├── MissingExtraError     `pip install 'jobws[…]'` is the cure, and the message says it
    │   └── RedisRefusedError     Redis answered, and refuses us (password, certificate, version, cluster)
    ├── RedisUnavailableError     Redis did not answer; trying again may help
    ├── RequestError              a client asked for something malformed; carries the wire's error code
    └── ClientError               raised by the Python client
        ├── UnreachableError      no bridge at that URL
        ├── RefusedError          the bridge told us to stay away (close codes 45xx, HTTP 403)
        ├── ConnectionLostError   the connection ended; the client may come back
        ├── ResponseError         the bridge answered a request with `error`
        ├── JobFailed             a job that was waited for failed for good
        ├── JobRemoved            it was removed before it had ended
        └── JobUnknown            neither the job nor its outcome is in Redis

Messages are sentences for the person who has to act on them.
"""

from __future__ import annotations


class JobwsError(Exception):
    """Base of everything that jobws raises on purpose."""


class ConfigurationError(JobwsError):
    """A setting that cannot work. Command line programs print it as one line and exit with 2."""


class MissingExtraError(ConfigurationError):
    """A part of jobws was asked for whose optional dependencies are not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an extra: pip install 'jobws[{extra}]'")
        self.extra = extra


class RedisRefusedError(ConfigurationError):
    """Redis answered and refuses us; waiting does not help."""


class RedisUnavailableError(JobwsError):
    """Redis did not answer, or the connection broke; trying again may help."""


class RequestError(JobwsError):
    """A client's request that cannot be served.

    Args:
        code: The machine-readable code of protocol.md, for instance `bad-job-id`.
        message: What was expected, as a sentence.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ClientError(JobwsError):
    """Base of what the Python client raises."""


class UnreachableError(ClientError):
    """Nothing that speaks jobws.v1 answers at the URL."""


class RefusedError(ClientError):
    """The bridge refuses this client; coming back unchanged would be refused again."""


class ConnectionLostError(ClientError):
    """The connection ended. `code` is the WebSocket close code (1006: without a close frame)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the connection to the bridge ended: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class ResponseError(ClientError):
    """The bridge answered a request with `error`; `code` is the code of protocol.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class JobFailed(ClientError):
    """A job that was waited for failed, and will not be tried again. `reason` is its `failedReason`."""

    def __init__(self, job_id: str, queue: str | None, reason: str) -> None:
        super().__init__(f"{_job(job_id, queue)} failed: {reason}")
        self.job_id = job_id
        self.queue = queue
        self.reason = reason


class JobRemoved(ClientError):
    """A job that was waited for was removed, drained or obliterated before it had ended."""

    def __init__(self, job_id: str, queue: str | None) -> None:
        super().__init__(f"{_job(job_id, queue)} was removed before it had ended")
        self.job_id = job_id
        self.queue = queue


class JobUnknown(ClientError):
    """There is no such job, and no outcome of one, as far as Redis remembers. Say so if it is about to be added."""

    def __init__(self, job_id: str, queue: str | None) -> None:
        super().__init__(f"no job {_job(job_id, queue)}; if it is about to be added, wait with expect=True")
        self.job_id = job_id
        self.queue = queue


def _job(job_id: str, queue: str | None) -> str:
    return job_id if queue is None else f"{queue}/{job_id}"
