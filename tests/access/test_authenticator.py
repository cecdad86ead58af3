"""Who holds a token, with files that change: what is gone is refused, and for a broken file, its old content counts."""

from __future__ import annotations

from typing import Any

import pytest

from jobws.access.authenticator import Authenticator, KeyFiles
from jobws.access.carrier import Carried, Carrier, find_token
from jobws.access.identity import Identity, Rights
from jobws.access.jwt import Rules
from jobws.access.key_set import read_secret
from jobws.access.scope import parse_scope
from jobws.access.static_tokens import line_of, new_token
from jobws.errors import ConfigurationError, TokenRefusedError, UnknownKeyError
from tests.support.signing import SECRET, ed_key, jwk, jwks, signed_token

NOW = 1_795_000_000
FILES = KeyFiles(tokens="tokens", secrets=("old", "new"), jwks="jwks", revoked="revoked")
STATIC = new_token(b"s" * 32)


def line(scope: str) -> bytes:
    return line_of(STATIC, sub="nightly", expiry="never", rights=Rights(parse_scope(scope))).encode()


GOOD: dict[str, bytes | ConfigurationError] = {
    "tokens": line("read:logs"),
    "old": b"x" * 32,
    "new": SECRET,
    "jwks": jwks(jwk(ed_key(), kid="a")),
    "revoked": b"# stolen\n\nt9\r\n",
}
BY_OLD = signed_token({"alg": "HS256"}, {"exp": NOW + 60, "scope": "admin", "jti": "t1"}, b"x" * 32)
BY_NEW = signed_token({"alg": "HS256"}, {"exp": NOW + 60, "scope": "admin"})
BY_KEY = signed_token({"alg": "EdDSA", "kid": "a"}, {"exp": NOW + 60, "scope": "admin"}, ed_key())
TOKENS = {"tokens": STATIC, "old": BY_OLD, "new": BY_NEW, "jwks": BY_KEY}


@pytest.fixture
def authenticator() -> Authenticator:
    made = Authenticator(FILES, Rules())
    assert made.look(GOOD) == []
    return made


def identify(authenticator: Authenticator, token: str) -> Identity:
    return authenticator.identify(Carried(Carrier.HEADER, token), now=NOW)


def refusal(authenticator: Authenticator, token: str) -> str:
    with pytest.raises(TokenRefusedError) as refused:
        identify(authenticator, token)
    return str(refused.value)


@pytest.mark.parametrize("name", TOKENS)
def test_each_file_lets_its_tokens_in_and_what_is_gone_is_refused(name: str, authenticator: Authenticator) -> None:
    token = TOKENS[name]
    identity = identify(authenticator, token)
    assert authenticator.is_current(identity)
    others = {"tokens": b"", "old": b"y" * 32, "new": b"z" * 32, "jwks": jwks(jwk(ed_key(1), kid="b"))}
    assert authenticator.look({**GOOD, name: others[name]}) == []
    assert refusal(authenticator, token)
    assert not authenticator.is_current(identity)
    for other in TOKENS.values():
        if other != token:
            assert authenticator.is_current(identify(authenticator, other))


