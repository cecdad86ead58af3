"""The two kinds of authorizers: a server that is asked over HTTP, and a function of the app that mounts the bridge."""

from __future__ import annotations

import json
import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, Protocol, TypeAlias

import anyio
import anyio.to_thread
import msgspec
from msgspec import Meta, Struct

from jobws.access.asked import TokenInfo
from jobws.access.identity import MAX_SUB_CHARACTERS
from jobws.errors import ConfigurationError, JobwsError
from jobws.protocol.nesting import TOO_DEEP, is_too_deep
from jobws.server.outbound import ExchangeError, check_url, exchange, too_slow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from jobws.access.asked import Check, Subject
    from jobws.access.identity import Identity
    from jobws.server.settings import Settings

MAX_ASKS: Final = 16
"""How many questions are under way at the same time."""
MAX_TTL_SECONDS: Final = 3600
_SECRET: Final = re.compile(rb"[!-~]+")

Authorize: TypeAlias = "Callable[[Identity, str, str | None, str | None], Awaitable[bool]]"
"""A function that says whether a client may do something: it gets who, the action, the queue and the job id."""

_log: Final = logging.getLogger(__name__)


class AuthorizerError(JobwsError):
    """The authorizer gave no answer that can be used. `str()` is the reason, as the end of a sentence."""


class Permission(NamedTuple):
    """The answer to one check, and for how many seconds it is valid."""

    allow: bool
    ttl: float


class Decision(NamedTuple):
    """The answers to some checks, in their order, and what the authorizer said of the token.

    None in place of an answer means that there is neither a yes nor a no, since asking about this check failed.
    """

    permissions: Sequence[Permission | None]
    token_info: TokenInfo


class Authorizer(Protocol):
    """Decides what clients may do."""

    async def decide(self, subject: Subject, checks: Sequence[Check]) -> Decision:
        """Return an answer to each check, in the order of `checks`.

        Args:
            subject: Of whom the authorizer is asked.
            checks: What it is asked.

        Raises:
            AuthorizerError: There are no answers, or none that can be used.
        """
        ...


class HttpAuthorizer:
    """Asks a server, with one POST for each request of a client.

    Args:
        url: The server's URL.
        secret_file: The file with the secret that the server gets, as `Authorization: Bearer SECRET`. It is read for
            each question. None means that there is no such header.
        seconds: How long the server may take.

    Raises:
        ConfigurationError: The URL is neither https nor http of loopback, or the file has no secret.
    """

    def __init__(self, url: str, secret_file: str | None, seconds: float) -> None:
        check_url("--authorize-url", url)
        self._url = url
        self._file = None if secret_file is None else Path(secret_file)
        self._secret = None if self._file is None else _secret(self._file)
        self._seconds = seconds
        self._threads: anyio.CapacityLimiter | None = None

    async def decide(self, subject: Subject, checks: Sequence[Check]) -> Decision:
        """Return the server's answers. Raises AuthorizerError."""
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(MAX_ASKS)
        try:
            with anyio.fail_after(self._seconds):
                return await anyio.to_thread.run_sync(
                    self._post, subject, checks, abandon_on_cancel=True, limiter=self._threads
                )
        except ExchangeError as error:
            raise AuthorizerError(str(error)) from None
        except TimeoutError:
            raise AuthorizerError(str(too_slow(self._seconds))) from None

    def _post(self, subject: Subject, checks: Sequence[Check]) -> Decision:
        """Ask the server. This runs in a worker thread, where encoding thousands of checks delays nobody else."""
        asked = [{"action": action.value, "queue": queue, "jobId": job_id} for action, queue, job_id in checks]
        body = json.dumps({"token": subject.token, "checks": asked}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._file is not None:
            try:
                self._secret = _secret(self._file)
            except ConfigurationError as error:
                _log.error("%s; what it held before still counts", error)
            headers["Authorization"] = f"Bearer {self._secret}"
        answer = exchange("POST", self._url, self._seconds, body, headers)
        if answer.status != 200:
            raise ExchangeError(f"the answer has status {answer.status}")
        return _decision(answer.body, len(checks))


class FunctionAuthorizer:
    """Asks a function of the app, once for each check. Its answers are not kept for further requests.

    Args:
        authorize: The function. Anything but True is a no. A check with which it raises an exception has no answer.
        seconds: How long it may take for all checks of one request.
    """

    def __init__(self, authorize: Authorize, seconds: float) -> None:
        self._authorize = authorize
        self._seconds = seconds

    async def decide(self, subject: Subject, checks: Sequence[Check]) -> Decision:
        """Return the function's answers. Raises AuthorizerError, for all of them, if the time is over."""
        found: list[Permission | None] = [None] * len(checks)
        left = iter(enumerate(checks))
        try:
            with anyio.fail_after(self._seconds):
                async with anyio.create_task_group() as tasks:
                    for _ in range(min(MAX_ASKS, len(checks))):
                        tasks.start_soon(self._decide, subject, left, found)
        except TimeoutError:
            raise AuthorizerError(str(too_slow(self._seconds))) from None
        return Decision(found, TokenInfo(None, None))

    async def _decide(
        self, subject: Subject, checks: Iterator[tuple[int, Check]], found: list[Permission | None]
    ) -> None:
        for number, (action, queue, job_id) in checks:
            try:
                answer = await self._authorize(subject.identity, action.value, queue, job_id)
            except Exception:  # noqa: BLE001 - an error of the app allows nothing
                _log.exception("authorize failed, so the client is refused")
            else:
                found[number] = Permission(answer is True, 0)


def authorizer_of(settings: Settings, authorize: Authorize | None) -> HttpAuthorizer | FunctionAuthorizer | None:
    """Return what asks the function. If there is none, return what asks the server that the settings name.

    None means that the settings name none: the scopes of tokens decide.

    Raises:
        ConfigurationError: The URL or the file of the secret cannot be used.
    """
    if authorize is not None:
        return FunctionAuthorizer(authorize, settings.authorize_seconds)
    if settings.authorize_url is None:
        return None
    return HttpAuthorizer(settings.authorize_url, settings.authorize_secret_file, settings.authorize_seconds)


def _secret(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from None
    secret = content.removesuffix(b"\n").removesuffix(b"\r")
    if not _SECRET.fullmatch(secret):
        raise ConfigurationError(f"{file} must have one line: a secret of printable ASCII without a space")
    return secret.decode()


class _Check(Struct):
    allow: bool
    ttl: Annotated[float, Meta(ge=0, le=MAX_TTL_SECONDS)] = 0


class _Content(Struct):
    checks: list[_Check]
    sub: Annotated[str, Meta(min_length=1, max_length=MAX_SUB_CHARACTERS)] | None = None
    exp: Annotated[float, Meta(ge=0, lt=2**53)] | None = None


def _decision(body: bytes, count: int) -> Decision:
    if is_too_deep(body):
        raise AuthorizerError(f"the answer is wrong: {TOO_DEEP}")
    try:
        content = msgspec.json.decode(body, type=_Content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AuthorizerError(f"the answer is wrong: {error}") from None
    if len(content.checks) != count:
        raise AuthorizerError(f"the answer has {len(content.checks)} checks in place of {count}")
    expires_ms, permissions = None, [Permission(each.allow, each.ttl) for each in content.checks]
    if content.exp is not None:
        expires_ms = round(content.exp * 1000)
        left = max(0.0, content.exp - time.time())
        permissions = [Permission(allow, min(ttl, left)) for allow, ttl in permissions]
    return Decision(permissions, TokenInfo(content.sub, expires_ms))
