"""The file of static tokens: what its lines mean, and which line is wrong."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

import pytest

from jobws.access.identity import Identity, Rights
from jobws.access.scope import parse_scope
from jobws.access.static_tokens import StaticTokens, line_of, new_token, read_static_tokens
from jobws.errors import ConfigurationError, TokenRefusedError

NOW = 1_795_000_000
TOKEN, OTHER = new_token(bytes(range(32))), new_token(b"\xff" * 32)
HASH = sha256(TOKEN.encode()).hexdigest()
RIGHTS = Rights(parse_scope("read:jobs:http/a%2Fb read:logs"))


def test_a_token_is_random_text() -> None:
    made = new_token(bytes(range(32)))
    assert made == "jobws_" + urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
    assert len(made) == 6 + 43
    with pytest.raises(ValueError, match="32 random bytes"):
        new_token(b"short")


def test_the_line_that_is_made_is_read_back() -> None:
    line = line_of(TOKEN, sub="nightly", expiry="never", rights=RIGHTS)
    assert line == f"{HASH} nightly never read:jobs:http/a%2Fb read:logs"
    found = read_static_tokens("file", f"# comment\n\n{line}\r\n".encode()).find(TOKEN, now=NOW)
    expected = Identity(
        iss=None, sub="nightly", rights=RIGHTS, expires_ms=None, token_hash=sha256(TOKEN.encode()).digest()
    )
    assert found == expected


@pytest.mark.parametrize(
    ("expiry", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-18T10:26:40Z", 1_794_997_600),
        ("2028-02-29T23:59:59Z", 1_835_481_599),
        ("2026-12-31T00:00:00Z", 1_798_675_200),
    ],
)
def test_times(expiry: str, seconds: int) -> None:
    tokens = read_static_tokens("file", f"{HASH} ann {expiry} read:logs".encode())
    assert tokens.find(TOKEN, now=seconds - 0.001).expires_ms == seconds * 1000
    with pytest.raises(TokenRefusedError) as refused:
        tokens.find(TOKEN, now=seconds)
    assert (refused.value.code, str(refused.value)) == (
        "expired",
        f"it expired at {seconds}; now it is {seconds}",
    )


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (OTHER, "the tokens file does not have this token"),
        (TOKEN[:-1] + "A", "the tokens file does not have this token"),
        (TOKEN[:-1], "a static token is jobws_ and 43 characters of base64url"),
        (TOKEN + "A", "a static token is jobws_ and 43 characters of base64url"),
        (TOKEN + "\n", "a static token is jobws_ and 43 characters of base64url"),
        (HASH, "a static token is jobws_ and 43 characters of base64url"),
        ("", "a static token is jobws_ and 43 characters of base64url"),
    ],
    ids=range(7),
)
def test_tokens_that_are_refused(token: str, reason: str) -> None:
    tokens = read_static_tokens("file", f"{HASH} ann never admin".encode())
    with pytest.raises(TokenRefusedError) as refused:
        tokens.find(token, now=NOW)
    assert (refused.value.code, str(refused.value)) == ("bad-token", reason)


def test_the_digest_is_compared_whole() -> None:
    """An entry whose key is right and whose identity has another token's hash is refused."""
    other = read_static_tokens("file", f"{sha256(OTHER.encode()).hexdigest()} eve never admin".encode())
    (identity,) = other.identities.values()
    with pytest.raises(TokenRefusedError):
        StaticTokens({bytes.fromhex(HASH): identity}).find(TOKEN, now=NOW)


