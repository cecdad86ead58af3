"""Waits until a token is no longer accepted: event streams and long polls end then."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Final

import anyio

from jobws.protocol.close_codes import CloseCode
from jobws.protocol.session import Close

if TYPE_CHECKING:
    from jobws.access.identity import Identity
    from jobws.server.authentication import Authentication

EXPIRED: Final = Close(CloseCode.TOKEN_EXPIRED, "the token has expired")
REVOKED: Final = Close(CloseCode.FORBIDDEN, "the token is no longer accepted")
# How often to ask. A stream must end within 10 s after its token was revoked, and reading the files takes up to half of
# this.
LOOK_SECONDS: Final = 4.0


async def token_end(authentication: Authentication, identity: Identity) -> Close:
    """Wait until a token is no longer accepted, and return why."""
    while True:
        left = inf if identity.expires_ms is None else identity.expires_ms / 1000 - time.time()
        if left <= 0:
            return EXPIRED
        if not authentication.is_current(identity):
            return REVOKED
        await anyio.sleep(min(left, LOOK_SECONDS))
