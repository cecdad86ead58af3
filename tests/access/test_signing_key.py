"""Tokens that a private key signs, and the files that hold no such key."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from jobws.access.jwt import Rules, verify
from jobws.access.key_set import KeySet, read_jwks
from jobws.access.signing_key import read_signing_key
from jobws.errors import ConfigurationError
from tests.support.signing import ec_key, ed_key, encoded, jwk, jwks, number, rsa_key

NOW = 1_795_000_000


def private(key: object, **more: object) -> dict[str, Any]:
    """Return a key with its private half, as a JSON Web Key."""
    match key:
        case rsa.RSAPrivateKey():
            numbers = key.private_numbers()
            halves = {name: number(getattr(numbers, name)) for name in ("p", "q", "d")}
            dp, dq, qi = (number(value) for value in (numbers.dmp1, numbers.dmq1, numbers.iqmp))
            return {**jwk(key), **halves, "dp": dp, "dq": dq, "qi": qi, **more}
        case ec.EllipticCurvePrivateKey():
            return {**jwk(key), "d": number(key.private_numbers().private_value, 32), **more}
        case ed25519.Ed25519PrivateKey():
            return {**jwk(key), "d": encoded(key.private_bytes_raw()), **more}
        case _:
            raise TypeError(key)


@pytest.mark.parametrize("kind", [rsa_key, ec_key, ed_key])
@pytest.mark.parametrize("more", [{}, {"kid": "a"}, {"use": "sig", "key_ops": ["sign"]}], ids=str)
def test_what_it_signs_is_verified_with_its_public_half(kind: Any, more: dict[str, Any]) -> None:
    key = read_signing_key("file", json.dumps(private(kind(), **more)).encode())
    public = read_jwks("keys", jwks(jwk(kind(), kid=more.get("kid"))))
    token = key.token({"exp": NOW + 60, "scope": "read:logs", "sub": "ann"})
    found = verify(token, KeySet(public), Rules(), now=NOW)
    assert found.sub == "ann"
    assert found.key == key.public.fingerprint
    assert repr(key.material) not in repr(key)
    header = json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))
    named = {"kid": more["kid"]} if "kid" in more else {}
    assert header == {"alg": key.public.algorithm.value, "typ": "JWT", **named}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (jwk(ed_key()), "this is a public key; the private one signs"),
    ({**private(ed_key()), "d": encoded(b"x" * 32)}, "its private half does not fit its public half"),
    ({**private(ec_key()), "d": encoded(b"x")}, "its private half does not fit its public half"),
    ({**private(ed_key()), "d": 5}, "its private half does not fit its public half"),
    ({"kty": "OKP", "crv": "X25519", "x": "AA"}, "this is no key for RS256, ES256 or EdDSA signatures"),
    (
        {"kty": "oct", "k": "AA"},
        "this is no JSON Web Key (a secret (oct) does not belong in a key set; give it with --jwt-secret-file)",
    ),
    ({"keys": []}, "this is no JSON Web Key (kty, crv, alg and kid must be strings)"),
]


@pytest.mark.parametrize(("key", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_files_that_cannot_sign(key: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_signing_key("key.json", json.dumps(key).encode())
    assert str(refused.value) == f"key.json: {reason}"
