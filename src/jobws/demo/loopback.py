"""Sends HTTP requests for the processors of the demo, and only to the machine that the demo runs on.

The URL in a job's data comes from strangers, who could otherwise make the worker send requests into the network around
it. So every address of the URL's host must be a loopback address, such as 127.0.0.1 or ::1; the same is checked again
for each redirect. `Limits.any_address` switches the check off.

A name is resolved once for each request, and the worker connects to the address that was checked. If the name were
resolved again, it could have another address by then.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from jobws.demo.job import JobError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS: Final = 5
_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Request:
    """A request to send.

    Attributes:
        url: A URL with the scheme `http` or `https`.
        method: The method. Redirects are followed for GET and HEAD only. For other methods, a redirect is the answer.
        headers: Headers in addition to those that HTTP needs; None for no more.
        body: The body; None for a request without one.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    body: bytes | None = None


@dataclass(frozen=True)
class Limits:
    """The limits for a request.

    Attributes:
        any_address: Whether addresses other than those of the loopback interface are allowed.
        timeout_seconds: The limit for the whole request, with redirects and body.
        max_bytes: How many bytes of the body are read.
    """

    any_address: bool = False
    timeout_seconds: float = 15.0
    max_bytes: int = 8 * 1024 * 1024


class Response:
    """An answer whose body has not been read.

    Args:
        response: The answer, as http.client returns it.
        max_bytes: How many bytes of the body `read` returns at most.
        end: When the request's time is over, on the clock `time.monotonic`. `read` raises if the body ends later.

    Attributes:
        url: The URL after redirects.
        redirects: How many redirects were followed.
        status: The status code.
        reason: The text that follows the status code.
        headers: The headers, in their order. Names may repeat.
    """

    def __init__(
        self, url: str, redirects: int, response: http.client.HTTPResponse, max_bytes: int, end: float
    ) -> None:
        self._response = response
        self._max_bytes = max_bytes
        self._end = end
        self.url = url
        self.redirects = redirects
        self.status = response.status
        self.reason = response.reason
        self.headers = response.getheaders()

    def read(self) -> tuple[bytes, bool]:
        """Return the body and True, or the beginning of the body and False if it was cut at `max_bytes`.

        Call this within the context of `send`, which turns the errors that this raises into JobError.
        """
        body = bytearray()
        while len(body) <= self._max_bytes:
            chunk = self._response.read1(_CHUNK_BYTES)
            if not chunk:
                # A body without a length ends with its connection, which `_cut` may have ended too early.
                if self._response.length or time.monotonic() >= self._end:
                    raise ConnectionResetError("the connection ended before the body did")
                return bytes(body), True
            body += chunk
        return bytes(body[: self._max_bytes]), False


@contextmanager
def send(request: Request, limits: Limits) -> Iterator[Response]:
    """Send a request, follow its redirects, and yield the answer. The connection ends with the context.

    Raises:
        JobError: The URL is malformed, leads to a forbidden address, or gets no answer in time; or the body does not
            arrive.
    """
    end = time.monotonic() + limits.timeout_seconds
    url = request.url
    for redirects in range(MAX_REDIRECTS + 1):
        with _as_job_errors(url, end), _answer(url, request, limits, end) as response:
            location = response.getheader("Location")
            if location is None or response.status not in _REDIRECTS or request.method not in ("GET", "HEAD"):
                yield Response(url, redirects, response, limits.max_bytes, end)
                return
            url = urljoin(url, location)
    raise JobError(f"{request.url} redirects more than {MAX_REDIRECTS} times")


@contextmanager
def _as_job_errors(url: str, end: float) -> Iterator[None]:
    """Turn the errors of sockets and HTTP into a JobError that names the URL.

    `end` is when the request's time is over, on the clock `time.monotonic`. From then on, the JobError says that the
    answer took too long.
    """
    try:
        yield
    except JobError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= end:
            raise JobError(f"{url} took too long to answer") from error
        raise JobError(f"{url} cannot be fetched: {error}") from error


@contextmanager
def _answer(url: str, request: Request, limits: Limits, end: float) -> Iterator[http.client.HTTPResponse]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise JobError(f"{url} is no URL of the form http://host[:port]/path")
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    with _connected(parts.hostname, port, limits, end) as plain:
        # The socket's own time-out is not enough, since a server can send a byte now and then.
        cut = threading.Timer(max(0.0, end - time.monotonic()), _cut, (plain,))
        cut.daemon = True
        cut.start()
        connection = http.client.HTTPConnection(parts.hostname, port)
        # http.client uses this socket. It takes host and port only for the header Host.
        connection.sock = plain
        try:
            if secure:
                connection = http.client.HTTPSConnection(parts.hostname, port)
                connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"User-Agent": "jobws-demo", "Accept": "*/*", **(request.headers or {}), "Connection": "close"}
            connection.request(request.method, target, request.body, headers)
            with connection.getresponse() as response:
                yield response
        finally:
            cut.cancel()
            connection.close()


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


@contextmanager
def _connected(host: str, port: int, limits: Limits, end: float) -> Iterator[socket.socket]:
    """Connect to the first address of the host that accepts a connection. The context closes the socket.

    Args:
        host: The name or address of the host.
        port: The port.
        limits: Say which addresses are allowed.
        end: When the request's time is over, on the clock `time.monotonic`. It limits the time-out of the socket.

    Raises:
        JobError: One of the host's addresses is forbidden. All are checked before the first attempt to connect.
        OSError: The host has no address, or no address accepts a connection.
    """
    resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, address in resolved:
        if not limits.any_address and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
            raise JobError(f"{host} is {address[0]}; this worker goes to loopback addresses only")
    failure = OSError("the host has no address")
    for family, kind, protocol, _, address in resolved:
        with socket.socket(family, kind, protocol) as candidate:
            candidate.settimeout(max(0.01, end - time.monotonic()))
            try:
                candidate.connect(address)
            except OSError as error:
                failure = error
                continue
            yield candidate
            return
    raise failure
