"""Authentication by a function of the app that mounts the bridge, instead of keys."""

from __future__ import annotations

import logging
import re
import traceback
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from jobws.access.identity import Identity
from jobws.errors import TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from jobws.access.carrier import Carried
    from jobws.server.authentication import Sign

HOOK_SECONDS: Final = 5.0
# Shorter parts stay in the log: they may be words of the traceback, such as the name of a cookie.
LEAST_SECRET_CHARACTERS: Final = 12

Authenticate: TypeAlias = "Callable[[Mapping[str, str], str | None], Awaitable[Identity | None]]"
"""A function that says who sends a request. It gets the headers, with names in lower case, and the token or None."""

_UNKNOWN: Final = "authenticate returned None"
_log: Final = logging.getLogger(__name__)


class Hook:
    """Asks a function of the app who a client is, in place of keys. Implements `Authentication`.

    Args:
        authenticate: Returns who a client is. None means that it does not know the client: one with a token is refused,
            and one without counts as unauthenticated, so it may use only what needs no token. If the function raises
            TokenRefusedError, the client is refused with this error. If the function raises any other exception, takes
            too long, or returns anything else, this counts as None.
        seconds: How long the function may take.
    """

    required = True
    problems: tuple[str, ...] = ()
    sign: Sign | None = None

    def __init__(self, authenticate: Authenticate, seconds: float = HOOK_SECONDS) -> None:
        self._authenticate = authenticate
        self._seconds = seconds

    async def of_request(self, headers: Mapping[str, str], carried: Carried | None) -> Identity | None:
        """Return what the function returns.

        Raises:
            TokenRefusedError: The function raised this error, or the result is None although the request has a token.
        """
        found = await self._ask(headers, None if carried is None else carried.token)
        if found is None and carried is not None:
            raise TokenRefusedError("bad-token", _UNKNOWN)
        return found

    async def identify(self, carried: Carried) -> Identity:
        """Return what the function returns for a token that came in a request `authenticate`, so without headers.

        Raises:
            TokenRefusedError: The function raised this error, or the result is None.
        """
        found = await self._ask({}, carried.token)
        if found is None:
            raise TokenRefusedError("bad-token", _UNKNOWN)
        return found

    def is_current(self, _identity: Identity) -> bool:
        """Return True: an identity that the function has returned is accepted until it expires."""
        return True

    async def _ask(self, headers: Mapping[str, str], token: str | None) -> Identity | None:
        try:
            with anyio.fail_after(self._seconds):
                found: object = await self._authenticate(headers, token)
            if found is None or isinstance(found, Identity):
                return found
            _log.error("authenticate returned %s, not an Identity, so the client is refused", type(found).__name__)
        except TokenRefusedError:
            raise
        except Exception:  # noqa: BLE001 - an error of the app lets nobody in
            told = _without_secrets(traceback.format_exc(), headers, token)
            _log.error("authenticate failed, so the client is refused\n%s", told)
        return None


def _without_secrets(text: str, headers: Mapping[str, str], token: str | None) -> str:
    """Return the text without the token, and without what the headers Authorization and Cookie hold.

    The app may look for one of these in a dictionary, and a KeyError tells what was not found.
    """
    given = [headers.get(name, "") for name in ("authorization", "cookie")]
    for secret in sorted(re.split(r"[\s;=]+", " ".join([token or "", *given])), key=len, reverse=True):
        if len(secret) >= LEAST_SECRET_CHARACTERS:
            text = text.replace(secret, "…")
    return text
