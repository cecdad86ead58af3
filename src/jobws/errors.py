"""The exceptions that jobws raises on purpose.

    JobwsError
    ├── ConfigurationError        a setting, URL or queue cannot work: correct it and start again
    │   ├── MissingExtraError     an extra is not installed: `pip install 'jobws[…]'`
    │   └── RedisRefusedError     Redis answered and refuses us (password, certificate, version, cluster)
    ├── RedisUnavailableError     Redis did not answer; trying again may help
    ├── RequestError              a client's request cannot be served; has the protocol's error code
    │   └── RateLimitedError      a client sends too much; has how long it must wait
    ├── TokenRefusedError         a token is refused; has a code for the client, and a reason for the operator alone
    │   └── UnknownKeyError       it names a key that the key set does not have, or not yet
    └── ClientError               raised by the Python client
        ├── UnreachableError      there is no bridge at the URL
        ├── RefusedError          the bridge refuses us for good (close codes 45xx, HTTP 403)
        ├── ConnectionLostError   the connection ended; the client may come back
        ├── ResponseError         the bridge answered a request with `error`
        ├── JobFailed             a job that was waited for failed for good
        ├── JobRemoved            a job that was waited for was removed before it ended
        └── JobUnknown            neither the job nor its outcome is in Redis

A message is a sentence for the person who has to solve the problem.
"""

from __future__ import annotations

from typing import Literal


class JobwsError(Exception):
    """The base class of all exceptions that jobws raises on purpose."""


class ConfigurationError(JobwsError):
    """A setting, URL or queue cannot work. Command line programs print the message as one line and exit with 2."""


class MissingExtraError(ConfigurationError):
    """An optional dependency is needed and not installed.

    Args:
        extra: The name of the extra that brings it, such as `serve`.
        purpose: What needs it, for the message, such as `jobws serve`.
        on_bridge: Whether the bridge needs it. The message then says so, since clients elsewhere read it.
    """

    def __init__(self, extra: str, purpose: str, *, on_bridge: bool = False) -> None:
        where = " on the bridge" if on_bridge else ""
        super().__init__(f"{purpose} needs an extra{where}: pip install 'jobws[{extra}]'")
        self.extra = extra


class RedisRefusedError(ConfigurationError):
    """Redis answered and refuses this program, for instance its password. Trying again does not help."""


class RedisUnavailableError(JobwsError):
    """Redis did not answer, or the connection broke. Trying again may help."""


class RequestError(JobwsError):
    """A client's request cannot be served.

    Args:
        code: The error code of protocol.md, for instance `bad-job-id`.
        message: A sentence that says what was expected.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RateLimitedError(RequestError):
    """A client has sent too much. Its code is `rate-limited`.

    Args:
        message: A sentence that names the limit and its setting.
        seconds: How long the client must wait.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__("rate-limited", message)
        self.seconds = seconds


class TokenRefusedError(JobwsError):
    """A token is refused. The message is for the operator alone; a client is told at most the code.

    Args:
        code: `bad-token` or `expired`.
        message: A sentence that says why.
    """

    def __init__(self, code: Literal["bad-token", "expired"], message: str) -> None:
        super().__init__(message)
        self.code = code


class UnknownKeyError(TokenRefusedError):
    """A token names a key that the key set does not have.

    The issuer may have a new key. Then the token is accepted after the key set was read again.
    """


class ClientError(JobwsError):
    """The base class of the Python client's exceptions."""


class UnreachableError(ClientError):
    """No bridge that speaks the protocol `jobws.v1` answers at the URL."""


class RefusedError(ClientError):
    """The bridge refuses this client, and would refuse it again."""


class ConnectionLostError(ClientError):
    """The connection ended. `code` is the WebSocket's close code; 1006 means that no close frame came."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the connection to the bridge ended: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class ResponseError(ClientError):
    """The bridge answered a request with `error`. `code` is the error code of protocol.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class JobFailed(ClientError):
    """A job that was waited for failed and will not be tried again. `reason` is its `failedReason`.

    `queue` is the label of the job's queue. It is None if neither the bridge nor the caller named a queue.
    """

    def __init__(self, job_id: str, queue: str | None, reason: str) -> None:
        super().__init__(f"{_job(job_id, queue)} failed: {reason}")
        self.job_id = job_id
        self.queue = queue
        self.reason = reason


class JobRemoved(ClientError):
    """A job that was waited for was removed before it ended, alone or with its queue (`drain`, `obliterate`).

    `queue` is the label of the job's queue. It is None if neither the bridge nor the caller named a queue.
    """

    def __init__(self, job_id: str, queue: str | None) -> None:
        super().__init__(f"{_job(job_id, queue)} was removed before it had ended")
        self.job_id = job_id
        self.queue = queue


class JobUnknown(ClientError):
    """Redis has neither this job nor an outcome of it. If the job is about to be added, wait with `expect=True`."""

    def __init__(self, job_id: str, queue: str | None) -> None:
        super().__init__(f"no job {_job(job_id, queue)}; if it is about to be added, wait with expect=True")
        self.job_id = job_id
        self.queue = queue


def _job(job_id: str, queue: str | None) -> str:
    return job_id if queue is None else f"{queue}/{job_id}"
