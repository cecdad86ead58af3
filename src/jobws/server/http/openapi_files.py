"""Describes the paths of `/openapi.json` that are files: the page, and the JavaScript adapter with its sources."""

from __future__ import annotations

from typing import Final

from jobws.server.http.openapi_operations import JsonObject, operation, path

_JAVASCRIPT: Final[dict[int, JsonObject | str]] = {200: "text/javascript"}
_SOURCE: Final[JsonObject] = {
    "get": operation("A source of these.", _JAVASCRIPT, (404,), [path("module", {"type": "string"})])
}

PATHS_OF_FILES: Final[JsonObject] = {
    "/": {"get": operation("A page for people, unless there is --no-page.", {200: "text/html"})},
    "/page.js": {"get": operation("The script of the page.", _JAVASCRIPT)},
    "/page.css": {"get": operation("The styles of the page.", {200: "text/css"})},
    "/page.svg": {"get": operation("The icon of the page.", {200: "image/svg+xml"})},
    "/jobws.js": {"get": operation("The JavaScript adapter, for any origin.", _JAVASCRIPT)},
    "/jobws-http.js": {"get": operation("What it loads when no WebSocket gets through.", _JAVASCRIPT)},
    "/jobws-all.js": {"get": operation("Both in one, for service workers.", _JAVASCRIPT)},
    "/jobws-queues.js": {"get": operation("What a page loads beside it to watch whole queues.", _JAVASCRIPT)},
    "/elements.js": {"get": operation("The custom elements, for any origin.", _JAVASCRIPT)},
    "/src/{module}": _SOURCE,
    "/src/elements/{module}": _SOURCE,
}
