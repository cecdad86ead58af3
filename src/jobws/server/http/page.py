"""Serves the page at `/`, which shows queues, jobs and logs in a browser, and the files that it is made of."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from starlette.routing import Route

from jobws.server.http.static import ServedFile

# The page runs its own files alone, asks no other host, and makes HTML of no text, whatever a job holds.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_HEADERS: Final = {
    "cache-control": "no-cache",
    "vary": "accept-encoding",
    "content-security-policy": CONTENT_SECURITY_POLICY,
    # Another window that the page opened, or that opened it, cannot reach into it.
    "cross-origin-opener-policy": "same-origin",
}
# By path, the file in the package's folder `web` and its media type.
_FILES: Final = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}


@cache
def routes() -> list[Route]:
    """Return the routes of the page. The first call reads its files from the package."""
    web = files("jobws") / "web"
    return [
        Route(path, ServedFile(web / name, media_type, _HEADERS).answer, methods=["GET"])
        for path, (name, media_type) in _FILES.items()
    ]
