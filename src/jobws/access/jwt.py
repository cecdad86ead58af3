"""Verifies JSON Web Tokens (RFC 7519), more strictly than libraries do, since each rule is access control.

PyJWT 2.15 does not require `exp`, and accepts it as a text. So PyJWT only checks signatures here.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from jobws.access.identity import MAX_SUB_CHARACTERS, Identity, Rights
from jobws.access.json_object import read_object
from jobws.access.key_set import Algorithm, Key, KeySet
from jobws.access.scope import parse_scope
from jobws.errors import TokenRefusedError, UnknownKeyError
from jobws.protocol.identifiers import MAX_SAFE_INTEGER, is_text

DEFAULT_LEEWAY_SECONDS: Final = 5
# With `jku`, `jwk` and `x5u` a token would choose its own key. `crit` requires an extension, and jobws has none.
_REFUSED_HEADERS: Final = ("crit", "jku", "jwk", "x5u")
_PART: Final = re.compile(r"[A-Za-z0-9_-]*")
_ALGORITHMS: Final = {algorithm.value: algorithm for algorithm in Algorithm}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a token must say.

    Attributes:
        audience: What `aud` must be or contain; None if a token must not have `aud`.
        issuer: What `iss` must be; None if a token must not have `iss`.
        scope_claim: The claim that holds the scope. None means that tokens give no rights.
        leeway_seconds: By how many seconds the issuer's clock may be ahead, for `nbf` and `iat`. For `exp` there is no
            leeway: from `exp` on the token is refused, and so are new requests of clients that are connected with it.
    """

    audience: str | None = None
    issuer: str | None = None
    scope_claim: str | None = "scope"
    leeway_seconds: float = DEFAULT_LEEWAY_SECONDS


