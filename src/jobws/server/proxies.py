"""What a proxy changes: from which address a request came, and under which path the bridge is reached."""

from __future__ import annotations

import logging
import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.datastructures import Headers

from jobws.access.caller import ADDRESS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from jobws.server.settings import Settings

Address: TypeAlias = IPv4Address | IPv6Address

# RFC 6052: the last 32 bits are the client's IPv4 address.
NAT64: Final = IPv6Network("64:ff9b::/96")
# Clients whom a trusted proxy names by no IP address are limited together, as this address, which nobody has.
UNREADABLE: Final = IPv4Address(0)
_IPV4_WITH_PORT: Final = re.compile(r"([\d.]+):\d+")
_IN_BRACKETS: Final = re.compile(r"\[(.+)\](?::\d+)?")

_log: Final = logging.getLogger(__name__)


class Addresses:
    """Says by which address a client is limited.

    For IPv6, this is the /64, since one client may have all of it, but the IPv4 address behind NAT64. None means that
    there is no limit: the client is on loopback, is itself a trusted proxy, or has no IP address.
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
            if address in NAT64:
                return str(IPv4Address(address.packed[-4:]))
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
        self._warned = False

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
        returned. An address may have a port, and IPv6 brackets. At any other text reading ends with `UNREADABLE`.
        """
        client = scope.get("client")
        found = _parsed(client[0]) if client else None
        if found is None or not self._addresses.is_trusted(found):
            return found
        header = ",".join(Headers(scope=scope).getlist(self._header))
        for text in reversed(header.split(",") if header.strip() else ()):
            named = _named(text.strip())
            if named is None:
                self._warn(text.strip())
                return UNREADABLE
            found = named
            if not self._addresses.is_trusted(found):
                return found
        return found

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "a trusted proxy sends %.100r in %s, which is no IP address: all clients without one are limited "
                "together, as one address. Set the proxy to write the client's IP address into %s, or name the header "
                "that has it with --proxy-header",
                *(text, self._header, self._header),
            )

    def _put_prefix(self, scope: Scope) -> None:
        """Put the prefix before the path, unless the proxy left it there."""
        scope["root_path"] = self._prefix + scope.get("root_path", "")
        if not scope["path"].startswith(f"{self._prefix}/"):
            scope["path"] = self._prefix + scope["path"]


def _named(text: str) -> Address | None:
    """Return the address that a proxy names, with or without a port. None if the text is no address."""
    found = _IPV4_WITH_PORT.fullmatch(text) or _IN_BRACKETS.fullmatch(text)
    return _parsed(found[1] if found else text)


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
