"""The key that signs new tokens, as its file has it now. The bridge must accept the tokens that it signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.access.key_set import read_secret
from jobws.access.signing_key import read_signing_key
from jobws.errors import ConfigurationError
from jobws.tokens import hs256_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.access.authenticator import Authenticator
    from jobws.server.authentication import Sign
    from jobws.server.settings import Settings


class Signer:
    """Signs new tokens. There is no key before the first `look`.

    Args:
        settings: These may name the file of the key that signs. If they do not, and the bridge verifies JWTs with
            exactly one secret, this secret signs. Otherwise nothing is signed.
        authenticator: Knows the keys of the bridge. A key whose tokens it would not accept is not used.
        secret: The name that stands for `settings.jwt_secret`, which is in no file. The caller of `look` passes the
            value under this name, and error messages name it.

    Attributes:
        file: The name under which the caller of `look` passes the key: that of a file, or `secret`. None if the
            settings give no key to sign with.
        problem: Why the key cannot be used now, as a sentence; None if it can. An earlier key still signs.
        sign: A function that takes claims, and returns a signed token with them. The attribute is None while there is
            no key to sign with.
    """

    def __init__(self, settings: Settings, authenticator: Authenticator, secret: str) -> None:
        self._authenticator = authenticator
        self._is_private = settings.mint_key_file is not None
        secrets = [*settings.jwt_secret_files, *([] if settings.jwt_secret is None else [secret])]
        named = settings.mint_key_file or settings.mint_secret_file
        self.file = named or (secrets[0] if len(secrets) == 1 else None)
        self.problem: str | None = None
        self.sign: Sign | None = None

    def look(self, contents: Mapping[str, bytes | ConfigurationError]) -> None:
        """Use the key that the file holds now. If it cannot be used, set `problem`; the key before still signs.

        `contents` has, by name, what files hold, or why a file cannot be read. If `file` is not among the names,
        nothing changes.
        """
        if self.file is None or self.file not in contents:
            return
        content = contents[self.file]
        self.problem = None
        try:
            if isinstance(content, ConfigurationError):
                raise content
            self._take(self.file, content)
        except ConfigurationError as error:
            self.problem = str(error)

    def _take(self, name: str, content: bytes) -> None:
        sign: Sign
        if self._is_private:
            private = read_signing_key(name, content)
            key, sign = private.public, private.token
        else:
            key = read_secret(name, content)
            sign = _hs256(key.material)
        if not self._authenticator.verifies_with(key.fingerprint):
            raise ConfigurationError(
                f"{name}: the bridge would not accept what this key signs; name a secret as --jwt-secret-file, too, "
                "or put the public key into --jwks-file"
            )
        self.sign = sign


def _hs256(secret: bytes) -> Sign:
    return lambda claims: hs256_token(secret, claims)