BROKEN: dict[str, list[tuple[bytes | ConfigurationError, str]]] = {
    "tokens": [(b"nonsense", "tokens, line 1: expected: sha256-hex sub expiry|never scope…")],
    "old": [
        (b"", "old: the secret has 0 bytes; it needs at least 32: openssl rand -base64 48 makes one"),
        (ConfigurationError("cannot read old: Permission denied"), "cannot read old: Permission denied"),
    ],
    "new": [(ConfigurationError("cannot read new: gone"), "cannot read new: gone")],
    "jwks": [(b"{", "jwks: this is no JSON Web Key Set (")],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_breaks_leaves_the_state_before(name: str, authenticator: Authenticator) -> None:
    identity = identify(authenticator, TOKENS[name])
    for content, problem in BROKEN[name]:
        told = authenticator.look({**GOOD, name: content})
        assert len(told) == 1
        assert told[0].startswith(problem)
        assert authenticator.problems == tuple(told)
        assert authenticator.look({**GOOD, name: content}) == [], "told once"
        assert authenticator.problems == tuple(told)
        assert authenticator.is_current(identity)
        assert identify(authenticator, TOKENS[name]) == identity
    assert authenticator.look(GOOD) == []
    assert authenticator.problems == ()


def test_a_broken_file_holds_up_no_other(authenticator: Authenticator) -> None:
    """The first file is broken, and a key is removed from another file."""
    told = authenticator.look({**GOOD, "tokens": b"nonsense", "new": b"z" * 32})
    assert len(told) == 1
    assert refusal(authenticator, BY_NEW)
    assert identify(authenticator, STATIC).sub == "nightly"


def test_a_revoked_token(authenticator: Authenticator) -> None:
    identity, other = identify(authenticator, BY_OLD), identify(authenticator, BY_NEW)
    authenticator.look({**GOOD, "revoked": b"t9\nt1\n"})
    assert refusal(authenticator, BY_OLD) == "its jti, 't1', is revoked"
    assert not authenticator.is_current(identity)
    assert authenticator.is_current(other)
    assert authenticator.look({**GOOD, "revoked": b"\xff"}) == ["revoked is no UTF-8 text"]
    assert not authenticator.is_current(identity)
    authenticator.look(GOOD)
    assert authenticator.is_current(identity)


def test_a_comment_revokes_nothing(authenticator: Authenticator) -> None:
    claims = {"exp": NOW + 60, "scope": "admin", "jti": "# stolen"}
    assert identify(authenticator, signed_token({"alg": "HS256"}, claims)).jti == "# stolen"


def test_a_line_that_changes_is_another_identity(authenticator: Authenticator) -> None:
    identity = identify(authenticator, STATIC)
    authenticator.look({**GOOD, "tokens": line("write:logs")})
    assert not authenticator.is_current(identity)
    assert identify(authenticator, STATIC).rights == Rights(parse_scope("write:logs"))


def test_nothing_is_known_before_the_first_look() -> None:
    made = Authenticator(FILES, Rules(), (read_secret("environment", SECRET),))
    assert identify(made, BY_NEW).sub is None
    assert refusal(made, STATIC) == "the tokens file does not have this token"
    assert FILES.names() == ["tokens", "old", "new", "jwks", "revoked"]
    problems = made.look({name: ConfigurationError(f"cannot read {name}") for name in GOOD})
    assert problems == [f"cannot read {name}" for name in FILES.names()]
    assert made.is_current(identify(made, BY_NEW))


def test_unknown_keys_are_told_apart(authenticator: Authenticator) -> None:
    with pytest.raises(UnknownKeyError):
        identify(authenticator, signed_token({"alg": "EdDSA", "kid": "b"}, {}, ed_key(1)))


def test_the_carrier_limits_the_length(authenticator: Authenticator) -> None:
    with pytest.raises(TokenRefusedError, match="the limit in the cookie is 3072"):
        authenticator.identify(Carried(Carrier.COOKIE, "x" * 3073), now=NOW)


CARRIED: list[tuple[dict[str, Any], Carried | None]] = [
    ({}, None),
    ({"authorization": ["Basic abc"], "cookies": ["a=b; __Host-jobws2=x; jobws=y"]}, None),
    ({"authorization": ["Bearer abc"]}, Carried(Carrier.HEADER, "abc")),
    ({"authorization": ["bEARER  abc "]}, Carried(Carrier.HEADER, "abc")),
    ({"authorization": ["Bearer"]}, Carried(Carrier.HEADER, "")),
    ({"authorization": ["Bearer a b"]}, Carried(Carrier.HEADER, "a b")),
    ({"authorization": ["Basic x", "Bearer abc"]}, Carried(Carrier.HEADER, "abc")),
    ({"subprotocols": ["jobws.v1", "bearer.a.b.c"]}, Carried(Carrier.SUBPROTOCOL, "a.b.c")),
    ({"subprotocols": ["Bearer.abc", "bearer"]}, None),
    ({"cookies": ["a=b;__Host-jobws=abc ;c=d"]}, Carried(Carrier.COOKIE, "abc")),
    ({"cookies": ["a=b", "__Host-jobws=a=b"]}, Carried(Carrier.COOKIE, "a=b")),
    (
        {"authorization": ["Bearer "], "subprotocols": ["bearer.a"], "cookies": ["__Host-jobws=c"]},
        Carried(Carrier.HEADER, ""),
    ),
    (
        {"authorization": ["Basic x"], "subprotocols": ["bearer."], "cookies": ["__Host-jobws=c"]},
        Carried(Carrier.SUBPROTOCOL, ""),
    ),
]


@pytest.mark.parametrize(("request_parts", "expected"), CARRIED, ids=range(len(CARRIED)))
def test_the_first_carrier_decides(request_parts: dict[str, Any], expected: Carried | None) -> None:
    assert find_token(**request_parts) == expected


@pytest.mark.parametrize(
    ("request_parts", "reason"),
    [
        ({"authorization": ["Bearer a", "Bearer a"]}, "the header Authorization brings 2 tokens"),
        ({"subprotocols": ["bearer.a", "bearer.b"]}, "the subprotocol brings 2 tokens"),
        ({"cookies": ["__Host-jobws=a; __Host-jobws=b"]}, "the cookie brings 2 tokens"),
    ],
    ids=range(3),
)
def test_two_tokens_are_one_too_many(request_parts: dict[str, Any], reason: str) -> None:
    with pytest.raises(TokenRefusedError, match=f"^{reason}$"):
        find_token(**request_parts)


def test_no_secret_is_shown() -> None:
    assert "s3cret" not in repr(Authenticator(FILES, Rules(), (read_secret("environment", b"s3cret" * 8),)))
