"""A bridge's base URL to the URLs below it. Every scheme that people write is taken: http, https, ws and wss."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from jobws.errors import UnreachableError

_SECURE: Final = {"http": False, "ws": False, "https": True, "wss": True}


def websocket_url(base: str, path: str) -> str:
    """The URL of the WebSocket at `path`; a path prefix is kept.

    Raises:
        UnreachableError: `base` is no URL of a bridge.
    """
    return _below(base, ("ws", "wss"), path)


def http_url(base: str, path: str) -> str:
    """The URL of `path`, which begins with a slash and may have a query; a path prefix is kept.

    Raises:
        UnreachableError: `base` is no URL of a bridge.
    """
    return _below(base, ("http", "https"), path)


def _below(base: str, schemes: tuple[str, str], path: str) -> str:
    try:
        parts = urlsplit(base)
        usable = parts.scheme in _SECURE and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UnreachableError(f"{base} is no URL of a bridge; expected http://host:port")
    return urlunsplit(
        (schemes[_SECURE[parts.scheme]], parts.netloc, quote(parts.path.rstrip("/"), safe="/%") + path, "", "")
    )
