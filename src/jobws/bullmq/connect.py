"""A Redis URL to connections that a task can wait for without a thread.

redis-py has no trio support, but its synchronous connection brings TLS, ACL and RESP parsing. So redis-py connects and
logs in, in a thread; then its socket becomes non-blocking and belongs to us. Measured against a thread hop per read at
200 events a second: 325 instead of 650 µs of CPU per event.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, Self, TypeAlias
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import anyio.to_thread
import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobws.bullmq.overview import wants_password
from jobws.errors import ConfigurationError, RedisRefusedError, RedisUnavailableError

if TYPE_CHECKING:
    import socket

    from jobws.bullmq.keys import Command

Reply: TypeAlias = "bytes | int | hiredis.ReplyError | list[Reply] | None"

CONNECT_TIMEOUT_SECONDS: Final = 3.0
_RECEIVE_BYTES: Final = 65536
# Between checkpoints, so that a reply of many megabytes holds up nobody (design: one loop serves every client).
_CHECKPOINT_BYTES: Final = 1024 * 1024
_INCOMPLETE: Final = object()
_REFUSALS: Final = (redis.AuthenticationError, redis.exceptions.NoPermissionError)


class RedisTarget:
    """Where Redis is and how to log in, from a URL.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, as redis-py takes it: user, password, `/db`, and options in
            the query string.

    Raises:
        ConfigurationError: The URL cannot be understood. The message never holds the password.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            pool = redis.ConnectionPool.from_url(
                url,
                protocol=2,
                socket_timeout=CONNECT_TIMEOUT_SECONDS,
                socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
                # A silent retry would repeat a read behind our back; reconnecting is the caller's decision.
                retry=Retry(NoBackoff(), 0),
            )
            host = parts.hostname or ""
            port = f":{parts.port}" if parts.port else ""
            host.encode("idna")
            pool.connection_class(**pool.connection_kwargs)  # an option that it does not know is a TypeError
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"cannot read the Redis URL ({error}); expected redis://[user:password@]host:port/db"
            ) from None
        self._pool = pool
        self.db = int(pool.connection_kwargs.get("db") or 0)
        self.address = f"{parts.scheme}://{host}{port}{parts.path}"
        """The URL without user and password, for log lines."""

    def connect_blocking(self) -> redis.connection.AbstractConnection:
        """A connection that is logged in. Blocks for at most a few times 3 s; raises redis-py's errors."""
        connection: redis.connection.AbstractConnection = self._pool.connection_class(**self._pool.connection_kwargs)
        connection.connect()  # type: ignore[no-untyped-call]
        return connection


class Connection:
    """One connection to Redis, for one task at a time.

    A call that is cancelled, times out or fails leaves the connection closed, since the rest of an answer could be
    taken for the answer to the next question.
    """

    def __init__(self, connection: redis.connection.AbstractConnection) -> None:
        self._connection = connection
        taken: socket.socket | None = connection._sock  # noqa: SLF001 - see the module's docstring
        if taken is None:
            raise RedisUnavailableError("the connection to Redis was closed while it was opened")
        self._socket = taken
        # Under RESP2 nothing follows the answer to the last command of the login, so redis-py's reader is empty.
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._socket.setblocking(False)
        self._tls = isinstance(taken, ssl.SSLSocket)
        self.closed = False
        self.received_bytes = 0

    @classmethod
    async def open(cls, target: RedisTarget) -> Self:
        """Connect and log in.

        Cancelling returns at once; the thread ends by its own time-outs and its socket is closed.

        Raises:
            RedisUnavailableError: No answer, or one that may be different later.
            RedisRefusedError: The password or user is wrong, or may not do this.
        """
        opened: list[redis.connection.AbstractConnection] = []
        abandoned = False

        def connect() -> None:
            opened.append(target.connect_blocking())
            if abandoned:
                opened[0].disconnect()  # type: ignore[no-untyped-call]

        try:
            await anyio.to_thread.run_sync(connect, abandon_on_cancel=True)
        except _REFUSALS as error:
            # Redis 6.2 says so at the login, 7.0 only when the first command comes.
            if str(error).startswith("Authentication required"):
                raise wants_password(target.address) from None
            raise RedisRefusedError(f"Redis at {target.address} refuses the login: {error}") from None
        except (redis.RedisError, OSError) as error:
            raise RedisUnavailableError(
                f"Redis at {target.address} does not answer: {str(error).rstrip('.')}"
            ) from None
        except BaseException:
            abandoned = True
            for connection in opened:
                connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        return cls(opened[0])

    async def execute(self, *commands: Command, timeout_seconds: float) -> list[Reply]:
        """Send `commands` in one piece and return their replies; an error reply is a value, not raised.

        Others have their turn meanwhile, however quick Redis is.

        Raises:
            RedisUnavailableError: The connection broke, or the replies took longer than `timeout_seconds`.
        """
        # Not fail_after, whose two generators are a tenth of what an event costs a bridge with little to do.
        with anyio.CancelScope(deadline=anyio.current_time() + timeout_seconds):
            try:
                await self._send(b"".join([hiredis.pack_command(command) for command in commands]))  # type: ignore[arg-type]
                return await self._replies(len(commands))
            except (OSError, EOFError, hiredis.HiredisError) as error:
                self.close()
                raise RedisUnavailableError(f"the connection to Redis broke: {error}") from None
            except BaseException:
                self.close()
                raise
        raise RedisUnavailableError(f"Redis did not answer within {timeout_seconds:g} s")

    async def ask(self, *command: str | bytes | int, timeout_seconds: float) -> Reply:
        """The reply to one command.

        Raises:
            RedisUnavailableError: As `execute`, and for an error reply.
        """
        (reply,) = await self.execute(command, timeout_seconds=timeout_seconds)
        if isinstance(reply, hiredis.ReplyError):
            raise RedisUnavailableError(f"Redis answered {command[0]!s} with an error: {reply}")
        return reply

    def close(self) -> None:
        """Close the socket. Idempotent, never waits; a task that waits for the socket gets ClosedResourceError."""
        if not self.closed:
            self.closed = True
            anyio.notify_closing(self._socket)
            self._connection.disconnect()  # type: ignore[no-untyped-call]

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await anyio.wait_writable(self._socket)
            except ssl.SSLWantReadError:
                await anyio.wait_readable(self._socket)

    async def _replies(self, count: int) -> list[Reply]:
        replies: list[Reply] = []
        unchecked = 0
        if self._tls:
            await anyio.lowlevel.checkpoint()  # what is decrypted already makes no socket readable
        else:
            await anyio.wait_readable(self._socket)  # Redis is never so quick that it would pay to look first
        while True:
            while len(replies) < count:
                reply = self._reader.gets()
                if reply is _INCOMPLETE:
                    break
                replies.append(reply)
            else:
                return replies
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                await anyio.wait_readable(self._socket)
                continue
            except ssl.SSLWantWriteError:
                await anyio.wait_writable(self._socket)
                continue
            if not data:
                raise EOFError("Redis closed it")
            self._reader.feed(data)
            self.received_bytes += len(data)
            unchecked += len(data)
            if unchecked >= _CHECKPOINT_BYTES:
                unchecked = 0
                await anyio.lowlevel.checkpoint()
