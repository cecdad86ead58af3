"""Who sent a request, as every endpoint of the bridge gets it: one value in the ASGI scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from jobws.access.identity import Identity, Rights
from jobws.access.scope import Action, Entry

if TYPE_CHECKING:
    from jobws.errors import TokenRefusedError

CALLER: Final = "jobws.caller"
"""The key of the caller in an ASGI scope."""
ANYONE: Final = Identity(
    iss=None, sub=None, rights=Rights([Entry(Action.ADMIN, None)]), expires_ms=None, token_hash=b""
)
"""The caller of a bridge without keys: everything is allowed, and nothing expires."""


class Unauthenticated:
    """No token came, and the bridge has keys. Over a WebSocket, one may follow in the request `authenticate`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A token came, and it is not accepted. No other carrier is tried."""

    error: TokenRefusedError


Caller: TypeAlias = Identity | Unauthenticated | Refused
