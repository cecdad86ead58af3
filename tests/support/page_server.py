"""A web server for pages that do not come from the bridge. The bridge must allow their origin, or it refuses them."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.http_server import Asked, HttpServer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES: Final = Path(__file__).parent.parent / "web" / "pages"
ADAPTER: Final = Path(__file__).parent.parent.parent / "src" / "jobws" / "web" / "jobws.js"
_SOCKET_IO: Final = PAGES / "node_modules" / "socket.io-client" / "dist" / "socket.io.esm.min.js"
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "css": "text/css",
}


class PageServer(HttpServer):
    """Serves what `files` returns for a path; None means 404. Use it as a context manager.

    Attributes:
        origin: The origin of its pages. It is also the URL of the root, without the slash.
    """

    def __init__(self, files: Callable[[str], bytes | None]) -> None:
        def answer(asked: Asked) -> Reply:
            path = asked.path.split("?")[0].lstrip("/")
            body = files(path)
            status = HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK
            content_type = _TYPES.get(path.rpartition(".")[2], "text/plain")
            headers = {"content-type": content_type, "content-length": str(len(body or b""))}
            return Reply([body or b""], status, headers)

        super().__init__(answer)
        self.origin = self.url


def page_file(path: str) -> bytes | None:
    """Return a page of tests/web/pages, or the adapter `jobws.js`, or None if the path is neither."""
    match path:
        case "jobws.js" | "jobws-http.js" | "jobws-all.js" | "jobws-queues.js":
            return ADAPTER.with_name(path).read_bytes()
        case "socket.io.esm.min.js":
            return _SOCKET_IO.read_bytes()
        case "new.html":
            before, line, after = (
                (PAGES / "old.html").read_bytes().partition(b"import { io } from '/socket.io.esm.min.js'")
            )
            assert line
            return before + b"import { io } from '/jobws.js'" + after
        case _:
            file = PAGES / path
            return file.read_bytes() if file.is_file() else None
