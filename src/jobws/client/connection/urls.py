"""A bridge's base URL to the URLs below it. Every scheme that people write is taken: http, https, ws and wss."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from jobws.errors import UnreachableError


def url_below(base: str, scheme: Literal["http", "ws"], path: str) -> str:
    """The URL of `path`, beginning with a slash, maybe with a query; with TLS if `base` has it. A path prefix is kept.

    Raises:
        UnreachableError: `base` is no URL of a bridge.
    """
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "ws", "https", "wss") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UnreachableError(f"{base} is no URL of a bridge; expected http://host:port")
    tls = "s" if parts.scheme in ("https", "wss") else ""
    return urlunsplit((scheme + tls, parts.netloc, quote(parts.path.rstrip("/"), safe="/%") + path, "", ""))
