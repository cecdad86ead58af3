"""Makes, for tests, what clients may see: everything, or what some rights allow."""

from __future__ import annotations

from jobws.access.caller import ANYONE
from jobws.access.identity import Identity, Rights
from jobws.access.scope import parse_scope
from jobws.access.visible import IdentitySight

EVERYTHING = IdentitySight(ANYONE)


def identity(*scope: str, expires_ms: int | None = None) -> Identity:
    """Return the holder of a token with these rights."""
    rights = Rights(parse_scope(list(scope)) if scope else ())
    return Identity(iss=None, sub="ann", rights=rights, expires_ms=expires_ms, token_hash=b"x")


def sight(*scope: str) -> IdentitySight:
    """Return what the holder of these rights sees."""
    return IdentitySight(identity(*scope))
