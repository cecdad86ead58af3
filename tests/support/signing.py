"""Makes keys and signed tokens for tests with `cryptography`, which knows no rule of JSON Web Tokens, so any may be
broken.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

SECRET = b"0123456789abcdef0123456789abcdef"


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(1234567 + number, ec.SECP256R1())


@cache
def ed_key(number: int = 0) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int | None = None) -> str:
    return encoded(value.to_bytes(size or (value.bit_length() + 7) // 8))


def jwk(key: object, **more: object) -> dict[str, Any]:
    """Return the public half of a key as a JSON Web Key."""
    match key:
        case rsa.RSAPrivateKey():
            numbers = key.public_key().public_numbers()
            return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **more}
        case ec.EllipticCurvePrivateKey():
            point = key.public_key().public_numbers()
            return {"kty": "EC", "crv": "P-256", "x": number(point.x, 32), "y": number(point.y, 32), **more}
        case ed25519.Ed25519PrivateKey():
            return {"kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key().public_bytes_raw()), **more}
        case _:
            raise TypeError(key)


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def signature(signed: bytes, key: object) -> bytes:
    match key:
        case bytes():
            return hmac.digest(key, signed, hashlib.sha256)
        case rsa.RSAPrivateKey():
            return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        case ec.EllipticCurvePrivateKey():
            r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32) + s.to_bytes(32)
        case ed25519.Ed25519PrivateKey():
            return key.sign(signed)
        case _:
            raise TypeError(key)


def signed_token(header: object, claims: object, key: object = SECRET) -> str:
    """Return a token. Header and claims are JSON values, or the text to sign."""
    parts = (part if isinstance(part, str) else json.dumps(part) for part in (header, claims))
    signed = ".".join(encoded(part.encode()) for part in parts)
    return f"{signed}.{encoded(signature(signed.encode(), key))}"
