"""The keys with which tokens are verified. Each key has one algorithm, whatever a token says.

Names such as `kty` and `crv` are those of JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import Algorithm as PyJwtAlgorithm
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from jobws.access.json_object import read_object
from jobws.errors import ConfigurationError
from jobws.tokens import LEAST_SECRET_BYTES

LEAST_RSA_BITS: Final = 2048
# An issuer has fewer than 20. To read a key takes 0.1 ms, in which the bridge does nothing else.
MAX_KEYS: Final = 100
# The members of a JSON Web Key that hold its public half. Others are ignored, so a private key serves as a public one.
_PUBLIC: Final = ("kty", "crv", "n", "e", "x", "y")
_AGREEMENTS: Final = {"ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"}


class Algorithm(Enum):
    """How a token is signed. The value is the `alg` of its header."""

    HS256 = "HS256"
    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"


IMPLEMENTATIONS: Final[dict[Algorithm, PyJwtAlgorithm]] = {
    Algorithm.HS256: HMACAlgorithm(HMACAlgorithm.SHA256),
    Algorithm.RS256: RSAAlgorithm(RSAAlgorithm.SHA256),
    Algorithm.ES256: ECAlgorithm(ECAlgorithm.SHA256),
    Algorithm.EDDSA: OKPAlgorithm(),
}
# By `kty` and `crv` of a key: the values of `alg` that such a key may have.
_FITTING: Final = {
    "RSA": {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512"),
    },
    "EC P-256": {"ES256", *_AGREEMENTS},
    "EC P-384": {"ES384", *_AGREEMENTS},
    "EC P-521": {"ES512", *_AGREEMENTS},
    "EC secp256k1": {"ES256K"},
    "OKP Ed25519": {"EdDSA", "Ed25519"},
    "OKP Ed448": {"EdDSA", "Ed448"},
    "OKP X25519": _AGREEMENTS,
    "OKP X448": _AGREEMENTS,
}
_VERIFYING: Final = {
    "RSA": (Algorithm.RS256, {"RS256"}),
    "EC P-256": (Algorithm.ES256, {"ES256"}),
    "OKP Ed25519": (Algorithm.EDDSA, {"EdDSA", "Ed25519"}),
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key that verifies tokens.

    Attributes:
        algorithm: The only algorithm with which the key is used.
        kid: The key's name in its file; None if it has none. A secret never has one.
        material: The key in the form that PyJWT's functions take.
        fingerprint: The SHA-256 of the key. It shows whether a changed file still has the key.
    """

    algorithm: Algorithm
    kid: str | None
    material: Any = field(repr=False)
    fingerprint: bytes = field(repr=False)

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's signature of `signed`."""
        return bool(IMPLEMENTATIONS[self.algorithm].verify(signed, self.material, signature))


class KeySet(NamedTuple):
    """All keys with which tokens are verified."""

    keys: tuple[Key, ...]

    def of(self, algorithm: Algorithm) -> list[Key]:
        """Return the keys of one algorithm."""
        return [key for key in self.keys if key.algorithm is algorithm]


def read_secret(name: str, content: bytes) -> Key:
    """Return the key for a secret. Newlines at the end of `content` are not part of the secret.

    Args:
        name: What to call the secret in an error message: a file or an environment variable.
        content: The secret.

    Raises:
        ConfigurationError: The secret is shorter than 32 bytes, or is the text of a public or private key.
    """
    secret = content.rstrip(b"\r\n")
    if len(secret) < LEAST_SECRET_BYTES:
        raise ConfigurationError(
            f"{name}: the secret has {len(secret)} bytes; it needs at least {LEAST_SECRET_BYTES}: "
            "openssl rand -base64 48 makes one"
        )
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except InvalidKeyError:  # anyone could sign with a public key as the secret
        raise ConfigurationError(f"{name}: this is a key or a certificate, not a secret") from None
    return Key(Algorithm.HS256, None, secret, sha256(secret).digest())


