"""Who sent a request: the caller. Every endpoint of the bridge finds the caller as one value in the ASGI scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from jobws.access.identity import Identity, Rights
from jobws.access.scope import Action, Entry

if TYPE_CHECKING:
    from collections.abc import Hashable

    from jobws.errors import TokenRefusedError

CALLER: Final = "jobws.caller"
"""The key of the caller in an ASGI scope."""
ADDRESS: Final = "jobws.address"
"""The key, in an ASGI scope, of the address by which clients are limited. Its value None means no limit."""
ANYONE: Final = Identity(
    iss=None, sub=None, rights=Rights([Entry(Action.ADMIN, None)]), expires_ms=None, token_hash=b""
)
"""The caller of a bridge without keys: everything is allowed, and nothing expires."""


class Unauthenticated:
    """The request has no token, and the bridge has keys. Over a WebSocket, the client may still send `authenticate`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request's token is not accepted, or the app's function refused the request, with or without a token.

    The bridge does not look for another token in the request.

    Attributes:
        error: Why. Its message is not sent to the client.
    """

    error: TokenRefusedError


Caller: TypeAlias = Identity | Unauthenticated | Refused


def payer_of(caller: Caller, address: str | None) -> Hashable:
    """Return what the limits of a caller are counted by: `Identity.payer`, or the address if it has no identity.

    The address also counts for `ANYONE`. If it counts and is None, the result is None: the caller has no limit.
    """
    return caller.payer if isinstance(caller, Identity) and caller is not ANYONE else address
