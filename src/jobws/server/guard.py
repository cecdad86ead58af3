"""Decides which requests are served: checks Host, Origin and the headers of proxies before any other code.

Starlette's CORS middleware does not check WebSockets, and browsers let any page open a WebSocket to any site, with the
user's cookies. So this module checks every WebSocket and every request that could change something.
"""

from __future__ import annotations

import logging
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse

from jobws.server.few_lines import FewLines
from jobws.server.settings import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from jobws.server.settings import Settings

_DEFAULT_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_PROXY_HEADERS: Final = frozenset({"forwarded", "via", "x-real-ip"})
_PROXY_HEADER_PREFIX: Final = "x-forwarded-"
# OPTIONS is not safe here: a preflight that is refused gets a response that says what to allow.
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
LOGGED_PER_MINUTE: Final = 20
_SHOWN_CHARACTERS: Final = 200

_log: Final = logging.getLogger(__name__)


class Guard:
    """ASGI middleware that answers 403 to requests that the settings do not allow.

    The response contains the reason, which says which flag would allow the request. So does the log, for 20
    requests together, and after that for 20 a minute.

    Args:
        app: Serves the requests that are let through.
        settings: The hosts and origins that are allowed.
        keyed: Whether clients need a token. If not, only requests from this machine are served, unless --no-auth was
            given (`settings.auth` is False): the Host must be loopback or in `allowed_hosts`, and nothing may show a
            proxy. With tokens, or with --no-auth, Host is checked only if `allowed_hosts` is set.
    """

    def __init__(self, app: ASGIApp, settings: Settings, *, keyed: bool) -> None:
        self._app = app
        self._settings = settings
        self._is_loopback_only = settings.auth and not keyed
        self._lines = FewLines(LOGGED_PER_MINUTE, time.monotonic())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] in ("http", "websocket"):
            refusal = self.refusal(scope)
            if refusal is not None:
                if self._lines.may_log(time.monotonic()):
                    _log.warning("%s", refusal)
                await PlainTextResponse(refusal + "\n", status_code=403)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def refusal(self, scope: Scope) -> str | None:
        """Return why the request is refused, or None if it is served."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if (self._is_loopback_only or self._settings.allowed_hosts) and not self._is_served(host):
            name = _shown(host)
            return f"host {name or '(none)'} refused; allow it with --allow-host {name or 'NAME'}"
        if self._is_loopback_only:
            trace = _trace_of_a_proxy(scope, headers)
            if trace is not None:
                return (
                    f"request through a proxy refused (it {trace}): without a key jobws serves its own "
                    "machine only; --no-auth serves everybody who can reach the port"
                )
        if scope["type"] == "http" and scope["method"] in _SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin is None or is_allowed_origin(origin, host, self._settings.allowed_origins):
            return None
        page = _shown(origin)
        return f"origin {page} refused; allow it with --allow-origin {page}"

    def _is_served(self, host: str) -> bool:
        """Whether a Host header is allowed. Stops DNS rebinding, where a foreign name resolves to loopback."""
        name = _host_and_port(host, 80)[0]
        return is_loopback(name) or name in self._settings.allowed_hosts or host in self._settings.allowed_hosts


def _trace_of_a_proxy(scope: Scope, headers: Headers) -> str | None:
    """Return what shows that a proxy sent the request, or None if nothing does."""
    for name in headers:
        if name in _PROXY_HEADERS or name.startswith(_PROXY_HEADER_PREFIX):
            return f"carries {_shown(name)}"
    # nginx uses HTTP/1.0 towards its servers unless `proxy_http_version` says otherwise, and adds no header that shows
    # a proxy.
    return "speaks HTTP/1.0" if scope["http_version"] == "1.0" else None


def _shown(value: str) -> str:
    """Return the value of a header for the log: cut, and with escapes for what a terminal could take as a command."""
    return ascii(value[:_SHOWN_CHARACTERS])[1:-1]


def with_cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Wrap `app` so that pages of the allowed origins can read its answers. Preflight requests are answered, too."""
    return CORSMiddleware(
        app,
        allow_origins=[origin for origin in settings.allowed_origins if "*" not in origin],
        allow_origin_regex=_pattern(settings.allowed_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
    )


def is_allowed_origin(origin: str, host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a page of `origin` may use the bridge when the request has `host` as its Host header.

    It may if `allowed` has the origin, or a pattern with `*` that the origin fits, or if the origin has the host and
    port of `host`. The schemes may differ, since TLS may end at a proxy. A missing port means the default port. `null`,
    the origin of sandboxed and local pages, is allowed only if `allowed` has it.
    """
    if origin in allowed or re.fullmatch(_pattern(allowed), origin):
        return True
    return is_same_host(origin, host)


@lru_cache(maxsize=16)
def _pattern(allowed: tuple[str, ...]) -> str:
    """Return a regular expression for the origins that have a `*`. It matches nothing if there is none."""
    return "|".join(re.escape(each).replace(r"\*", "[A-Za-z0-9-]+") for each in allowed if "*" in each) or r"(?!)"


def is_same_host(origin: str, host: str) -> bool:
    """Whether an origin has the host and the port of a Host header. The schemes may differ."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    port = _DEFAULT_PORTS.get(parts.scheme)
    if port is None or not host:
        return False
    return _host_and_port(parts.netloc, port) == _host_and_port(host, port)


@lru_cache(maxsize=256)
def _host_and_port(netloc: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{netloc}")
        port = parts.port
    except ValueError:
        return "", 0
    return parts.hostname or "", port or default_port
