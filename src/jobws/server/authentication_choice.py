"""Chooses what says who the clients are: keys, a function of the app, an authorizer, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.errors import ConfigurationError
from jobws.server.authorized import OpaqueTokens
from jobws.server.hook import Hook
from jobws.server.key_authentication import KeyAuthentication, NoKeys

if TYPE_CHECKING:
    from jobws.server.authentication import Authentication
    from jobws.server.authorizer import Authorize
    from jobws.server.hook import Authenticate
    from jobws.server.intervals import Intervals
    from jobws.server.settings import Settings


def authentication_of(
    settings: Settings, intervals: Intervals, authenticate: Authenticate | None, authorize: Authorize | None
) -> Authentication:
    """Return what verifies the tokens of a bridge. The arguments are those of `Bridge`.

    Raises:
        ConfigurationError: Two of the arguments exclude each other, or keys cannot be read or fetched.
    """
    if authorize is not None and (settings.authorize_url is not None or not settings.auth):
        raise ConfigurationError("authorize takes the place of --authorize-url and of --no-auth: leave them out")
    if authenticate is None:
        if settings.has_keys:
            return KeyAuthentication(settings, intervals)
        return NoKeys() if authorize is None and settings.authorize_url is None else OpaqueTokens()
    if settings.authorize_url is not None:
        raise ConfigurationError("--authorize-url decides by tokens; beside authenticate, give the bridge authorize")
    if settings.has_keys or not settings.auth:
        raise ConfigurationError("authenticate takes the place of keys and of --no-auth: leave them out")
    return Hook(authenticate)
