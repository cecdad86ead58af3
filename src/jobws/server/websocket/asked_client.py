"""Messages of clients whose rights an authorizer decides: each waits until the authorizer was asked what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from jobws.access.asked import AskedRights
from jobws.access.asked_sight import AskedSight
from jobws.errors import RequestError
from jobws.hub.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.protocol.request_types import Sight

AnyHubClient: TypeAlias = Client[Any, Any]


def asked_rights(client: AnyHubClient) -> AskedRights | None:
    """Return the rights of a client if an authorizer decides them, and None otherwise."""
    sight = client.session.sight
    return sight.rights if isinstance(sight, AskedSight) and isinstance(sight.rights, AskedRights) else None


async def judge_client(client: AnyHubClient, examine: Callable[[Sight], object]) -> Sight:
    """Have the authorizer, if there is one, asked for all that `examine` needs.

    Returns what the client may see. Until the next await, this sight has the answers.

    Args:
        client: The client.
        examine: Asks the sight that it is given for every right that is needed. It may be called more than once, and
            must change nothing.

    Raises:
        RequestError: `unavailable` or `too-many`. The authorizer cannot be asked now.
    """
    rights, judged = asked_rights(client), None
    while rights is not judged and rights is not None:
        await rights.judge(lambda rehearsal: examine(AskedSight(rehearsal)))
        rights, judged = asked_rights(client), rights  # a new token may have come meanwhile
    return client.session.sight


async def judge_message(client: AnyHubClient, message: str | bytes) -> RequestError | None:
    """Have the authorizer asked what a message needs. Until the next await, the client's rights have the answers.

    Returns why the message cannot be judged now, or None if it can.
    """
    try:
        await judge_client(client, lambda sight: client.session.rehearse(message, sight))
    except RequestError as error:
        return error
    return None
