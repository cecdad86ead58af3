"""A small SPARQL 1.1 endpoint on rdflib, for the queue `sparql`.

The endpoint has one graph in memory and no named graphs. It serves `GET /sparql?query=`, and `POST /sparql` with a
form, or with the query or update as the body (https://www.w3.org/TR/sparql11-protocol/, sections 2.1 and 2.2). Any
local program may read and change the graph. It cannot make rdflib open a URL or a file: requests with LOAD, SERVICE,
FROM or USING are refused. Requests of web pages are refused, too.
"""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import parse_qs, urlsplit

from jobws.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATH: Final = "/sparql"
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
_READ_SECONDS: Final = 10.0
_LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
# rdflib's names for the parts of a request that would open a URL or a file.
_REFUSED: Final = {"Load": "LOAD", "ServiceGraphPattern": "SERVICE", "DatasetClause": "FROM", "UsingClause": "USING"}

Answer = tuple[HTTPStatus, str, bytes]
"""The status, the content type and the body."""


class Triples:
    """A graph that several threads may use, and its SPARQL operations.

    Raises:
        MissingExtraError: rdflib is not installed.
    """

    def __init__(self) -> None:
        try:
            from rdflib import Graph
        except ImportError as error:
            raise MissingExtraError("demo", "the SPARQL endpoint") from error
        self._graph: Graph = Graph()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._graph)

    def query(self, text: str) -> Answer:
        """Return the result: JSON for SELECT and ASK, JSON-LD for CONSTRUCT and DESCRIBE; 400 for an invalid query."""
        from rdflib.plugins.sparql.parser import parseQuery

        try:
            _refuse(parseQuery(text))
            with self._lock:
                result = self._graph.query(text)
                if result.graph is not None:
                    body = result.graph.serialize(format="json-ld", encoding="utf-8")
                    return HTTPStatus.OK, "application/ld+json", body
                return HTTPStatus.OK, "application/sparql-results+json", result.serialize(format="json") or b""
        # rdflib raises plain Exception, and pyparsing raises exceptions of its own.
        except Exception as error:  # noqa: BLE001
            return _refusal(error)

    def update(self, text: str) -> Answer:
        """Change the graph. Return 204, or 400 for an invalid update."""
        from rdflib.plugins.sparql.parser import parseUpdate

        try:
            _refuse(parseUpdate(text))
            with self._lock:
                self._graph.update(text)
        except Exception as error:  # noqa: BLE001 - see `query`
            return _refusal(error)
        return HTTPStatus.NO_CONTENT, "text/plain", b""


def _refuse(request: object) -> None:
    for name in _names(request):
        if name in _REFUSED:
            raise ValueError(f"{_REFUSED[name]} is refused: this endpoint reads nothing but its own graph")


def _names(node: object) -> Iterator[str]:
    """Yield rdflib's name of every part of a parsed request, at any depth; an empty text for a part without a name."""
    if isinstance(node, str | bytes):
        return
    if isinstance(node, dict):
        yield str(getattr(node, "name", ""))
        node = list(node.values())
    if hasattr(node, "__iter__"):
        for part in node:
            yield from _names(part)


def _refusal(error: Exception) -> Answer:
    return HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", f"{type(error).__name__}: {error}".encode()


class SparqlEndpoint:
    """The endpoint, on a loopback address and in a thread of its own. Use it as a context manager.

    The graph belongs to this object, so it outlasts the context, and is there again when the context is entered again.

    Args:
        port: The port; 0 takes a free port, each time the context is entered.

    Raises:
        MissingExtraError: rdflib is not installed.
        ConfigurationError: The port is taken. Raised when the context is entered.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.triples = Triples()

    @property
    def url(self) -> str:
        """The endpoint's URL, with its path. Before the context is entered, this raises AttributeError."""
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"triples": self.triples})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        except OSError as error:
            raise ConfigurationError(f"the SPARQL endpoint cannot listen on port {self._port}: {error}") from error
        # Do not wait for clients that keep their connection open.
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    triples: Triples
    # After this time without a byte, the thread of a client ends.
    timeout: ClassVar[float | None] = _READ_SECONDS

    def do_GET(self) -> None:
        self._respond(None)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._send((HTTPStatus.LENGTH_REQUIRED, "text/plain", b"Content-Length is required"))
        elif int(length) > MAX_REQUEST_BYTES:
            self._send((HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/plain", b"at most %d bytes" % MAX_REQUEST_BYTES))
        else:
            self._respond(self.rfile.read(int(length)))

    def log_message(self, *_: Any) -> None:
        """Log nothing, since the demo prints everything that is of interest."""

    def _respond(self, body: bytes | None) -> None:
        address = urlsplit(self.path)
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in _LOOPBACK_NAMES or self.headers.get("Origin") is not None:
            self._send((HTTPStatus.FORBIDDEN, "text/plain", b"not for web pages, nor under another name"))
        elif address.path != PATH:
            self._send((HTTPStatus.NOT_FOUND, "text/plain", f"the endpoint is {PATH}".encode()))
        else:
            self._send(self._answer(address.query, body))

    def _answer(self, query: str, body: bytes | None) -> Answer:
        kind = self.headers.get_content_type()
        text = "" if body is None else body.decode(errors="replace")
        if body is not None and kind == "application/sparql-query":
            return self.triples.query(text)
        if body is not None and kind == "application/sparql-update":
            return self.triples.update(text)
        if body is not None and kind != "application/x-www-form-urlencoded":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "text/plain", b"send a form, or application/sparql-update"
        given: Mapping[str, list[str]] = parse_qs(query if body is None else text)
        if "query" in given:
            return self.triples.query(given["query"][0])
        # A GET must not change anything.
        if "update" in given and body is not None:
            return self.triples.update(given["update"][0])
        return HTTPStatus.BAD_REQUEST, "text/plain", b"`query` or, with POST, `update` is missing"

    def _send(self, answer: Answer) -> None:
        status, content_type, body = answer
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Connection", "close")
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
