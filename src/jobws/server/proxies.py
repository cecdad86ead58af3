"""What a proxy changes: from which address a request came, and under which path the bridge is reached."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

from starlette.datastructures import Headers

from jobws.access.caller import ADDRESS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from jobws.server.settings import Settings

Address: TypeAlias = IPv4Address | IPv6Address


class Addresses:
    """Says by which address a client is limited.

    For IPv6, this is the /64, since one client may have all of it. None means that there is no limit: the client is on
    loopback, is itself a trusted proxy, or has no IP address.
    """

    def __init__(self, settings: Settings) -> None:
        self._trusted = [ip_network(each, strict=False) for each in settings.trusted_proxies]

    def is_trusted(self, address: Address) -> bool:
        """Whether this is the address of a trusted proxy."""
        return any(address in network for network in self._trusted)

    def limited(self, address: Address | None) -> str | None:
        """Return the address by which the client with this address is limited."""
        if address is None or address.is_loopback or self.is_trusted(address):
            return None
        if isinstance(address, IPv6Address):
            return str(IPv6Network((address, 64), strict=False))
        return str(address)

    def limited_client(self, client: str) -> str | None:
        """Return the address by which the client is limited whose socket has the address `client`."""
        return self.limited(_parsed(client))


class Proxied:
    """ASGI middleware that puts `--root-path` before the path, and sets `scope[ADDRESS]`.

    This is the address by which the client is limited, or None, as `Addresses.limited` returns it.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._addresses = Addresses(settings)
        self._header = settings.proxy_header
        self._prefix = settings.root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request."""
        if scope["type"] in ("http", "websocket"):
            scope = {**scope, ADDRESS: self._addresses.limited(self.address(scope))}
            if self._prefix:
                self._put_prefix(scope)
        await self._app(scope, receive, send)

    def address(self, scope: Scope) -> Address | None:
        """Return the client's address: that of the connection, or the one that a trusted proxy names.

        None means that the connection has no IP address, for example since it is a Unix socket.

        The header that the setting `proxy_header` names is read; usually this is X-Forwarded-For. Each proxy appends to
        it the address from which it got the request. Read from the right, the first address that is not trusted is the
        client's; anyone may have written those to the left of it. If there is none, the address that was read last is
        returned. Reading ends before a text that is no address.
        """
        client = scope.get("client")
        found = _parsed(client[0]) if client else None
        if found is None or not self._addresses.is_trusted(found):
            return found
        for text in reversed(",".join(Headers(scope=scope).getlist(self._header)).split(",")):
            named = _parsed(text.strip())
            if named is None:
                return found
            found = named
            if not self._addresses.is_trusted(found):
                return found
        return found

    def _put_prefix(self, scope: Scope) -> None:
        """Put the prefix before the path, unless the proxy left it there."""
        scope["root_path"] = self._prefix + scope.get("root_path", "")
        if not scope["path"].startswith(f"{self._prefix}/"):
            scope["path"] = self._prefix + scope["path"]


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
