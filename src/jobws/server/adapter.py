"""`/jobws.js`: the JavaScript adapter, for pages that load it from the bridge that they talk to."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request


def route() -> Route:
    """The route of the adapter, which is read from the package now, once."""
    content = (files("jobws") / "web" / "jobws.js").read_bytes()
    packed = gzip.compress(content, mtime=0)
    tag = hashlib.sha256(content).hexdigest()[:16]
    headers = {
        # Browsers ask each time whether it is still the same: a page never runs an older adapter than its bridge's.
        "cache-control": "no-cache",
        "vary": "accept-encoding",
        # It holds no secret, and a page that may not talk to this bridge may talk to another one.
        "access-control-allow-origin": "*",
    }

    async def answer(request: Request) -> Response:
        smaller = _takes_gzip(",".join(request.headers.getlist("accept-encoding")))
        etag = f'"{tag}-gzip"' if smaller else f'"{tag}"'
        known = ",".join(request.headers.getlist("if-none-match")).split(",")
        # `*` means any version; proxies that compress mark an ETag as a weak one (RFC 9110, 13.1.2).
        if not {"*", etag}.isdisjoint(each.strip().removeprefix("W/") for each in known):
            return Response(status_code=304, headers={**headers, "etag": etag})
        about = {**headers, "etag": etag, **({"content-encoding": "gzip"} if smaller else {})}
        return Response(packed if smaller else content, headers=about, media_type="text/javascript")

    return Route("/jobws.js", answer, methods=["GET"])


def _takes_gzip(accepted: str) -> bool:
    """Whether an `Accept-Encoding` names gzip, other than to refuse it."""
    codings = (each.partition(";") for each in accepted.lower().split(","))
    weights = {name.strip(): weight.replace(" ", "") for name, _, weight in codings}
    return re.fullmatch(r"q=0(\.0*)?", weights.get("gzip", "q=0")) is None
