"""Serves the JavaScript adapter and the custom elements, so that pages load them from their bridge.

Also serves, under `/src/`, the modules from which these files are built.
"""

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
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

    from starlette.requests import Request

# The adapter, the part that it loads when no WebSocket gets through, both in one file, what watches whole queues, and
# the custom elements.
BUNDLES = ("jobws.js", "jobws-http.js", "jobws-all.js", "jobws-queues.js", "elements.js")
HEADERS = {
    # Browsers ask each time whether the file has changed, so the adapter of a page is never older than the bridge.
    "cache-control": "no-cache",
    "vary": "accept-encoding",
    # The files hold no secrets, and a page that may not use this bridge may use another one.
    "access-control-allow-origin": "*",
}


@cache
def routes() -> list[Route]:
    """Return the routes of these files. The first call reads the files from the package."""
    web = files("jobws") / "web"
    sources = {f"/src/{name}": ServedFile(file) for name, file in _files(web / "src")}

    async def source(request: Request) -> Response:
        file = sources.get(request.scope["path"].removeprefix(request.scope.get("root_path", "")))
        if file is None:
            raise HTTPException(404)
        return await file.answer(request)

    return [
        *(Route(f"/{name}", ServedFile(web / name).answer, methods=["GET"]) for name in BUNDLES),
        *(Route(f"/src/{folder}{{module}}", source, methods=["GET"]) for folder in ("", "elements/")),
    ]


def _files(folder: Traversable, below: str = "") -> Iterator[tuple[str, Traversable]]:
    """Yield the files in a folder and in those below it, each with its path from `folder`, put after `below`."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from _files(each, f"{below}{each.name}/")
        else:
            yield f"{below}{each.name}", each


class ServedFile:
    """A file of the package, with its compressed form and its ETag. `answer` serves it.

    Args:
        path: The file, as `importlib.resources` gives it. It is read when this object is made.
        media_type: Its media type.
        headers: The headers of each answer, also of those that say that the file has not changed. The ETag is added.
    """

    def __init__(
        self, path: Traversable, media_type: str = "text/javascript", headers: Mapping[str, str] = HEADERS
    ) -> None:
        self._media_type = media_type
        self._headers = headers
        self._content = path.read_bytes()
        self._packed = gzip.compress(self._content, mtime=0)
        self._tag = hashlib.sha256(self._content).hexdigest()[:16]

    async def answer(self, request: Request) -> Response:
        """Return the file; or 304 without it, if the client has it."""
        smaller = _takes_gzip(",".join(request.headers.getlist("accept-encoding")))
        etag = f'"{self._tag}-gzip"' if smaller else f'"{self._tag}"'
        known = ",".join(request.headers.getlist("if-none-match")).split(",")
        # `*` matches any version. Proxies that compress make the ETag a weak one, with `W/` (RFC 9110, 13.1.2).
        if not {"*", etag}.isdisjoint(each.strip().removeprefix("W/") for each in known):
            return Response(status_code=304, headers={**self._headers, "etag": etag})
        about = {**self._headers, "etag": etag, **({"content-encoding": "gzip"} if smaller else {})}
        return Response(self._packed if smaller else self._content, headers=about, media_type=self._media_type)


def _takes_gzip(accepted: str) -> bool:
    """Return whether an `Accept-Encoding` header names gzip, and does not refuse it with `q=0`."""
    codings = (each.partition(";") for each in accepted.lower().split(","))
    weights = {name.strip(): weight.replace(" ", "") for name, _, weight in codings}
    return re.fullmatch(r"q=0(\.0*)?", weights.get("gzip", "q=0")) is None
