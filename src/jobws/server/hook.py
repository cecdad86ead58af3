"""Asks a function of the app that mounts the bridge who a client is, in place of keys."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from jobws.errors import TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from jobws.access.carrier import Carried
    from jobws.access.identity import Identity
    from jobws.server.authentication import Sign

HOOK_SECONDS: Final = 5.0

Authenticate: TypeAlias = "Callable[[Mapping[str, str], str | None], Awaitable[Identity | None]]"
"""Takes the headers of a request, with names in lower case, and its token or None. Returns who sends the request."""

_UNKNOWN: Final = "authenticate returned None"
_log: Final = logging.getLogger(__name__)


class Hook:
    """The authentication of a bridge with a function. If the function fails or takes 5 s, the answer is no.

    Args:
        authenticate: Says who a client is; None means that it is nobody who is let in.
    """

    required = True
    problems: tuple[str, ...] = ()
    sign: Sign | None = None

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def of_request(self, headers: Mapping[str, str], carried: Carried | None) -> Identity | None:
        """Return whom the function names. Raises TokenRefusedError if there is a token and it names nobody."""
        found = await self._ask(headers, None if carried is None else carried.token)
        if found is None and carried is not None:
            raise TokenRefusedError("bad-token", _UNKNOWN)
        return found

    async def identify(self, carried: Carried) -> Identity:
        """Return whom the function names for a token that came without headers."""
        found = await self._ask({}, carried.token)
        if found is None:
            raise TokenRefusedError("bad-token", _UNKNOWN)
        return found

    def is_current(self, _identity: Identity) -> bool:
        """Return True: only the time ends what the function has allowed."""
        return True

    async def _ask(self, headers: Mapping[str, str], token: str | None) -> Identity | None:
        try:
            with anyio.fail_after(HOOK_SECONDS):
                return await self._authenticate(headers, token)
        except TokenRefusedError:
            raise
        except Exception:  # noqa: BLE001 - an error of the app lets nobody in
            _log.exception("authenticate failed, so the client is refused")
            return None
