"""A web server for pages that do not come from the bridge. The bridge must allow their origin, or it refuses them."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES: Final = Path(__file__).parent.parent / "web" / "pages"
ADAPTER: Final = Path(__file__).parent.parent.parent / "src" / "jobws" / "web" / "jobws.js"
_SOCKET_IO: Final = PAGES / "node_modules" / "socket.io-client" / "dist" / "socket.io.esm.min.js"
_TYPES: Final = {"html": "text/html; charset=utf-8", "js": "text/javascript", "mjs": "text/javascript"}


class PageServer:
    """Serves what `files` returns for a path; None means 404. Use it as a context manager.

    Attributes:
        origin: The origin of its pages. It is also the URL of the root, without the slash.
    """

    def __init__(self, files: Callable[[str], bytes | None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            """Answers GET."""

            def do_GET(self) -> None:
                """Send a file, or 404."""
                path = self.path.split("?")[0].lstrip("/")
                body = files(path)
                self.send_response(HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK)
                self.send_header("content-type", _TYPES.get(path.rpartition(".")[2], "text/plain"))
                self.send_header("content-length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def page_file(path: str) -> bytes | None:
    """Return a page of tests/web/pages, or the adapter `jobws.js`, or None if the path is neither."""
    match path:
        case "jobws.js" | "jobws-http.js" | "jobws-all.js":
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
