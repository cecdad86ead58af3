"""HTTP requests of the bridge to a server that its settings name: without redirects, with limits of time and size.

It is the standard library's HTTP client, which blocks: call it in a worker thread.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from jobws.errors import ConfigurationError, JobwsError
from jobws.server.settings import MIB, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES: Final = MIB
"""The largest body of an answer."""
_CHUNK_BYTES: Final = 64 * 1024
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Answer(NamedTuple):
    """The status and the body of an answer."""

    status: int
    body: bytes


class ExchangeError(JobwsError):
    """The server sent no answer, or one that cannot be used. `str()` is the reason, as the end of a sentence."""


def check_url(flag: str, url: str) -> None:
    """Check a URL to which the bridge sends requests.

    Raises:
        ConfigurationError: The URL is neither https nor http of loopback, is not printable ASCII, or contains a space,
            `@`, `#` or a backslash. The message has `flag`, but not the URL, in which there may be a password.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    except ValueError:
        host, is_safe = "", False
    if not (host and is_safe and url.isascii() and url.isprintable()) or any(each in url for each in " @#\\"):
        raise ConfigurationError(
            f"{flag} takes an https URL, or an http URL of loopback, in ASCII and without a user, a password or a #"
        )


def exchange(
    method: str, url: str, seconds: float, body: bytes | None = None, headers: Mapping[str, str] = _NO_HEADERS
) -> Answer:
    """Send a request and return the answer. A redirect is an answer like others.

    Proxies that the environment names are not used.

    Args:
        method: The HTTP method.
        url: A URL that `check_url` accepts.
        seconds: How long the answer may take, up to its last byte. To connect may take as long again.
        body: The body of the request; None for none.
        headers: Further headers.

    Raises:
        ExchangeError: The server cannot be reached, is too slow, or sends more than `MAX_BYTES` or no HTTP.
    """
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=seconds)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request(method, target, body, dict(headers))
        end = time.monotonic() + seconds
        # A response only calls `makefile` of its socket.
        timed: Any = lambda sock, **others: http.client.HTTPResponse(cast("Any", _Timed(sock, end)), **others)  # noqa: E731
        connection.response_class = timed
        with connection.getresponse() as response:
            return Answer(response.status, _body(response))
    except TimeoutError:
        raise too_slow(seconds) from None
    # ValueError: a part of the URL or a header is not what HTTP allows.
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ExchangeError(reason) from None
    finally:
        connection.close()


class _Timed(io.RawIOBase):
    """A socket, for the HTTP client to read from until `end`, a time on the monotonic clock.

    A read that begins later, or lasts longer, raises TimeoutError.

    The timeout of the socket itself begins again with each byte, so a slow server could hold a thread for ever.
    """

    def __init__(self, sock: Any, end: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._end = end

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        received: int | None = self._raw.readinto(buffer)
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()


def _body(response: http.client.HTTPResponse) -> bytes:
    received = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        received += chunk
        if len(received) > MAX_BYTES:
            raise ExchangeError(f"the answer has more than {MAX_BYTES} bytes")
    return bytes(received)


def too_slow(seconds: float) -> ExchangeError:
    """Return the error for an answer that did not come in time."""
    return ExchangeError(f"no answer within {seconds:g} s")
