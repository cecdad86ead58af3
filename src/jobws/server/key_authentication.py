"""Reads the files of keys, at the start and every 5 s, and verifies tokens with them and with the keys of a URL."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from jobws.access.caller import ANYONE
from jobws.errors import ConfigurationError, MissingExtraError, UnknownKeyError
from jobws.server.remote_key_set import RemoteKeySet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.access.carrier import Carried
    from jobws.access.identity import Identity
    from jobws.server.authentication import Sign
    from jobws.server.intervals import Intervals
    from jobws.server.settings import Settings

SECRET_VARIABLE: Final = "JOBWS_JWT_SECRET"  # noqa: S105 - a name, not a secret

_log: Final = logging.getLogger(__name__)


class NoKeys:
    """The authentication of a bridge without keys: every client may do everything."""

    required = False
    problems: tuple[str, ...] = ()
    sign: Sign | None = None

    async def of_request(self, _headers: Mapping[str, str], _carried: Carried | None) -> Identity:
        """Return `ANYONE`, whatever the request brings."""
        return ANYONE

    async def identify(self, _carried: Carried) -> Identity:
        """Return `ANYONE`, whatever the token is."""
        return ANYONE

    def is_current(self, _identity: Identity) -> bool:
        """Return True: without keys, no client is closed because of its token."""
        return True


class KeyAuthentication:
    """The authentication of a bridge with keys. Making this object reads them, and `run` reads them again.

    Args:
        settings: These name the files and the URL, and say which claims JWTs must have.
        intervals: Says after what times `run` reads and fetches again (`look_seconds` and `jwks_seconds`).

    Raises:
        ConfigurationError: A file cannot be read, the URL cannot be fetched, or what they hold is malformed.
        MissingExtraError: `jobws[jwt]` is not installed.
    """

    required = True

    def __init__(self, settings: Settings, intervals: Intervals) -> None:
        self._look_seconds = intervals.look_seconds
        self._secret = None if settings.jwt_secret is None else settings.jwt_secret.encode(errors="surrogateescape")
        try:
            from jobws.access.authenticator import Authenticator, KeyFiles
            from jobws.access.jwt import Rules
            from jobws.access.key_set import read_secret
            from jobws.server.signer import Signer
        except ModuleNotFoundError as error:
            raise MissingExtraError("jwt", "a bridge with keys") from error
        self._files = KeyFiles(
            tokens=settings.tokens_file,
            secrets=settings.jwt_secret_files,
            jwks=settings.jwks_file,
            jwks_url=settings.jwks_url,
            revoked=settings.revoked_file,
        )
        rules = Rules(
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            scope_claim=settings.jwt_scope_claim,
            leeway_seconds=settings.jwt_leeway_seconds,
        )
        secrets = () if self._secret is None else (read_secret(SECRET_VARIABLE, self._secret),)
        self._authenticator = Authenticator(self._files, rules, secrets)
        self._signer = Signer(settings, self._authenticator, SECRET_VARIABLE)
        self._remote: RemoteKeySet | None = None
        contents = self._read()
        if settings.jwks_url is not None:
            self._remote = RemoteKeySet(settings.jwks_url, self._take_remote, intervals)
            contents[settings.jwks_url] = self._remote.fetch()
        self._look(contents)
        for problem in self.problems:
            raise ConfigurationError(problem)

    @property
    def sign(self) -> Sign | None:
        """The function that signs new tokens; None if there is no key for this."""
        return self._signer.sign

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each file or URL that cannot be read or parsed now. What it held before still counts."""
        signing = [] if self._signer.problem is None else [self._signer.problem]
        # Without duplicates, since a file may both verify and sign tokens.
        return tuple(dict.fromkeys([*self._authenticator.problems, *signing]))

    async def of_request(self, _headers: Mapping[str, str], carried: Carried | None) -> Identity | None:
        """Return who holds the token of a request, or None if there is none. Raises TokenRefusedError."""
        return None if carried is None else await self.identify(carried)

    async def identify(self, carried: Carried) -> Identity:
        """Return who holds a token. Raises TokenRefusedError."""
        try:
            return self._authenticator.identify(carried, now=time.time())
        except UnknownKeyError:
            # The issuer may have a new key that the bridge has not fetched yet.
            if self._remote is None or not await self._remote.renew():
                raise
            return self._authenticator.identify(carried, now=time.time())

    def is_current(self, identity: Identity) -> bool:
        """Whether the identity's token would still be accepted with the present keys. Its expiry is not checked."""
        return self._authenticator.is_current(identity)

    async def run(self) -> None:
        """Read the files, and fetch the key set, again and again until cancelled.

        If one of them cannot be read or parsed, its keys stay as they were.
        """
        async with anyio.create_task_group() as tasks:
            if self._remote is not None:
                tasks.start_soon(self._remote.run)
            while True:
                await anyio.sleep(self._look_seconds)
                self._look_again(await anyio.to_thread.run_sync(self._read))  # a network drive may hang

    def _take_remote(self, content: bytes | ConfigurationError) -> None:
        if self._files.jwks_url is not None:
            self._look_again({self._files.jwks_url: content})

    def _look_again(self, contents: Mapping[str, bytes | ConfigurationError]) -> None:
        before = self.problems
        self._look(contents)
        for problem in self.problems:
            if problem not in before:
                _log.error("%s; what it held before still counts", problem)

    def _look(self, contents: Mapping[str, bytes | ConfigurationError]) -> None:
        self._authenticator.look(contents)
        self._signer.look(contents)

    def _read(self) -> dict[str, bytes | ConfigurationError]:
        signing = [] if self._signer.file is None else [self._signer.file]
        names = {*self._files.names(), *signing} - {self._files.jwks_url}
        given = {} if self._secret is None else {SECRET_VARIABLE: self._secret}
        return {name: _content(name) for name in names - given.keys()} | given


def _content(name: str) -> bytes | ConfigurationError:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        return ConfigurationError(f"cannot read {name}: {error.strerror}")
