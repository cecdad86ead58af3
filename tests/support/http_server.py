"""A web server whose answers a test chooses."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


class Asked(NamedTuple):
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """An answer. The pieces of its body are sent one by one."""

    body: Iterable[bytes]
    status: int = 200
    headers: Mapping[str, str] = {}


class HttpServer:
    """Serves what `answer` returns for a request. Use it as a context manager.

    Args:
        answer: Returns the answer, or its body.
        certificate: A file of `certify`, whose key is beside it: the server speaks TLS as `localhost`. None for HTTP.

    Attributes:
        url: Its URL, without a slash at the end.
        asked: The requests that came.
    """

    def __init__(self, answer: Callable[[Asked], Reply | bytes], certificate: Path | None = None) -> None:
        self.asked: list[Asked] = []

        class Handler(BaseHTTPRequestHandler):
            """Answers GET and POST."""

            def do_GET(handler) -> None:
                """Send the answer."""
                body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
                asked = Asked(handler.path, {name.lower(): value for name, value in handler.headers.items()}, body)
                self.asked.append(asked)
                found = answer(asked)
                reply = found if isinstance(found, Reply) else Reply([found])
                try:
                    handler.send_response(reply.status)
                    for name, value in reply.headers.items():
                        handler.send_header(name, value)
                    handler.end_headers()
                    for piece in reply.body:
                        handler.wfile.write(piece)
                except OSError:  # the client has gone
                    pass

            do_POST = do_GET

            def log_message(handler, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        host = "http://127.0.0.1"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            host = "https://localhost"
        self.url = f"{host}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
