"""Counts the open connections of each identity and of each address: WebSockets, event streams and waiting requests."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from jobws.access.identity import Identity
    from jobws.server.settings import Settings


class ConnectionLimits:
    """Says when an identity or an address has too many connections.

    Args:
        settings: The limits.
        limited: Counts, by the name of the setting, what was refused.
    """

    def __init__(self, settings: Settings, limited: Counter[str]) -> None:
        self._limits = {
            "max_connections_per_identity": settings.max_connections_per_identity,
            "max_connections_per_address": settings.max_connections_per_address,
        }
        self._limited = limited
        self._open: Counter[tuple[str, Hashable]] = Counter()
        # For each connection, by the name of the setting: the identity or the address for which it is counted.
        self._counted: dict[Hashable, dict[str, Hashable]] = {}

    def identify(self, connection: Hashable, identity: Identity) -> str | None:
        """Count a connection for its identity until `leave`, and no longer for an earlier identity.

        Returns:
            None if the connection may stay. If the identity has too many connections now, a sentence that says so; then
            the caller must close the connection, which still counts until `leave`.
        """
        return self._count(connection, "max_connections_per_identity", identity.holder, "with this token's holder")

    def locate(self, connection: Hashable, address: str | None) -> str | None:
        """Count a connection for its address until `leave`; None means that the address is not limited.

        Returns:
            None if the connection may stay. If the address has too many connections now, a sentence that says so; then
            the caller must close the connection, which still counts until `leave`.
        """
        if address is None:
            return None
        return self._count(connection, "max_connections_per_address", address, "from this address")

    def note(self, limit: str) -> None:
        """Add one to the refusals in `limited`. `limit` is the name of the setting whose limit was exceeded.

        What `identify` and `locate` refuse is counted already.
        """
        self._limited[limit] += 1

    def leave(self, connection: Hashable) -> None:
        """Forget a connection that has ended."""
        for limit, counted in self._counted.pop(connection, {}).items():
            self._forget(limit, counted)

    def _count(self, connection: Hashable, limit: str, counted: Hashable, whose: str) -> str | None:
        mine = self._counted.setdefault(connection, {})
        if limit in mine:
            self._forget(limit, mine[limit])
        mine[limit] = counted
        self._open[limit, counted] += 1
        most = self._limits[limit]
        if self._open[limit, counted] <= most:
            return None
        self.note(limit)
        return f"there may be {most} connections {whose} ({limit})"

    def _forget(self, limit: str, counted: Hashable) -> None:
        self._open[limit, counted] -= 1
        if not self._open[limit, counted]:
            del self._open[limit, counted]
