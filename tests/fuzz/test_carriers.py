"""Headers and subprotocols that are nearly right: the first carrier that is present decides, whatever is in it."""

from __future__ import annotations

import string
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from jobws.access.carrier import Carried, Carrier, check_text, find_token
from jobws.errors import TokenRefusedError
from tests.fuzz.mutations import attempt, changed_text

PIECES = (
    "Bearer",
    "bearer",
    "Basic",
    " ",
    "  ",
    "\t",
    ";",
    ",",
    "=",
    "__Host-jobws=",
    "bearer.",
    "jobws.v1",
    "a.b",
    "~",
)
tokens = st.sampled_from(("", "a.b.c", "jobws_x", "x" * 3072, "x" * 3073, "y" * 6145, "a b", "é"))
authorizations = st.builds("{} {}".format, st.sampled_from(("Bearer", "bEARER", "Basic", "Bearer\t", "")), tokens)
protocols = st.builds("{}{}".format, st.sampled_from(("bearer.", "Bearer.", "jobws.v1", "")), tokens)
pairs = st.builds("{}={}".format, st.sampled_from(("__Host-jobws", "__Host-jobws2", "__host-jobws", " a")), tokens)
cookies = st.lists(pairs, max_size=3).map("; ".join)


def some(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(texts | changed_text(texts, PIECES), max_size=2)


def of_header(value: str) -> list[str]:
    scheme, _, token = value.strip(" \t").partition(" ")
    return [token.strip(" \t")] if scheme.lower() == "bearer" else []


def of_cookie(value: str) -> list[str]:
    named = [pair.strip(" \t") for pair in value.split(";")]
    return [pair[len("__Host-jobws=") :] for pair in named if (pair + "=").startswith("__Host-jobws=")]


@given(some(authorizations), some(protocols), some(cookies))
def test_the_first_carrier_that_is_present_decides(headers: list[str], offered: list[str], stored: list[str]) -> None:
    found = {
        Carrier.HEADER: [token for value in headers for token in of_header(value)],
        Carrier.SUBPROTOCOL: [each[len("bearer.") :] for each in offered if each.startswith("bearer.")],
        Carrier.COOKIE: [token for value in stored for token in of_cookie(value)],
    }
    first = next(((carrier, tokens) for carrier, tokens in found.items() if tokens), None)
    answer = attempt(
        TokenRefusedError,
        lambda cookies: find_token(authorization=headers, subprotocols=offered, cookies=cookies),
        stored,
    )
    if first is not None and len(first[1]) > 1:
        assert isinstance(answer, TokenRefusedError)
        assert answer.code == "bad-token"
    else:
        assert answer == (None if first is None else Carried(first[0], *first[1]))


ALLOWED = frozenset(string.ascii_letters + string.digits + "-._~")
LONGEST = {Carrier.HEADER: 6144, Carrier.SUBPROTOCOL: 6144, Carrier.COOKIE: 3072, Carrier.AUTHENTICATE: 16384}
lengths = st.sampled_from((0, 1, 3071, 3072, 3073, 6144, 6145, 16384, 16385))


@given(st.builds(lambda length, text: "x" * max(0, length - len(text)) + text, lengths, tokens | st.text(max_size=3)))
def test_a_token_has_its_characters_and_its_length(token: str) -> None:
    for carrier in Carrier:
        is_good = bool(token) and set(token) <= ALLOWED and len(token) <= LONGEST[carrier]
        refusal = attempt(TokenRefusedError, partial(check_text, token), carrier)
        assert (refusal is None) == is_good
        assert refusal is None or refusal.code == "bad-token"
