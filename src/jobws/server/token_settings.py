"""Checks the settings about who a client is: keys, tokens, and the server that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.errors import ConfigurationError

if TYPE_CHECKING:
    from jobws.server.settings import Settings


def check_token_settings(settings: Settings) -> None:
    """Check that the settings about keys, tokens and the authorizer are valid and can be used together.

    Raises:
        ConfigurationError: A setting must be changed; the message says how.
    """
    if settings.has_keys and not settings.auth:
        raise ConfigurationError("--no-auth serves everybody, and a key does not: leave out one of them")
    if settings.authorize_url is not None and not settings.auth:
        raise ConfigurationError("--no-auth serves everybody, and --authorize-url does not: leave out one of them")
    if settings.authorize_secret_file is not None and settings.authorize_url is None:
        raise ConfigurationError("--authorize-secret-file is for the server of --authorize-url: name that, too")
    if settings.authorize_seconds <= 0:
        raise ConfigurationError("--authorize-timeout must be above 0")
    about_keys = {
        "revoked_file": settings.revoked_file,
        "mint_secret_file": settings.mint_secret_file,
        "mint_key_file": settings.mint_key_file,
        "jwt_audience": settings.jwt_audience,
        "jwt_issuer": settings.jwt_issuer,
    }
    for name, value in about_keys.items():
        if value is not None and not settings.has_keys:
            raise ConfigurationError(
                f"{name} without a key: name --tokens-file, --jwt-secret-file, --jwks-file or --jwks-url, or set "
                "JOBWS_JWT_SECRET"
            )
    if settings.mint_secret_file is not None and settings.mint_key_file is not None:
        raise ConfigurationError("--mint-secret-file and --mint-key-file exclude each other")
    times = (settings.jwt_leeway_seconds, settings.expiring_seconds, settings.grace_seconds)
    if not (all(each >= 0 for each in times) and settings.mint_seconds >= 1 and settings.authenticate_seconds > 0):
        raise ConfigurationError("times about tokens must not be below 0, nor mint_seconds below 1")
