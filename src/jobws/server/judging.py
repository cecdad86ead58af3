"""Has the authorizer asked, if there is one, before a request is judged. Rights by scopes need no question."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jobws.access.asked import AskedRights

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.access.identity import Identity


async def judge(identity: Identity, examine: Callable[[Identity], object]) -> Identity:
    """Have the authorizer asked for all that `examine` needs, together.

    Until the next await, the rights of the returned identity have these answers.

    Args:
        identity: The client. If its rights are those of a scope, nothing happens.
        examine: Goes through the request with the rights of the identity that it is given. It may be called more than
            once, since answers may show that other checks are needed, and must change nothing. If it raises
            RequestError, the checks before count, and `judge` does not pass the error on.

    Returns:
        The client, as `latest_identity` returns it.

    Raises:
        RequestError: `unavailable` or `too-many`. The authorizer cannot be asked now.
    """
    rights = identity.rights
    if not isinstance(rights, AskedRights):
        return identity
    await rights.judge(lambda rehearsal: examine(replace(latest_identity(identity), rights=rehearsal)))
    return latest_identity(identity)


def latest_identity(identity: Identity) -> Identity:
    """Return the identity with what the authorizer said of it last. Without an authorizer, it stays as it is."""
    rights = identity.rights
    return rights.identity if isinstance(rights, AskedRights) else identity
