"""How long a token may be in each place of a request, and which characters it may have."""

from __future__ import annotations

import pytest

from jobws.access.carrier import Carrier, check_text
from jobws.errors import TokenRefusedError


@pytest.mark.parametrize(
    ("carrier", "limit"),
    [
        (Carrier.HEADER, 6144),
        (Carrier.SUBPROTOCOL, 6144),
        (Carrier.COOKIE, 3072),
        (Carrier.AUTHENTICATE, 16384),
    ],
)
def test_lengths(carrier: Carrier, limit: int) -> None:
    check_text("x" * limit, carrier)
    with pytest.raises(TokenRefusedError) as refused:
        check_text("x" * (limit + 1), carrier)
    hint = "" if carrier is Carrier.AUTHENTICATE else "; the request authenticate takes 16384"
    assert (refused.value.code, str(refused.value)) == (
        "bad-token",
        f"it has {limit + 1} characters; the limit in {carrier.value} is {limit}{hint}",
    )


def test_characters() -> None:
    check_text("AZaz09-._~", Carrier.HEADER)
    for wrong in " \n=/+%:,;\u00e9\u2028\U0001f680\x00":
        with pytest.raises(TokenRefusedError, match=r"^it has a character that is not one of A-Z a-z 0-9 - \. _ ~$"):
            check_text(f"abc{wrong}", Carrier.HEADER)
    with pytest.raises(TokenRefusedError, match=r"^it is empty$"):
        check_text("", Carrier.COOKIE)