def verify(token: str, keys: KeySet, rules: Rules, *, now: float) -> Identity:
    """Return who holds a token.

    Args:
        token: The token. Its length is not limited here; see `jobws.access.carrier.check_text`.
        keys: The keys to verify it with.
        rules: What the token must say.
        now: The time in seconds since 1970.

    Raises:
        TokenRefusedError: `expired` if nothing is wrong with the token except its age, `bad-token` for any other
            reason.
        UnknownKeyError: The token names a key that `keys` does not have.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise _bad(f"it has {len(parts)} parts with a dot between them; a JWT has 3")
    header, signature = _object("header", parts[0]), _bytes("signature", parts[2])
    for name in _REFUSED_HEADERS:
        if name in header:
            raise _bad(f"its header has {name!a}, which is refused")
    signed = token.rpartition(".")[0].encode()
    key = next((key for key in _candidates(header, keys) if key.verifies(signed, signature)), None)
    if key is None:
        raise _bad(f"its {header['alg']} signature is wrong: another key signed it, or it was changed")
    # Claims are not even parsed before the signature is known to be right.
    claims = _object("payload", parts[1])
    return _identity(token, claims, key, rules, now)


def _candidates(header: dict[str, Any], keys: KeySet) -> list[Key]:
    """Return the keys that may have signed a token with this header. There is at least one.

    Raises:
        UnknownKeyError: No key for the header's `alg` has its `kid`. Not raised for HS256, since secrets have no names.
        TokenRefusedError: `alg` is not accepted, or there is no key for it; `kid` is not a string; or there is no
            `kid`, and there are several keys for `alg`.
    """
    name = header.get("alg")
    algorithm = _ALGORITHMS.get(name) if isinstance(name, str) else None
    if algorithm is None:
        raise _bad(f"its alg is {_shown(name)}; accepted are HS256, RS256, ES256 and EdDSA")
    of_algorithm = keys.of(algorithm)
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise _bad("its kid is not a string")
    if not of_algorithm:
        error = TokenRefusedError if kid is None or algorithm is Algorithm.HS256 else UnknownKeyError
        raise error("bad-token", f"its alg is {algorithm.value}, and there is no key for that")
    if algorithm is Algorithm.HS256:
        return of_algorithm  # secrets have no names, so each one is tried, for instance an old and a new one
    if kid is None:
        if len(of_algorithm) > 1:
            raise _bad(f"it has no kid, and there are {len(of_algorithm)} keys for {algorithm.value}")
        return of_algorithm
    named = [key for key in of_algorithm if key.kid == kid]
    if not named:
        raise UnknownKeyError("bad-token", f"no key for {algorithm.value} has its kid, {_shown(kid)}")
    return named


def _identity(token: str, claims: dict[str, Any], key: Key, rules: Rules, now: float) -> Identity:
    expires = _time(claims, "exp")
    if expires is None:
        raise _bad("it has no exp; a token must expire")
    for name, meaning in (("nbf", "is not valid before"), ("iat", "was issued in the future, at")):
        since = _time(claims, name)
        if since is not None and since > now + rules.leeway_seconds:
            raise _bad(f"it {meaning} {since:.0f} ({name}); now it is {now:.0f}")
    _check_audience(claims, rules.audience)
    _check_issuer(claims, rules.issuer)
    sub, jti = _text(claims, "sub"), _text(claims, "jti")
    rights = Rights()
    if rules.scope_claim is not None:
        if rules.scope_claim not in claims:
            raise _bad(f"it has no claim {rules.scope_claim!a}, which lists its rights")
        rights = Rights(parse_scope(claims[rules.scope_claim]))
    # This check is the last, since `expired` tells a client that nothing else is wrong with the token.
    if now >= expires:
        raise TokenRefusedError("expired", f"it expired at {expires:.0f}; now it is {now:.0f}")
    return Identity(
        iss=claims.get("iss"),
        sub=sub,
        rights=rights,
        expires_ms=int(expires * 1000),
        token_hash=sha256(token.encode()).digest(),
        key=key.fingerprint,
        jti=jti,
    )


def _check_audience(claims: dict[str, Any], audience: str | None) -> None:
    given = claims.get("aud")
    listed = given if isinstance(given, list) else [given]
    if audience is None:
        if "aud" in claims:
            raise _bad("it has an aud, and --jwt-audience is not set")
    elif audience not in listed or not all(isinstance(each, str) for each in listed):
        raise _bad(f"its aud is {_shown(given)}, not {audience!a}" if "aud" in claims else "it has no aud")


def _check_issuer(claims: dict[str, Any], issuer: str | None) -> None:
    if issuer is None:
        if "iss" in claims:
            raise _bad("it has an iss, and --jwt-issuer is not set")
    elif claims.get("iss") != issuer:
        raise _bad(f"its iss is {_shown(claims['iss'])}, not {issuer!a}" if "iss" in claims else "it has no iss")


def _time(claims: dict[str, Any], name: str) -> float | None:
    """Return the claim `name`, a time in seconds since 1970, or None if the token does not have this claim.

    Raises:
        TokenRefusedError: `bad-token`. The claim is no number, or not one within ±(2^53-1).
    """
    value = claims.get(name)
    if name not in claims:
        return None
    # JSON has no infinity, but 1e999 becomes one. `not … <=` refuses it, and NaN, too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_SAFE_INTEGER:
        raise _bad(f"its {name} is not a number of seconds below 2^53")
    return value


def _text(claims: dict[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if name not in claims:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_SUB_CHARACTERS or not is_text(value):
        raise _bad(f"its {name} is not a text of 1 to {MAX_SUB_CHARACTERS} characters")
    return value


def _object(name: str, part: str) -> dict[str, Any]:
    try:
        return read_object(_decoded(part))
    except ValueError as error:
        raise _bad(f"its {name} cannot be read ({error})") from None


def _bytes(name: str, part: str) -> bytes:
    try:
        return _decoded(part)
    except ValueError as error:
        raise _bad(f"its {name} cannot be read ({error})") from None


def _decoded(part: str) -> bytes:
    if not _PART.fullmatch(part):
        raise ValueError("it is not base64url")
    data = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    # The last character may have bits that belong to no byte. If they could be chosen freely, a token would have
    # several texts.
    if urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        raise ValueError("its base64url is not canonical")
    return data


def _shown(value: object) -> str:
    return ascii(value)[:80]


def _bad(reason: str) -> TokenRefusedError:
    return TokenRefusedError("bad-token", reason)
