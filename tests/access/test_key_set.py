"""Which files of keys are refused, and which keys in them are used."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jobws.access.key_set import Algorithm, read_jwks, read_secret
from jobws.errors import ConfigurationError
from tests.support.signing import SECRET, ec_key, ed_key, jwk, jwks, number, rsa_key

RSA, EC, ED = jwk(rsa_key()), jwk(ec_key()), jwk(ed_key())


def test_one_algorithm_for_each_kind_of_key() -> None:
    found = read_jwks("keys", jwks(RSA, EC, ED))
    assert [key.algorithm for key in found] == [Algorithm.RS256, Algorithm.ES256, Algorithm.EDDSA]
    named = read_jwks("keys", jwks({**RSA, "alg": "RS256", "use": "sig", "kid": "a", "key_ops": ["verify"]}))
    assert [(key.algorithm, key.kid) for key in named] == [(Algorithm.RS256, "a")]


def test_keys_for_something_else_are_left_out() -> None:
    others: list[dict[str, Any]] = [
        {**RSA, "use": "enc"},
        {**RSA, "alg": "RS512"},
        {**RSA, "alg": "RSA-OAEP"},
        {**EC, "key_ops": ["sign"]},
        {"kty": "EC", "crv": "P-384", "alg": "ES384"},
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kty": "future", "alg": "ML-DSA-44"},
    ]
    assert [key.algorithm for key in read_jwks("keys", jwks(*others, ED))] == [Algorithm.EDDSA]
    with pytest.raises(ConfigurationError, match=r"^keys: no key for RS256, ES256 or EdDSA signatures$"):
        read_jwks("keys", jwks(*others))


def test_a_private_key_is_used_as_a_public_one() -> None:
    private = {**ED, "d": ED["x"]}
    assert read_jwks("keys", jwks(private)) == read_jwks("keys", jwks(ED))


def test_the_same_kid_may_name_keys_of_different_algorithms() -> None:
    assert len(read_jwks("keys", jwks({**RSA, "kid": "a"}, {**EC, "kid": "a"}))) == 2


NO_SECRET = "a secret (oct) does not belong in a key set; give it with --jwt-secret-file"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"kty": "oct", "k": "AAAA"}, NO_SECRET),
    ({"kty": "oct", "k": "AAAA", "alg": "RS256"}, NO_SECRET),
    (jwk(rsa_key(1024)), "RSA with 1024 bits; it needs at least 2048"),
    ({**jwk(rsa_key(1024)), "use": "enc"}, "RSA with 1024 bits; it needs at least 2048"),
    ({**RSA, "alg": "HS256"}, "alg 'HS256' does not fit a key of 'RSA'"),
    ({**RSA, "alg": "ES256"}, "alg 'ES256' does not fit a key of 'RSA'"),
    ({**EC, "alg": "ES384"}, "alg 'ES384' does not fit a key of 'EC P-256'"),
    ({**EC, "alg": "RS256"}, "alg 'RS256' does not fit a key of 'EC P-256'"),
    ({**EC, "crv": "P-384", "alg": "ES256"}, "alg 'ES256' does not fit a key of 'EC P-384'"),
    ({**ED, "alg": "ES256"}, "alg 'ES256' does not fit a key of 'OKP Ed25519'"),
    ({**RSA, "alg": 7}, "kty, crv, alg and kid must be strings"),
    ({**RSA, "kid": 7}, "kty, crv, alg and kid must be strings"),
    ({"kid": "a"}, "kty, crv, alg and kid must be strings"),
    ({**RSA, "key_ops": "verify"}, "key_ops must be a list"),
    ({"kty": "RSA"}, "its numbers are no public key"),
    ({**RSA, "e": number(1)}, "its numbers are no public key"),
    ({**RSA, "n": 5}, "its numbers must be strings of base64url"),
    ({**EC, "y": EC["x"]}, "its numbers are no public key"),
    ({**ED, "x": "AAAA"}, "its numbers are no public key"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_one_bad_key_refuses_the_file(key: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_jwks("keys.json", jwks(ED, key))
    assert str(refused.value) == f"keys.json: key 2: {reason}"


FILES: list[tuple[bytes, str]] = [
    (b"", "this is no JSON Web Key Set (Expecting value: line 1 column 1 (char 0))"),
    (b"[]", "this is no JSON Web Key Set (it is not a JSON object)"),
    (b"{}", 'this is no JSON Web Key Set (it has no list "keys")'),
    (b'{"keys": {}}', 'this is no JSON Web Key Set (it has no list "keys")'),
    (b'{"keys": [], "keys": []}', "this is no JSON Web Key Set (it has a name twice)"),
    (b'{"keys": [7]}', "key 1: it is not a JSON object"),
    (b'{"keys": []}', "no key for RS256, ES256 or EdDSA signatures"),
    (jwks({**EC, "kid": "a"}, {**jwk(ec_key(1)), "kid": "a"}), "key 2: another key has the same kid, 'a'"),
]


@pytest.mark.parametrize(("content", "reason"), FILES, ids=range(len(FILES)))
def test_files_that_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_jwks("keys.json", content)
    assert str(refused.value) == f"keys.json: {reason}"


def test_a_key_set_has_a_number_of_keys() -> None:
    keys = [{**ED, "kid": str(number)} for number in range(1_001)]
    assert len(read_jwks("keys.json", jwks(*keys[:100]))) == 100
    for several, count in ((keys[:101], "101"), (keys, "1,001")):
        with pytest.raises(ConfigurationError) as refused:
            read_jwks("keys.json", jwks(*several))
        sentence = f"keys.json: it has {count} keys, and may have 100; leave out those that sign no tokens"
        assert str(refused.value) == sentence


def test_secrets() -> None:
    key = read_secret("file", SECRET + b"\r\n")
    assert (key.algorithm, key.kid, key.material) == (Algorithm.HS256, None, SECRET)
    assert key.fingerprint == read_secret("file", SECRET).fingerprint != read_secret("file", SECRET + b"x").fingerprint
    with pytest.raises(ConfigurationError) as refused:
        read_secret("file", SECRET[:-1] + b"\n")
    assert str(refused.value) == (
        "file: the secret has 31 bytes; it needs at least 32: openssl rand -base64 48 makes one"
    )
    pem = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (pem, jwks(RSA)):
        with pytest.raises(ConfigurationError, match=r"^file: this is a key or a certificate, not a secret$"):
            read_secret("file", wrong)
