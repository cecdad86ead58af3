"""Waits until a token is no longer accepted: event streams and long polls end then."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

import anyio

from jobws.server.websocket.admission import EXPIRED, LOOK_SECONDS, REVOKED

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.access.identity import Identity
    from jobws.protocol.session import Close
    from jobws.server.authentication import Authentication


async def token_end(authentication: Authentication, latest: Callable[[], Identity]) -> Close:
    """Wait until a client's token has expired or is revoked. Return the close code and reason that say which.

    Args:
        authentication: Says whether the token is revoked.
        latest: Returns the client. An authorizer may change its mind about when the token expires.
    """
    while True:
        identity = latest()
        left = inf if identity.expires_ms is None else identity.expires_ms / 1000 - time.time()
        if left <= 0:
            return EXPIRED
        if not authentication.is_current(identity):
            return REVOKED
        await anyio.sleep(min(left, LOOK_SECONDS))
