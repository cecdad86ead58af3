"""Reads the private JSON Web Key with which `jobws token` signs tokens, unless a secret signs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jwt.exceptions import InvalidKeyError

from jobws.access.json_object import read_object
from jobws.access.key_set import IMPLEMENTATIONS, Key, read_jwk
from jobws.errors import ConfigurationError
from jobws.tokens import signed_token


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that signs tokens.

    Attributes:
        public: The public half of this key, which verifies the signatures.
        material: The private key in the form that PyJWT's functions take.
    """

    public: Key
    material: Any = field(repr=False)

    def token(self, claims: dict[str, Any]) -> str:
        """Return a signed token with these claims."""
        named = {} if self.public.kid is None else {"kid": self.public.kid}
        header = {"alg": self.public.algorithm.value, "typ": "JWT", **named}
        return signed_token(header, claims, self._sign)

    def _sign(self, data: bytes) -> bytes:
        signature: bytes = IMPLEMENTATIONS[self.public.algorithm].sign(data, self.material)
        return signature


def read_signing_key(name: str, content: bytes) -> SigningKey:
    """Return the private key in the `content` of a file. Error messages call the file `name`.

    Raises:
        ConfigurationError: The content is not a private JSON Web Key for RS256, ES256 or EdDSA.
    """
    try:
        jwk = read_object(content)
        public = read_jwk({member: value for member, value in jwk.items() if member not in ("use", "key_ops")})
    except ValueError as error:
        raise ConfigurationError(f"{name}: this is no JSON Web Key ({error})") from None
    if public is None:
        raise ConfigurationError(f"{name}: this is no key for RS256, ES256 or EdDSA signatures")
    if "d" not in jwk:
        raise ConfigurationError(f"{name}: this is a public key; the private one signs")
    try:
        material = IMPLEMENTATIONS[public.algorithm].from_jwk(jwk)
    except (InvalidKeyError, ValueError, TypeError, KeyError):
        raise ConfigurationError(f"{name}: its private half does not fit its public half") from None
    return SigningKey(public, material)
