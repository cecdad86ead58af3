"""What a caller may see, whatever decides it: the scope of a token, an authorizer, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from jobws.access.asked import AskedRights, Rehearsal
from jobws.access.asked_sight import AskedSight
from jobws.access.caller import ANYONE
from jobws.access.identity import Identity, Rights
from jobws.access.visible import IdentitySight

if TYPE_CHECKING:
    from jobws.access.caller import Caller

AnySight: TypeAlias = IdentitySight | AskedSight

NOBODY: Final = IdentitySight(Identity(iss=None, sub=None, rights=Rights(), expires_ms=None, token_hash=b""))
"""What a client that is not identified may see: nothing."""
EVERYTHING: Final = IdentitySight(ANYONE)


def sight_of(caller: Caller) -> AnySight:
    """Return what a caller may see. A caller that is no `Identity` sees nothing, and `ANYONE` sees everything.

    If a scope decides, the more rights it has, the longer the call takes.
    """
    if caller is ANYONE:
        return EVERYTHING
    if not isinstance(caller, Identity):
        return NOBODY
    rights = caller.rights
    return AskedSight(rights) if isinstance(rights, AskedRights | Rehearsal) else IdentitySight(caller)
