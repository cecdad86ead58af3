"""The JavaScript adapter, for pages that load it from the bridge that they talk to, and its sources, to be read."""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from starlette.requests import Request

# The whole of it but for what `jobws-http.js` has, which it loads when no WebSocket gets through; and both in one.
BUNDLES = ("jobws.js", "jobws-http.js", "jobws-all.js")
HEADERS = {
    # Browsers ask each time whether it is still the same: a page never runs an older adapter than its bridge's.
    "cache-control": "no-cache",
    "vary": "accept-encoding",
    # It holds no secret, and a page that may not talk to this bridge may talk to another one.
    "access-control-allow-origin": "*",
}


@cache
def routes() -> list[Route]:
    """The routes of the adapter's files, which are read from the package by the first call."""
    web = files("jobws") / "web"
    sources = {each.name: _File(each) for each in (web / "src").iterdir()}

    async def source(request: Request) -> Response:
        file = sources.get(request.path_params["module"])
        if file is None:
            raise HTTPException(404)
        return await file.answer(request)

    return [
        *(Route(f"/{name}", _File(web / name).answer, methods=["GET"]) for name in BUNDLES),
        Route("/src/{module}", source, methods=["GET"]),
    ]


class _File:
    """A module as it is served."""

    def __init__(self, path: Traversable) -> None:
        self._content = path.read_bytes()
        self._packed = gzip.compress(self._content, mtime=0)
        self._tag = hashlib.sha256(self._content).hexdigest()[:16]

    async def answer(self, request: Request) -> Response:
        smaller = _takes_gzip(",".join(request.headers.getlist("accept-encoding")))
        etag = f'"{self._tag}-gzip"' if smaller else f'"{self._tag}"'
        known = ",".join(request.headers.getlist("if-none-match")).split(",")
        # `*` means any version; proxies that compress mark an ETag as a weak one (RFC 9110, 13.1.2).
        if not {"*", etag}.isdisjoint(each.strip().removeprefix("W/") for each in known):
            return Response(status_code=304, headers={**HEADERS, "etag": etag})
        about = {**HEADERS, "etag": etag, **({"content-encoding": "gzip"} if smaller else {})}
        return Response(self._packed if smaller else self._content, headers=about, media_type="text/javascript")


def _takes_gzip(accepted: str) -> bool:
    """Whether an `Accept-Encoding` names gzip, other than to refuse it."""
    codings = (each.partition(";") for each in accepted.lower().split(","))
    weights = {name.strip(): weight.replace(" ", "") for name, _, weight in codings}
    return re.fullmatch(r"q=0(\.0*)?", weights.get("gzip", "q=0")) is None
