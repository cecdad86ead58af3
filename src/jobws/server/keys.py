"""Reads the files of keys, at the start and every 5 s, and verifies tokens with them."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from jobws.access.caller import ANYONE
from jobws.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from jobws.access.authenticator import Authenticator, KeyFiles
    from jobws.access.carrier import Carried
    from jobws.access.identity import Identity
    from jobws.server.settings import Settings

SECRET_VARIABLE: Final = "JOBWS_JWT_SECRET"  # noqa: S105 - a name, not a secret

_log: Final = logging.getLogger(__name__)


class NoKeys:
    """The authentication of a bridge without keys: every client may do everything."""

    required = False
    problems: tuple[str, ...] = ()

    async def identify(self, _carried: Carried) -> Identity:
        """Return `ANYONE`, whatever the token is."""
        return ANYONE

    def is_current(self, _identity: Identity) -> bool:
        """Return True."""
        return True


class Keys:
    """The authentication of a bridge with keys. Its files are read here first, and again while `run` runs.

    Args:
        settings: Name the files, and what JWTs must say.
        look_seconds: How often `run` reads the files.

    Raises:
        ConfigurationError: A file cannot be read or is malformed.
        MissingExtraError: `jobws[jwt]` is not installed.
    """

    required = True

    def __init__(self, settings: Settings, look_seconds: float) -> None:
        self._look_seconds = look_seconds
        self._authenticator, self._files = _authenticator(settings)
        for problem in self._authenticator.look(self._read(), time.monotonic()):
            raise ConfigurationError(problem)

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each file whose state is an older one, since it cannot be read now."""
        return self._authenticator.problems

    async def identify(self, carried: Carried) -> Identity:
        """Return who holds a token. Raises TokenRefusedError."""
        return self._authenticator.identify(carried, now=time.time())

    def is_current(self, identity: Identity) -> bool:
        """Whether the token would still be accepted, apart from its time."""
        return self._authenticator.is_current(identity)

    async def run(self) -> None:
        """Read the files again and again. A file that cannot be read or parsed keeps its state before."""
        while True:
            await anyio.sleep(self._look_seconds)
            contents = await anyio.to_thread.run_sync(self._read)  # a network drive may hang
            for problem in self._authenticator.look(contents, time.monotonic()):
                _log.error("%s; what the file said before still counts", problem)

    def _read(self) -> dict[str, bytes | ConfigurationError]:
        return {name: _content(name) for name in self._files.names()}


def _authenticator(settings: Settings) -> tuple[Authenticator, KeyFiles]:
    try:
        from jobws.access.authenticator import Authenticator, KeyFiles
        from jobws.access.jwt import Rules
        from jobws.access.key_set import read_secret
    except ModuleNotFoundError as error:
        raise MissingExtraError("jwt", "a bridge with keys") from error
    files = KeyFiles(
        tokens=settings.tokens_file,
        secrets=settings.jwt_secret_files,
        jwks=settings.jwks_file,
        revoked=settings.revoked_file,
    )
    rules = Rules(
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
        scope_claim=settings.jwt_scope_claim,
        leeway_seconds=settings.jwt_leeway_seconds,
    )
    given = settings.jwt_secret
    secrets = () if given is None else (read_secret(SECRET_VARIABLE, given.encode(errors="surrogateescape")),)
    return Authenticator(files, rules, secrets), files


def _content(name: str) -> bytes | ConfigurationError:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        return ConfigurationError(f"cannot read {name}: {error.strerror}")
