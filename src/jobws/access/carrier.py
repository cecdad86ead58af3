"""What brings a token to the bridge, and how long the token may be there."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, assert_never

from jobws.errors import TokenRefusedError

_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~]+")


class Carrier(Enum):
    """Where a token is. The value is what an error message calls the place."""

    HEADER = "the header Authorization"
    SUBPROTOCOL = "the subprotocol"
    AUTHENTICATE = "the request authenticate"
    COOKIE = "the cookie"

    @property
    def most_characters(self) -> int:
        """How long a token may be. The limits of headers are below those of browsers and proxies."""
        match self:
            case Carrier.HEADER | Carrier.SUBPROTOCOL:
                return 6 * 1024
            case Carrier.AUTHENTICATE:
                return 16 * 1024
            case Carrier.COOKIE:
                return 3 * 1024
            case _:
                assert_never(self)


def check_text(token: str, carrier: Carrier) -> None:
    """Check the length and the characters of a token, before anything else is done with it.

    Raises:
        TokenRefusedError: `bad-token`.
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
