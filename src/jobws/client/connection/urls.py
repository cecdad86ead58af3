"""Makes the URLs below a bridge's base URL, whose scheme may be http, https, ws or wss."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from jobws.errors import UnreachableError


def url_below(base: str, scheme: Literal["http", "ws"], path: str) -> str:
    """Return the URL of `path`, which begins with a slash and may have a query, below `base`. TLS is kept.

    Raises UnreachableError if `base` is not a valid URL of a bridge.
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
