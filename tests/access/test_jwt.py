"""Each rule for JWTs: a token that breaks only this rule, and is otherwise accepted, is refused."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from jobws.access.identity import Identity, Rights
from jobws.access.jwt import Rules, verify
from jobws.access.key_set import Key, KeySet, read_jwks, read_secret
from jobws.access.scope import parse_scope
from jobws.errors import TokenRefusedError, UnknownKeyError
from tests.support.signing import SECRET, ec_key, ed_key, encoded, jwk, jwks, rsa_key, signature, signed_token

NOW = 1_795_000_000
HS = {"alg": "HS256", "typ": "JWT"}
CLAIMS: dict[str, Any] = {"exp": NOW + 60, "scope": "read:jobs:http/42", "sub": "ann"}
SECRETS = KeySet((read_secret("old", b"x" * 32), read_secret("new", SECRET + b"\n")))
PUBLIC = KeySet(
    read_jwks(
        "keys",
        jwks(
            jwk(rsa_key(), kid="rsa"),
            jwk(ec_key(), kid="ec-1"),
            jwk(ec_key(1), kid="ec-2"),
            jwk(ed_key(), kid="ed"),
        ),
    )
)
EVERY = KeySet(SECRETS.keys + PUBLIC.keys)


def check(token: str, keys: KeySet = EVERY, *, now: float = NOW, **rules: Any) -> Identity:
    return verify(token, keys, Rules(**rules), now=now)


def refusal(token: str, keys: KeySet = EVERY, *, now: float = NOW, **rules: Any) -> tuple[str, str]:
    with pytest.raises(TokenRefusedError) as refused:
        verify(token, keys, Rules(**rules), now=now)
    assert str(refused.value).isascii()
    return refused.value.code, str(refused.value)


def bad(reason: str) -> tuple[str, str]:
    return "bad-token", reason


def test_the_holder_of_a_token() -> None:
    token = signed_token(HS, {**CLAIMS, "jti": "t1", "exp": NOW + 0.25})
    assert check(token) == Identity(
        iss=None,
        sub="ann",
        rights=Rights(parse_scope("read:jobs:http/42")),
        expires_ms=NOW * 1000 + 250,
        token_hash=sha256(token.encode()).digest(),
        key=SECRETS.keys[1].fingerprint,
        jti="t1",
    )


ACCEPTED: list[tuple[dict[str, str], object]] = [
    (HS, SECRET),
    (HS, b"x" * 32),
    ({"alg": "HS256", "kid": "anything"}, SECRET),
    ({"alg": "RS256", "kid": "rsa"}, rsa_key()),
    ({"alg": "RS256"}, rsa_key()),
    ({"alg": "ES256", "kid": "ec-1"}, ec_key()),
    ({"alg": "ES256", "kid": "ec-2"}, ec_key(1)),
    ({"alg": "EdDSA"}, ed_key()),
    ({"alg": "EdDSA", "x5t": "ignored", "cty": "ignored"}, ed_key()),
]


@pytest.mark.parametrize(("header", "key"), ACCEPTED, ids=range(len(ACCEPTED)))
def test_each_algorithm(header: dict[str, str], key: object) -> None:
    found = check(signed_token(header, CLAIMS, key))
    assert found.sub == "ann"
    (signer,) = (each for each in EVERY.keys if each.fingerprint == found.key)
    assert signer.algorithm.value == header["alg"]
    assert signer.kid in (None, header.get("kid", signer.kid))


PEM = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
NO_ALG = "accepted are HS256, RS256, ES256 and EdDSA"


REFUSED: list[tuple[dict[str, Any], object, str]] = [
    ({"alg": "none"}, SECRET, f"its alg is 'none'; {NO_ALG}"),
    ({"alg": "None"}, SECRET, f"its alg is 'None'; {NO_ALG}"),
    ({"alg": "hs256"}, SECRET, f"its alg is 'hs256'; {NO_ALG}"),
    ({"alg": "HS512"}, SECRET, f"its alg is 'HS512'; {NO_ALG}"),
    ({"alg": "PS256"}, rsa_key(), f"its alg is 'PS256'; {NO_ALG}"),
    ({"alg": ["HS256"]}, SECRET, f"its alg is ['HS256']; {NO_ALG}"),
    ({}, SECRET, f"its alg is None; {NO_ALG}"),
    ({"alg": "x" * 81}, SECRET, f"its alg is '{'x' * 79}; {NO_ALG}"),
    (HS, b"y" * 32, "its HS256 signature is wrong: another key signed it, or it was changed"),
    (HS, PEM, "its HS256 signature is wrong: another key signed it, or it was changed"),
    (HS, PEM.strip(), "its HS256 signature is wrong: another key signed it, or it was changed"),
    (
        {"alg": "RS256", "kid": "rsa"},
        SECRET,
        "its RS256 signature is wrong: another key signed it, or it was changed",
    ),
    (
        {"alg": "ES256", "kid": "ec-1"},
        ec_key(1),
        "its ES256 signature is wrong: another key signed it, or it was changed",
    ),
    ({"alg": "EdDSA"}, ed_key(1), "its EdDSA signature is wrong: another key signed it, or it was changed"),
    ({"alg": "EdDSA", "kid": "rsa"}, ed_key(), "no key for EdDSA has its kid, 'rsa'"),
    ({"alg": "RS256", "kid": "ec-1"}, rsa_key(), "no key for RS256 has its kid, 'ec-1'"),
    ({"alg": "ES256"}, ec_key(), "it has no kid, and there are 2 keys for ES256"),
    ({"alg": "RS256", "kid": "x" * 81}, rsa_key(), f"no key for RS256 has its kid, '{'x' * 79}"),
    ({"alg": "ES256", "kid": 7}, ec_key(), "its kid is not a string"),
    *(({**HS, name: []}, SECRET, f"its header has {name!r}, which is refused") for name in ("crit", "jku")),
    *(({**HS, name: None}, SECRET, f"its header has {name!r}, which is refused") for name in ("jwk", "x5u")),
]


@pytest.mark.parametrize(("header", "key", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_headers_that_are_refused(header: dict[str, object], key: object, reason: str) -> None:
    assert refusal(signed_token(header, CLAIMS, key)) == bad(reason)


def test_a_key_that_is_not_there() -> None:
    token = signed_token({"alg": "RS256", "kid": "next"}, CLAIMS, rsa_key())
    assert refusal(token, SECRETS) == bad("its alg is RS256, and there is no key for that")
    for keys in (EVERY, SECRETS):
        with pytest.raises(UnknownKeyError):
            check(token, keys)
    for header in ({"alg": "RS256"}, {**HS, "kid": "next"}):
        with pytest.raises(TokenRefusedError) as refused:
            check(signed_token(header, CLAIMS, SECRET), KeySet(()))
        assert not isinstance(refused.value, UnknownKeyError)
    assert refusal(signed_token(HS, CLAIMS, PEM), PUBLIC) == bad("its alg is HS256, and there is no key for that")


LATE = NOW + 6
NO_NUMBER = bad("its exp is not a number of seconds below 2^53")
TIMES: list[tuple[dict[str, object], tuple[str, str] | None]] = [
    ({"exp": NOW + 0.5}, None),
    ({"exp": NOW}, ("expired", f"it expired at {NOW}; now it is {NOW}")),
    ({"exp": 0}, ("expired", f"it expired at 0; now it is {NOW}")),
    ({"exp": -1}, ("expired", f"it expired at -1; now it is {NOW}")),
    ({"exp": 2**53 - 1}, None),
    ({"exp": 2**53}, NO_NUMBER),
    ({"exp": 10**30}, NO_NUMBER),
    ({"exp": 1e300}, NO_NUMBER),
    ({"exp": str(LATE)}, NO_NUMBER),
    ({"exp": True}, NO_NUMBER),
    ({"exp": None}, NO_NUMBER),
    ({"nbf": NOW + 5}, None),
    ({"nbf": LATE}, bad(f"it is not valid before {LATE} (nbf); now it is {NOW}")),
    ({"nbf": str(NOW)}, bad("its nbf is not a number of seconds below 2^53")),
    ({"iat": NOW + 5}, None),
    ({"iat": LATE}, bad(f"it was issued in the future, at {LATE} (iat); now it is {NOW}")),
    ({"iat": None}, bad("its iat is not a number of seconds below 2^53")),
    ({"iat": -(2**53)}, bad("its iat is not a number of seconds below 2^53")),
]


@pytest.mark.parametrize(("changed", "refused"), TIMES, ids=range(len(TIMES)))
def test_times(changed: dict[str, object], refused: tuple[str, str] | None) -> None:
    token = signed_token(HS, {**CLAIMS, **changed})
    if refused is None:
        assert check(token).sub == "ann"
    else:
        assert refusal(token) == refused


def test_a_token_must_expire() -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != "exp"}
    assert refusal(signed_token(HS, claims)) == bad("it has no exp; a token must expire")
    for text in ("1e999", "NaN", "Infinity", "-Infinity"):
        assert refusal(signed_token(HS, f'{{"exp": {text}, "scope": "admin"}}'))[0] == "bad-token"


def test_leeway_is_a_setting() -> None:
    assert check(signed_token(HS, {**CLAIMS, "nbf": NOW + 29}), leeway_seconds=30).sub == "ann"
    assert refusal(signed_token(HS, {**CLAIMS, "nbf": NOW + 1}), leeway_seconds=0)[0] == "bad-token"
    assert refusal(signed_token(HS, {**CLAIMS, "exp": NOW - 1}), leeway_seconds=30)[0] == "expired"


def test_expired_is_said_only_of_what_is_right_in_all_else() -> None:
    old = {**CLAIMS, "exp": NOW - 60}
    assert refusal(signed_token(HS, old))[0] == "expired"
    for changed in ({"scope": "nonsense"}, {"aud": "x"}, {"iss": "x"}, {"sub": 5}, {"nbf": LATE}):
        assert refusal(signed_token(HS, {**old, **changed}))[0] == "bad-token"
    assert refusal(signed_token(HS, old, b"y" * 32))[0] == "bad-token"


AUDIENCES: list[tuple[str | None, dict[str, object], str | None]] = [
    (None, {}, None),
    (None, {"aud": "a"}, "it has an aud, and --jwt-audience is not set"),
    (None, {"aud": None}, "it has an aud, and --jwt-audience is not set"),
    ("a", {"aud": "a"}, None),
    ("a", {"aud": ["b", "a"]}, None),
    ("a", {}, "it has no aud"),
    ("a", {"aud": None}, "its aud is None, not 'a'"),
    ("a", {"aud": "ab"}, "its aud is 'ab', not 'a'"),
    ("a", {"aud": []}, "its aud is [], not 'a'"),
    ("a", {"aud": ["a", 5]}, "its aud is ['a', 5], not 'a'"),
    ("a", {"aud": {"a": 1}}, "its aud is {'a': 1}, not 'a'"),
]


@pytest.mark.parametrize(("audience", "changed", "reason"), AUDIENCES, ids=range(len(AUDIENCES)))
def test_audiences(audience: str | None, changed: dict[str, object], reason: str | None) -> None:
    token = signed_token(HS, {**CLAIMS, **changed})
    if reason is None:
        assert check(token, audience=audience).sub == "ann"
    else:
        assert refusal(token, audience=audience) == bad(reason)


ISSUERS: list[tuple[str | None, dict[str, object], str | None]] = [
    (None, {"iss": "a"}, "it has an iss, and --jwt-issuer is not set"),
    ("a", {"iss": "a"}, None),
    ("a", {}, "it has no iss"),
    ("a", {"iss": ["a"]}, "its iss is ['a'], not 'a'"),
    ("a", {"iss": "A"}, "its iss is 'A', not 'a'"),
]


@pytest.mark.parametrize(("issuer", "changed", "reason"), ISSUERS, ids=range(len(ISSUERS)))
def test_issuers(issuer: str | None, changed: dict[str, object], reason: str | None) -> None:
    token = signed_token(HS, {**CLAIMS, **changed})
    if reason is None:
        assert check(token, issuer=issuer).iss == "a"
    else:
        assert refusal(token, issuer=issuer) == bad(reason)


def test_scopes() -> None:
    both = Rights(parse_scope("read:logs write:logs"))
    assert check(signed_token(HS, {**CLAIMS, "scope": "read:logs write:logs"})).rights == both
    assert check(signed_token(HS, {**CLAIMS, "scope": ["read:logs", "write:logs"]})).rights == both
    other = signed_token(HS, {**CLAIMS, "scope": "openid", "jobws": "read:logs"})
    assert check(other, scope_claim="jobws").rights == Rights(parse_scope("read:logs"))
    assert check(signed_token(HS, {**CLAIMS, "scope": "openid"}), scope_claim=None).rights == Rights()
    assert refusal(signed_token(HS, {**CLAIMS, "scope": "read:logs openid"})) == bad(
        "bad scope 'openid': there is no such right; a colon of a name is written %3A"
    )
    assert refusal(signed_token(HS, CLAIMS), scope_claim="jobws") == bad(
        "it has no claim 'jobws', which lists its rights"
    )


@pytest.mark.parametrize("name", ["sub", "jti"])
def test_names_of_people_and_tokens(name: str) -> None:
    for value in ("x", "x" * 256, "\U0001f680" * 256, "a b\n"):
        assert getattr(check(signed_token(HS, {**CLAIMS, name: value})), name) == value
    reason = f"its {name} is not a text of 1 to 256 characters"
    for wrong in ("", "x" * 257, 5, None, "\ud800"):
        assert refusal(signed_token(HS, {**CLAIMS, name: wrong})) == bad(reason)
    without = {key: value for key, value in CLAIMS.items() if key != name}
    assert getattr(check(signed_token(HS, without)), name) is None


GOOD = signed_token(HS, CLAIMS)
HEAD, BODY, SIGNATURE = GOOD.split(".")


SHAPES = [
    ("", "it has 1 parts with a dot between them; a JWT has 3"),
    (f"{HEAD}.{BODY}", "it has 2 parts with a dot between them; a JWT has 3"),
    (f"{GOOD}..", "it has 5 parts with a dot between them; a JWT has 3"),
    (f"{HEAD}.{BODY}.", "its HS256 signature is wrong: another key signed it, or it was changed"),
    (f"{HEAD}.{BODY}.{SIGNATURE}=", "its signature cannot be read (it is not base64url)"),
    (f"{HEAD}.{BODY}.a\n{SIGNATURE}", "its signature cannot be read (it is not base64url)"),
    (f".{BODY}.{SIGNATURE}", "its header cannot be read (Expecting value: line 1 column 1 (char 0))"),
    (
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}{chr(ord(SIGNATURE[-1]) + 1)}",
        "its signature cannot be read (its base64url is not canonical)",
    ),
    (signed_token("[]", CLAIMS), "its header cannot be read (it is not a JSON object)"),
    (signed_token('{"alg": "HS256", "alg": "none"}', CLAIMS), "its header cannot be read (it has a name twice)"),
    (
        signed_token(HS, '{"exp": 1, "scope": "read:logs", "scope": "admin"}'),
        "its payload cannot be read (it has a name twice)",
    ),
    (signed_token(HS, "[1]"), "its payload cannot be read (it is not a JSON object)"),
    (signed_token(HS, "[" * 2000), "its payload cannot be read (it is nested too deep)"),
    (signed_token(HS, '{"exp": NaN}'), "its payload cannot be read (NaN is not JSON)"),
]


@pytest.mark.parametrize(("token", "reason"), SHAPES, ids=range(len(SHAPES)))
def test_shapes_that_are_refused(token: str, reason: str) -> None:
    assert refusal(token) == bad(reason)


def test_a_payload_that_is_not_text() -> None:
    signed = f"{HEAD}.{encoded(bytes([255]))}"
    token = f"{signed}.{encoded(signature(signed.encode(), SECRET))}"
    assert refusal(token)[1].startswith("its payload cannot be read ('utf-8' codec can't decode")


def test_what_was_not_signed_is_not_read() -> None:
    """If the payload were read, the reason would be another one."""
    other = encoded(json.dumps({**CLAIMS, "scope": "admin", "exp": "x"}).encode())
    assert refusal(f"{HEAD}.{other}.{SIGNATURE}") == bad(
        "its HS256 signature is wrong: another key signed it, or it was changed"
    )


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="ascii"))
def test_no_character_can_be_changed(place: int, char: str) -> None:
    changed = GOOD[:place] + char + GOOD[place + 1 :]
    if changed != GOOD:
        assert refusal(changed)[0] == "bad-token"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from([*CLAIMS, "nbf", "iat", "aud", "iss", "jti"]), values))
def test_any_claims_are_accepted_or_refused(changed: dict[str, object]) -> None:
    token = signed_token(HS, {**CLAIMS, **changed})
    try:
        found = verify(token, EVERY, Rules(), now=NOW)
    except TokenRefusedError:
        return
    assert found.expires_ms is not None
    assert NOW * 1000 - 5000 < found.expires_ms < 2**53 * 1000
    assert "aud" not in changed
    assert "iss" not in changed


def test_keys_show_no_secret() -> None:
    key: Key = SECRETS.keys[1]
    assert SECRET.decode() not in repr(SECRETS)
    assert repr(key.fingerprint) not in repr(key)
