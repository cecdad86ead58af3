"""Counts and limits the WebSockets that have sent no token, or one that is not judged yet, in all and by address."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from jobws.access.asked import AskedRights
from jobws.access.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from jobws.access.caller import Caller

MAX_PER_ADDRESS: Final = 20
_SETTING: Final = "max_unauthenticated"


class Strangers:
    """Says when there are too many connections that have sent no token, or one that only the authorizer can judge.

    Args:
        most: How many there may be in all.
        note: Called with the name of the setting when there are too many.
    """

    def __init__(self, most: int, note: Callable[[str], None]) -> None:
        self._most = most
        self._note = note
        # The address of each connection. None stands for the addresses that are not limited.
        self._addresses: dict[Hashable, str | None] = {}
        self._count: Counter[str | None] = Counter()

    def __contains__(self, connection: Hashable) -> bool:
        return connection in self._addresses

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, connection: Hashable, address: str | None) -> str | None:
        """Count a connection from this address until `leave`. It may be counted already.

        Returns:
            None if it may stay. If there are too many now, a sentence that says so; then the caller must close the
            connection, which still counts until `leave`.
        """
        if connection in self._addresses:
            return None
        self._addresses[connection] = address
        self._count[address] += 1
        problem = self._problem(address, 0)
        if problem is not None:
            self._note(_SETTING)
        return problem

    def _problem(self, address: str | None, more: int) -> str | None:
        """Return a sentence if there are too many, or would be with `more` connections from this address."""
        if len(self) + more > self._most:
            return f"{self._most} connections have not authenticated yet ({_SETTING})"
        if address is not None and self._count[address] + more > MAX_PER_ADDRESS:
            return f"{MAX_PER_ADDRESS} connections of this address have not authenticated yet"
        return None

    def leave(self, connection: Hashable) -> None:
        """Count a connection no longer, if it was counted."""
        if connection in self._addresses:
            self._count -= Counter([self._addresses.pop(connection)])  # this also drops an address without any

    async def judged(self, caller: Caller, address: str | None, judge: Callable[[Caller], Awaitable[Caller]]) -> Caller:
        """Return the caller of a new connection as `judge` returns it: after the authorizer, if any, was asked.

        If only the authorizer can tell whose the token is, the connection counts as a stranger until `judge` returns.
        If there are too many strangers, `judge` is not called. The caller is then returned unchanged, and `is_stranger`
        is true for it, so that `enter` refuses it. If this is cancelled, the connection counts no longer.
        """
        rights = caller.rights if isinstance(caller, Identity) else None
        if not isinstance(rights, AskedRights) or not rights.are_unanswered:
            return await judge(caller)
        if self._problem(address, 1) is not None:
            rights.needed_answer = True
            return caller
        connection = object()
        self.enter(connection, address)
        try:
            return await judge(caller)
        finally:
            self.leave(connection)


def is_stranger(identity: Identity) -> bool:
    """Whether only the authorizer can tell whose the token is, and its answer was needed, but is not there yet.

    If no answer was needed, as in a bridge without queues, the client is none.
    """
    rights = identity.rights
    return isinstance(rights, AskedRights) and rights.needed_answer and rights.are_unanswered
