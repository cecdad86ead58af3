"""Counts the TCP connections of each address, from the moment in which they are accepted, whatever comes over them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class AddressLimit:
    """Says when an address has too many TCP connections, so that no address alone can take all that the bridge has.

    Args:
        most: How many connections an address may have.
        limited_address: Returns the address by which a client with this IP address is limited; None for no limit.
        limited: Counts, by the name of the setting, what was refused.
    """

    def __init__(self, most: int, limited_address: Callable[[str], str | None], limited: Counter[str]) -> None:
        self._most = most
        self._limited_address = limited_address
        self._limited = limited
        self._open: Counter[str] = Counter()

    def enter(self, client: str) -> bool:
        """Count a new connection of a client, until `leave`. Return False, and count nothing, if there are too many.

        `client` is the client's IP address.
        """
        address = self._limited_address(client)
        if address is not None:
            if self._open[address] >= self._most:
                self._limited["max_connections_per_address"] += 1
                return False
            self._open[address] += 1
        return True

    def leave(self, client: str) -> None:
        """Forget a connection for which `enter` returned True."""
        address = self._limited_address(client)
        if address is not None:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
