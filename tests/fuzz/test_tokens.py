"""Tokens that are nearly right: each one is refused with its code, or gives exactly the rights that were signed."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from jobws.access.authenticator import Authenticator, KeyFiles
from jobws.access.carrier import Carried, Carrier
from jobws.access.identity import Rights
from jobws.access.jwt import Rules
from jobws.access.scope import parse_scope
from jobws.access.static_tokens import line_of, new_token
from jobws.errors import TokenRefusedError
from tests.fuzz.mutations import attempt, changed_object, changed_text
from tests.support.signing import SECRET, ec_key, ed_key, jwk, jwks, rsa_key, signed_token

if TYPE_CHECKING:
    from jobws.access.identity import Identity

NOW = 1_795_000_000
STATIC = new_token(b"s" * 32)
FILES = KeyFiles(tokens="tokens", secrets=("old", "new"), jwks="jwks", revoked="revoked")
HELD: dict[str, bytes] = {
    "tokens": line_of(STATIC, sub="nightly", expiry="never", rights=Rights(parse_scope("read:logs"))).encode(),
    "old": b"x" * 32,
    "new": SECRET,
    "jwks": jwks(
        *(jwk(rsa_key(), kid="rsa"), jwk(ec_key(), kid="ec-1"), jwk(ec_key(1), kid="ec-2"), jwk(ed_key(), kid="ed"))
    ),
    "revoked": b"# stolen\nt9\n",
}
SIGNERS: list[tuple[dict[str, Any], object]] = [
    ({"alg": "HS256"}, SECRET),
    ({"alg": "HS256", "kid": "x"}, b"x" * 32),
    ({"alg": "RS256", "kid": "rsa"}, rsa_key()),
    ({"alg": "ES256", "kid": "ec-2"}, ec_key(1)),
    ({"alg": "EdDSA"}, ed_key()),
]
STRANGERS = (b"y" * 32, ec_key(2), ed_key(1))
RULES = (Rules(), Rules(audience="jobs", issuer="here", leeway_seconds=0), Rules(scope_claim=None))


def authenticator(rules: Rules) -> Authenticator:
    made = Authenticator(FILES, rules)
    assert made.look(HELD) == []
    return made


AUTHENTICATORS = [authenticator(rules) for rules in RULES]


def outcome(made: Authenticator, token: str, carrier: Carrier = Carrier.AUTHENTICATE) -> Identity | str:
    """Return who holds the token, or the code with which it is refused."""
    found = attempt(TokenRefusedError, lambda text: made.identify(Carried(carrier, text), now=NOW), token)
    if isinstance(found, TokenRefusedError):
        assert str(found).isprintable(), "it does not tear the log"
        return found.code
    assert made.is_current(found)
    return found


TOKENS = [
    STATIC,
    *(signed_token(header, {"exp": NOW + 60, "scope": "read:jobs:http/1"}, key) for header, key in SIGNERS),
]
CHARACTERS = string.ascii_letters + string.digits + ".=-_~ \n"
PARTS = sorted({part for token in TOKENS for part in token.split(".")})


@given(changed_text(st.sampled_from(TOKENS), (*CHARACTERS, "..", "jobws_", *PARTS)), st.sampled_from(Carrier))
def test_a_token_that_was_changed_is_refused(token: str, carrier: Carrier) -> None:
    found = outcome(AUTHENTICATORS[0], token, carrier)
    assert (found == "bad-token") == (token not in TOKENS)


times = st.sampled_from([NOW + change for change in (-90_000, -6, -5, -4, 0, 4, 5, 6, 0.5, 90_000)])
all_claims: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"exp": times},
    optional={
        **{
            "nbf": times,
            "iat": times,
            "sub": st.sampled_from(("ann", "", "x" * 257)),
            "jti": st.sampled_from(("a", "t9")),
        },
        **{"aud": st.sampled_from(("jobs", "x", ["x", "jobs"])), "iss": st.sampled_from(("here", "x"))},
        "scope": st.sampled_from(("read:jobs:http/1", "openid", ["read:logs", "admin"])),
    },
)
CLAIMS = ("exp", "nbf", "iat", "aud", "iss", "sub", "jti", "scope")
claims = all_claims | changed_object(all_claims, CLAIMS)
HEADERS = ("alg", "kid", "crit", "jku", "jwk", "x5u", "typ")


def is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


def is_text(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 256 and not any("\ud800" <= char <= "\udfff" for char in value)


def is_meant(given: object, configured: str | None) -> bool:
    listed = given if isinstance(given, list) else [given]
    return configured in listed and all(isinstance(each, str) for each in listed)


def expected(claims: dict[str, Any], rules: Rules) -> Rights | str:
    """Return the rights of a token with these claims, or the code with which it is refused."""
    late = NOW + rules.leeway_seconds
    try:
        json.dumps(claims, allow_nan=False)
        rights = Rights(parse_scope(claims.get("scope")) if rules.scope_claim else ())
    except (ValueError, TokenRefusedError):
        return "bad-token"
    is_good = (
        is_time(claims.get("exp"))
        and all(is_time(claims[name]) and claims[name] <= late for name in ("nbf", "iat") if name in claims)
        and all(is_text(claims[name]) for name in ("sub", "jti") if name in claims)
        and ("aud" not in claims if rules.audience is None else is_meant(claims.get("aud"), rules.audience))
        and ("iss" not in claims if rules.issuer is None else claims.get("iss") == rules.issuer)
    )
    if not is_good:
        return "bad-token"
    if claims["exp"] <= NOW:
        return "expired"
    return "bad-token" if claims.get("jti") == "t9" else rights


@given(claims, st.sampled_from(SIGNERS), st.sampled_from(list(zip(AUTHENTICATORS, RULES, strict=True))))
def test_claims_give_their_rights_or_are_refused(
    claims: dict[str, Any], signer: tuple[dict[str, Any], object], bridge: tuple[Authenticator, Rules]
) -> None:
    found = outcome(bridge[0], signed_token(signer[0], claims, signer[1]))
    assert (found if isinstance(found, str) else found.rights) == expected(claims, bridge[1])


@given(
    changed_object(st.sampled_from([header for header, _ in SIGNERS]), HEADERS),
    st.sampled_from([key for _, key in SIGNERS] + list(STRANGERS)),
)
def test_a_header_chooses_no_key_of_its_own(header: dict[str, Any], key: object) -> None:
    found = outcome(AUTHENTICATORS[0], signed_token(header, {"exp": NOW + 60, "scope": "admin"}, key))
    fitting = any(key is its_key and header.get("alg") == its_header["alg"] for its_header, its_key in SIGNERS)
    if isinstance(found, str):
        assert found == "bad-token"
    else:
        assert fitting
        assert not {"crit", "jku", "jwk", "x5u"} & header.keys()
