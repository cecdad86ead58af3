"""Turns the text of a token into an identity. The keys are in files that may change while the bridge runs.

This module reads no file and sends no request: the caller passes to `look` what files and servers hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from jobws.access.carrier import check_text
from jobws.access.jwt import Rules, verify
from jobws.access.key_set import Key, KeySet, read_jwks, read_secret
from jobws.access.static_tokens import PREFIX, StaticTokens, read_static_tokens
from jobws.errors import ConfigurationError, TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.access.carrier import Carried
    from jobws.access.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFiles:
    """Where keys and tokens are: the names of files, and a URL. None and () mean that there is no such file.

    Attributes:
        tokens: The file of the static tokens.
        secrets: The files of secrets for HS256, one secret in each file.
        jwks: The file of a JSON Web Key Set.
        jwks_url: The URL of a JSON Web Key Set.
        revoked: The file that lists revoked tokens, each by its `jti`.
    """

    tokens: str | None = None
    secrets: tuple[str, ...] = ()
    jwks: str | None = None
    jwks_url: str | None = None
    revoked: str | None = None

    def names(self) -> list[str]:
        """Return the names of all files, and the URL."""
        named = (self.tokens, *self.secrets, self.jwks, self.jwks_url, self.revoked)
        return [name for name in named if name is not None]


class Authenticator:
    """Knows the keys and says who holds a token.

    Args:
        files: Where the keys are. Before the first call of `look`, the keys in these files are not used.
        rules: What JWTs must say.
        secrets: Further keys, which never change, such as secrets in environment variables.
    """

    def __init__(self, files: KeyFiles, rules: Rules, secrets: tuple[Key, ...] = ()) -> None:
        self._files = files
        self._rules = rules
        self._given = secrets
        self._contents: dict[str, bytes] = {}
        self._problems: dict[str, str] = {}
        self._tokens = StaticTokens({})
        self._secrets: dict[str, Key] = {}
        self._jwks: dict[str, tuple[Key, ...]] = {}
        self._revoked: frozenset[str] = frozenset()
        self._keys = KeySet(secrets)

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each file or URL that cannot be read or parsed now. Its former keys stay in use."""
        return tuple(self._problems.values())

    def look(self, contents: Mapping[str, bytes | ConfigurationError]) -> list[str]:
        """Use the keys in `contents` from now on. If a file cannot be read or parsed, its former keys stay in use.

        Args:
            contents: By name in `KeyFiles.names`, the content of each file that was read, or the error of reading it.
                Keys of files that are not in `contents` stay in use.

        Returns:
            A sentence for each problem that is new since the previous call.
        """
        before = self._problems
        self._problems = {name: problem for name, problem in before.items() if name not in contents}
        for name in self._files.names():
            if name not in contents:
                continue
            content = contents[name]
            try:
                if isinstance(content, ConfigurationError):
                    raise content
                if content != self._contents.get(name):  # a large file takes milliseconds to parse
                    self._take(name, content)
                    self._contents[name] = content
            except ConfigurationError as error:
                self._problems[name] = str(error)
        self._keys = KeySet((*self._given, *self._secrets.values(), *chain(*self._jwks.values())))
        return [problem for name, problem in self._problems.items() if before.get(name) != problem]

    def identify(self, carried: Carried, *, now: float) -> Identity:
        """Return who holds a token. `now` is in seconds since 1970.

        Raises:
            TokenRefusedError: The token is refused.
            UnknownKeyError: The token names a key that is not among the present keys.
        """
        check_text(carried.token, carried.carrier)
        if carried.token.startswith(PREFIX):
            return self._tokens.find(carried.token, now=now)
        identity = verify(carried.token, self._keys, self._rules, now=now)
        if identity.jti in self._revoked:
            raise TokenRefusedError("bad-token", f"its jti, {identity.jti!a}, is revoked")
        return identity

    def is_current(self, identity: Identity) -> bool:
        """Whether the token of an identity is still accepted: its key is present, and its `jti` is not revoked now.

        The identity must come from `identify`. A static token is still accepted if its line is present and unchanged,
        since the identity has the rights of this line. Whether the token has expired is not checked.
        """
        if identity.key is None:
            return self._tokens.identities.get(identity.token_hash) == identity
        return identity.jti not in self._revoked and self.verifies_with(identity.key)

    def verifies_with(self, fingerprint: bytes) -> bool:
        """Whether the key with this fingerprint is among the keys that verify JWTs now."""
        return any(key.fingerprint == fingerprint for key in self._keys.keys)

    def _take(self, name: str, content: bytes) -> None:
        if name == self._files.tokens:
            self._tokens = read_static_tokens(name, content)
        if name in self._files.secrets:
            self._secrets[name] = read_secret(name, content)
        if name in (self._files.jwks, self._files.jwks_url):
            self._jwks[name] = read_jwks(name, content)
        if name == self._files.revoked:
            self._revoked = _read_revoked(name, content)


def _read_revoked(name: str, content: bytes) -> frozenset[str]:
    """Return the `jti` of revoked tokens: one on each line. Empty lines and lines that begin with `#` are ignored.

    Args:
        name: What to call the file in an error message.
        content: The file.

    Raises:
        ConfigurationError: The file is not UTF-8.
    """
    try:
        lines = content.decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name} is no UTF-8 text") from None
    return frozenset(line for line in lines if line and not line.startswith("#"))
