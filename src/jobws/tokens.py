"""Makes tokens for a bridge, in any program that knows the bridge's secret. Imports the standard library only.

A token is a JSON Web Token (RFC 7519), signed with HMAC and SHA-256 (`HS256`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_SECRET_BYTES: Final = 32
"""The shortest secret that is allowed. A signature has as many bytes (RFC 7518 §3.2)."""


def mint(
    secret: str | bytes,
    scope: str,
    *,
    sub: str | None = None,
    seconds: float = 900,
    audience: str | None = None,
    issuer: str | None = None,
) -> str:
    """Return a new token.

    Args:
        secret: The content of the file that `jobws token` takes as `--jwt-secret-file`, without the newline at its end.
            At least 32 bytes.
        scope: What the token allows: entries such as `read:jobs:http/42`, separated by one space each. This
            function does not check them.
        sub: Who holds the token, for instance the id of a user; None for nobody in particular.
        seconds: How long the token is valid from now.
        audience: The claim `aud`, for a bridge that expects one; None for no claim.
        issuer: The claim `iss`, for a bridge that expects one; None for no claim.

    Raises:
        ValueError: The secret is shorter than 32 bytes, the scope is empty, or `seconds` is not above 0.
    """
    key = secret.encode() if isinstance(secret, str) else secret
    if len(key) < LEAST_SECRET_BYTES:
        raise ValueError(f"the secret has {len(key)} bytes; it needs at least {LEAST_SECRET_BYTES}")
    claims = claims_of(scope, time.time(), sub=sub, seconds=seconds, audience=audience, issuer=issuer)
    return hs256_token(key, claims)


def job_scope(queue: str, job_id: str) -> str:
    """Return the scope that allows reading exactly one job: its events, its state and the lines of its log.

    Args:
        queue: The queue's label, as clients see it.
        job_id: The job's id. `*` is no wildcard here: it means the one job whose id is `*`.

    Raises:
        ValueError: The label or the id is empty or is not valid Unicode, or the label is `*`, which no queue has.
    """
    if not queue or not job_id:
        raise ValueError("a queue and a job id must not be empty")
    if queue == "*":
        raise ValueError("no queue has the label *; for every queue write the scope yourself: read:jobs:*/ID")
    return f"read:jobs:{encode(queue)}/{encode(job_id)}"


def encode(text: str) -> str:
    """Return a queue's label or a job id as it is written in a scope. `*` becomes `%2A`, since a plain `*` means all.

    Raises:
        ValueError: `text` is not valid Unicode.
    """
    return quote(text, safe="!'()")


def claims_of(
    scope: str, now: float, *, sub: str | None, seconds: float, audience: str | None, issuer: str | None
) -> dict[str, Any]:
    """Return the claims of a token. `now` is in seconds since 1970. `mint` explains the other arguments.

    Raises:
        ValueError: The scope is empty, or `seconds` is not above 0.
    """
    if not scope:
        raise ValueError("the scope is empty; name at least one right, such as read:jobs:QUEUE/ID")
    if not seconds > 0:
        raise ValueError("seconds must be above 0")
    claims = {"scope": scope, "exp": int(now + seconds), "sub": sub, "aud": audience, "iss": issuer}
    return {name: value for name, value in claims.items() if value is not None}


def hs256_token(secret: bytes, claims: dict[str, Any]) -> str:
    """Return a token with these claims, signed with a secret of any length."""
    return signed_token({"alg": "HS256", "typ": "JWT"}, claims, lambda data: hmac.digest(secret, data, hashlib.sha256))


def signed_token(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """Return a token with this header and these claims. `sign` returns the signature of the bytes that it gets."""
    parts = (json.dumps(part, ensure_ascii=False, separators=(",", ":")) for part in (header, claims))
    signed = ".".join(_encoded(part.encode()) for part in parts)
    return f"{signed}.{_encoded(sign(signed.encode()))}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