SUB = "sub must have 1 to 256 printable characters without a space"
EXPIRY = "expiry must be never or a time such as 2027-01-31T12:00:00Z"
PARTS = "expected: sha256-hex sub expiry|never scope…"
LINES = [
    (HASH, PARTS),
    (f"{HASH} ann never", PARTS),
    (f"{HASH}\tann\tnever\tadmin", PARTS),
    (f" {HASH} ann never admin", "the first part must be a SHA-256 of 64 digits 0-9 a-f"),
    (f"{HASH.upper()} ann never admin", "the first part must be a SHA-256 of 64 digits 0-9 a-f"),
    (f"{HASH}0 ann never admin", "the first part must be a SHA-256 of 64 digits 0-9 a-f"),
    (
        f"{TOKEN} ann never admin",
        "this is a token; the file has its SHA-256: jobws token --static prints the line",
    ),
    (f"{HASH}  never admin", SUB),
    (f"{HASH} {'x' * 257} never admin", SUB),
    (f"{HASH} a\x00b never admin", SUB),
    (f"{HASH} a\u2028b never admin", SUB),
    (f"{HASH} ann Never admin", EXPIRY),
    (f"{HASH} ann 1795000000 admin", EXPIRY),
    (f"{HASH} ann 2027-01-31 admin", EXPIRY),
    (f"{HASH} ann 2027-02-29T00:00:00Z admin", EXPIRY),
    (f"{HASH} ann 2027-13-01T00:00:00Z admin", EXPIRY),
    (f"{HASH} ann 2027-00-01T00:00:00Z admin", EXPIRY),
    (f"{HASH} ann 2027-01-00T00:00:00Z admin", EXPIRY),
    (f"{HASH} ann 1969-12-31T23:59:59Z admin", EXPIRY),
    (f"{HASH} ann 2027-01-01T24:00:00Z admin", EXPIRY),
    (f"{HASH} ann 2027-01-01T23:60:00Z admin", EXPIRY),
    (f"{HASH} ann 2027-01-01T23:59:60Z admin", EXPIRY),
    (f"{HASH} ann 2027-01-01T00:00:00+00:00 admin", EXPIRY),
    (f"{HASH} ann never ", "the scope has an empty entry; entries are separated by exactly one space"),
    (f"{HASH} ann never admin ", "the scope has an empty entry; entries are separated by exactly one space"),
    (
        f"{HASH} ann never openid",
        "bad scope 'openid': there is no such right; a colon of a name is written %3A",
    ),
]


@pytest.mark.parametrize(("line", "reason"), LINES, ids=range(len(LINES)))
def test_one_bad_line_refuses_the_file(line: str, reason: str) -> None:
    content = f"# two lines before\n{sha256(OTHER.encode()).hexdigest()} bob never admin\n{line}\n"
    with pytest.raises(ConfigurationError) as refused:
        read_static_tokens("tokens.txt", content.encode())
    assert str(refused.value) == f"tokens.txt, line 3: {reason}"


def test_a_token_stands_in_one_line() -> None:
    line = f"{HASH} ann never admin\n"
    with pytest.raises(ConfigurationError, match=r"^file, line 3: an earlier line has the same token$"):
        read_static_tokens("file", f"{line}# between\n{line}".encode())


def test_a_file_that_is_no_text() -> None:
    with pytest.raises(ConfigurationError, match=r"^file is no UTF-8 text$"):
        read_static_tokens("file", b"\xff")
    assert read_static_tokens("file", b"").identities == {}


def test_the_longest_and_the_shortest_sub() -> None:
    for sub in ("x", "x" * 256):
        assert read_static_tokens("file", f"{HASH} {sub} never admin".encode()).find(TOKEN, now=NOW).sub == sub


@pytest.mark.parametrize(("sub", "expiry"), [("a b", "never"), ("ann", "soon")])
def test_no_line_is_made_that_could_not_be_read(sub: str, expiry: str) -> None:
    with pytest.raises(ValueError, match=r"^(sub|expiry) must "):
        line_of(TOKEN, sub=sub, expiry=expiry, rights=RIGHTS)


def test_nothing_secret_is_shown() -> None:
    tokens = read_static_tokens("file", f"{HASH} ann never admin".encode())
    assert HASH not in repr(tokens)
    assert repr(bytes.fromhex(HASH)) not in repr(tokens)