def read_jwks(name: str, content: bytes) -> tuple[Key, ...]:
    """Return those keys of a JSON Web Key Set that verify tokens. Keys for other purposes or algorithms are left out.

    Args:
        name: What to call the file in an error message.
        content: The file.

    Raises:
        ConfigurationError: The file is no key set or has more than 100 keys, one of them is unsafe or contradicts
            itself, or no key is left.
    """
    try:
        listed = read_object(content).get("keys")
    except ValueError as error:
        raise ConfigurationError(f"{name}: this is no JSON Web Key Set ({error})") from None
    if not isinstance(listed, list):
        raise ConfigurationError(f'{name}: this is no JSON Web Key Set (it has no list "keys")')
    if len(listed) > MAX_KEYS:
        raise ConfigurationError(
            f"{name}: it has {len(listed):,} keys, and may have {MAX_KEYS}; leave out those that sign no tokens"
        )
    found: dict[tuple[str, Algorithm], Key] = {}
    for number, each in enumerate(listed, 1):
        try:
            key = read_jwk(each)
        except ValueError as error:
            raise ConfigurationError(f"{name}: key {number}: {error}") from None
        if key is None:
            continue
        # Keys without a kid are told apart by their number.
        name_and_algorithm = key.kid if key.kid is not None else f"\0{number}", key.algorithm
        if name_and_algorithm in found:
            raise ConfigurationError(f"{name}: key {number}: another key has the same kid, {key.kid!a}")
        found[name_and_algorithm] = key
    if not found:
        raise ConfigurationError(f"{name}: no key for RS256, ES256 or EdDSA signatures")
    return tuple(found.values())


def read_jwk(jwk: object) -> Key | None:
    """Return the key that a JSON Web Key describes, or None if it is for another purpose or algorithm.

    Raises:
        ValueError: The key is unsafe or contradicts itself.
    """
    if not isinstance(jwk, dict):
        raise _wrong("it is not a JSON object")
    kty, crv, alg, kid = (jwk.get(member) for member in ("kty", "crv", "alg", "kid"))
    if not isinstance(kty, str) or not all(isinstance(each, str | None) for each in (crv, alg, kid)):
        raise _wrong("kty, crv, alg and kid must be strings")
    if kty == "oct":
        raise _wrong("a secret (oct) does not belong in a key set; give it with --jwt-secret-file")
    kind = kty if kty == "RSA" else f"{kty} {crv}"
    if alg is not None and alg not in _FITTING.get(kind, {alg}):
        raise _wrong(f"alg {alg!a} does not fit a key of {kind!a}")
    if kind not in _VERIFYING:
        return None
    public = {member: jwk[member] for member in _PUBLIC if member in jwk}
    material = _public_key(kty, public)
    algorithm, fitting = _VERIFYING[kind]
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list):
        raise _wrong("key_ops must be a list")
    if alg not in {None, *fitting} or jwk.get("use", "sig") != "sig" or "verify" not in operations:
        return None
    return Key(algorithm, kid, material, sha256(repr(sorted(public.items())).encode()).digest())


def _public_key(kty: str, public: dict[str, Any]) -> Any:
    if not all(isinstance(value, str) for value in public.values()):
        raise _wrong("its numbers must be strings of base64url")
    try:
        match kty:
            case "RSA":
                material: Any = RSAAlgorithm.from_jwk(public)
            case "EC":
                material = ECAlgorithm.from_jwk(public)
            case _:
                material = OKPAlgorithm.from_jwk(public)
    except (InvalidKeyError, ValueError, TypeError, KeyError):
        raise ValueError("its numbers are no public key") from None
    if isinstance(material, RSAPublicKey) and material.key_size < LEAST_RSA_BITS:
        raise ValueError(f"RSA with {material.key_size} bits; it needs at least {LEAST_RSA_BITS}")
    return material


def _wrong(reason: str) -> ValueError:
    return ValueError(reason)
