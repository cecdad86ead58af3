"""Where a request has its token, and how many characters the token may have there."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from jobws.errors import TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

SUBPROTOCOL_PREFIX: Final = "bearer."
COOKIE: Final = "__Host-jobws"

_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~]+")


class Carrier(Enum):
    """Where a request has its token. The value is what error messages call this place."""

    HEADER = "the header Authorization"
    SUBPROTOCOL = "the subprotocol"
    AUTHENTICATE = "the request authenticate"
    COOKIE = "the cookie"

    @property
    def most_characters(self) -> int:
        """How many characters a token may have. For headers, these limits are below those of browsers and proxies."""
        match self:
            case Carrier.HEADER | Carrier.SUBPROTOCOL:
                return 6 * 1024
            case Carrier.AUTHENTICATE:
                return 16 * 1024
            case Carrier.COOKIE:
                return 3 * 1024
            case _:
                assert_never(self)


class Carried(NamedTuple):
    """A token as it came, unchecked.

    Attributes:
        carrier: Where it was.
        token: Its text.
        address: The address by which its sender is limited; None for no limit.
    """

    carrier: Carrier
    token: str
    address: str | None = None


def find_token(
    *, authorization: Iterable[str] = (), subprotocols: Iterable[str] = (), cookies: Iterable[str] = ()
) -> Carried | None:
    """Return the token of a request, unchecked, or None if the request has none.

    Of several tokens, the one in a header Authorization is returned, or else the one in a subprotocol, or else the one
    in a cookie. The tokens in the other places are ignored, even if the returned one is later refused.

    Args:
        authorization: The values of the headers Authorization. Other schemes than Bearer are ignored.
        subprotocols: The subprotocols that the client of a WebSocket offers, one in each string.
        cookies: The values of the headers Cookie. Leave them out where a cookie must not count.

    Raises:
        TokenRefusedError: `bad-token`. The place whose token would be returned has several.
    """
    schemes = (value.strip(" \t").partition(" ") for value in authorization)
    pairs = (pair.strip(" \t").partition("=") for value in cookies for pair in value.split(";"))
    found = {
        Carrier.HEADER: [token.strip(" \t") for scheme, _, token in schemes if scheme.lower() == "bearer"],
        Carrier.SUBPROTOCOL: [
            each.removeprefix(SUBPROTOCOL_PREFIX) for each in subprotocols if each.startswith(SUBPROTOCOL_PREFIX)
        ],
        Carrier.COOKIE: [token for name, _, token in pairs if name == COOKIE],
    }
    for carrier, tokens in found.items():
        if len(tokens) > 1:
            raise TokenRefusedError("bad-token", f"{carrier.value} brings {len(tokens)} tokens")
        if tokens:
            return Carried(carrier, tokens[0])
    return None


def check_text(token: str, carrier: Carrier) -> None:
    """Check the length and the characters of a token. Call this before anything else is done with the token.

    Raises:
        TokenRefusedError: `bad-token`. The token is empty, too long for its place, or has another character than
            `A-Z a-z 0-9 - . _ ~`.
    """
    limit = carrier.most_characters
    if len(token) > limit:
        longest = Carrier.AUTHENTICATE.most_characters
        hint = "" if limit == longest else f"; the request authenticate takes {longest}"
        raise TokenRefusedError(
            "bad-token", f"it has {len(token)} characters; the limit in {carrier.value} is {limit}{hint}"
        )
    if not _CHARACTERS.fullmatch(token):
        what = "it is empty" if not token else "it has a character that is not one of A-Z a-z 0-9 - . _ ~"
        raise TokenRefusedError("bad-token", what)
