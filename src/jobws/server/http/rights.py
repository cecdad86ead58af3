"""The answers to requests that lack a token, or whose token does not allow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from jobws.access.caller import Refused, Unauthenticated
from jobws.errors import RequestError

if TYPE_CHECKING:
    from jobws.errors import TokenRefusedError


def forbidden() -> RequestError:
    """Return the error for a token that does not allow a request."""
    return RequestError("forbidden", "the token does not allow this")


def unauthenticated(caller: Unauthenticated | Refused) -> RequestError:
    """Return the error for a request without a token, or with one that is refused. Only the log says why."""
    match caller:
        case Unauthenticated():
            return RequestError("unauthenticated", "this needs a token, in the header Authorization: Bearer TOKEN")
        case Refused(error):
            return token_refused(error)
        case _:
            assert_never(caller)


def token_refused(error: TokenRefusedError) -> RequestError:
    """Return the error for a token that is refused."""
    if error.code == "expired":
        return RequestError("expired", "the token has expired; get a new one")
    return RequestError("bad-token", "the token is not accepted; the bridge's log says why")
