"""Files of keys that are nearly right: one that is wrong is named, and changes nothing; the others count."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobws.access.authenticator import Authenticator, KeyFiles
from jobws.access.carrier import Carried, Carrier
from jobws.access.identity import Rights
from jobws.access.jwt import Rules
from jobws.access.key_set import read_jwks
from jobws.access.scope import parse_scope
from jobws.access.signing_key import read_signing_key
from jobws.access.static_tokens import line_of, new_token, read_static_tokens
from jobws.errors import ConfigurationError
from tests.fuzz.mutations import attempt, changed_object, changed_text
from tests.support.signing import ec_key, ed_key, encoded, jwk, jwks, rsa_key

NOW = 1_795_000_000
STATIC = new_token(b"s" * 32)
FILES = KeyFiles(tokens="tokens", secrets=("secret",), jwks="jwks", revoked="revoked")
LINES = [
    line_of(new_token(bytes([number]) * 32), sub=f"s{number}", expiry=expiry, rights=Rights(parse_scope(scope)))
    for number, (expiry, scope) in enumerate((("never", "admin"), ("2027-01-31T12:00:00Z", "read:jobs:http read:logs")))
]
tokens_files = changed_text(
    st.lists(st.sampled_from(LINES), max_size=3).map("\n".join), ("\n", " ", "#", "never", "\0")
)
PRIVATE = {**jwk(ed_key(), kid="ed"), "d": encoded(ed_key().private_bytes_raw())}
MEMBERS = ("kty", "crv", "n", "e", "x", "y", "d", "kid", "alg", "use", "key_ops")
one_key = st.sampled_from([jwk(rsa_key(), kid="rsa"), jwk(ec_key(), alg="ES256"), jwk(ed_key(1)), PRIVATE])
near_keys = one_key | changed_object(one_key, MEMBERS)
# JSON that Python writes: with NaN and lone surrogates, too.
key_sets = st.lists(near_keys, max_size=2).map(lambda keys: jwks(*keys).decode())
near_sets = key_sets | changed_text(key_sets, ('"', "{", "}", "[", "]", ",", "null", '"keys"', "1e999"))
contents = st.one_of(tokens_files, near_sets).map(lambda text: text.encode(errors="surrogatepass")) | st.binary()


@given(contents, st.sampled_from(FILES.names()))
def test_a_broken_file_is_named_and_changes_nothing(content: bytes, name: str) -> None:
    good = {
        "tokens": line_of(STATIC, sub="n", expiry="never", rights=Rights(parse_scope("admin"))).encode(),
        **{"secret": b"x" * 32, "jwks": jwks(jwk(ed_key(), kid="ed")), "revoked": b""},
    }
    made = Authenticator(FILES, Rules())
    assert made.look(good) == []
    before = vars(made).copy()
    told = made.look({**good, name: content})
    if told:
        assert [each.startswith(name) for each in told] == [True]
        unchanged = ("_tokens", "_secrets", "_jwks", "_revoked", "_keys")
        assert [vars(made)[each] for each in unchanged] == [before[each] for each in unchanged]
    if told or name != "tokens":
        assert made.identify(Carried(Carrier.HEADER, STATIC), now=NOW).sub == "n"


@given(tokens_files)
def test_a_file_of_tokens_is_read_whole_or_not_at_all(text: str) -> None:
    content = text.encode(errors="surrogatepass")
    found = attempt(ConfigurationError, partial(read_static_tokens, "tokens"), content)
    if isinstance(found, ConfigurationError):
        assert str(found).startswith(("tokens, line ", "tokens is no UTF-8"))
        assert "\n" not in str(found)
        return
    lines = [line for line in content.decode().split("\n") if line.strip("\r") and not line.startswith("#")]
    assert len(found.identities) == len(lines)
    for digest, identity in found.identities.items():
        assert digest.hex() in text
        assert identity.rights.entries


@given(near_keys)
def test_one_key_is_read_or_refused_with_a_sentence(key: dict[str, Any]) -> None:
    for read in (read_jwks, read_signing_key):
        content = json.dumps({"keys": [key]} if read is read_jwks else key).encode()
        found = attempt(ConfigurationError, partial(read, "file"), content)
        if isinstance(found, ConfigurationError):
            assert str(found).startswith("file: ")
            assert PRIVATE["d"] not in str(found)


def test_the_files_are_good_before_they_are_changed() -> None:
    assert len(read_static_tokens("tokens", "\n".join(LINES).encode()).identities) == len(LINES)
    assert read_signing_key("key", json.dumps(PRIVATE).encode()).public.kid == "ed"
    with pytest.raises(ConfigurationError):
        read_jwks("set", b"{")
