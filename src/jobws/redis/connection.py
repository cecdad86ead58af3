"""Opens connections to Redis from a URL. Tasks use them without a thread for each read.

redis-py does not support trio, but its synchronous connection provides TLS, ACL and RESP parsing. So redis-py connects
and logs in, in a thread. Then its socket becomes non-blocking, and only this module uses it. At 200 events a second
this takes 325 µs of CPU per event; a thread for each read would take 650 µs.
"""

from __future__ import annotations

import logging
import ssl
import weakref
from typing import TYPE_CHECKING, Final, Self, TypeAlias
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import anyio.to_thread
import hiredis

from jobws.errors import ConfigurationError, RedisRefusedError, RedisUnavailableError
from jobws.redis.login import FAILURES, Address, LoggedIn, Login, as_jobws_error, ask_blocking
from jobws.redis.sentinel import FORM, Sentinels, is_sentinel

if TYPE_CHECKING:
    import socket

    from jobws.redis.commands import Command

Reply: TypeAlias = "bytes | int | hiredis.ReplyError | list[Reply] | None"

# The pause between two questions to the Sentinels. Another master is noticed at most this long after they name it.
WATCH_SECONDS: Final = 5.0
RECEIVE_BYTES: Final = 65536
# How much to read before other tasks run, so that a reply of many megabytes does not delay other clients.
_CHECKPOINT_BYTES: Final = 1024 * 1024
_INCOMPLETE: Final = object()

_log: Final = logging.getLogger(__name__)


class RedisTarget:
    """Where Redis is and how to log in, from a URL.

    With Sentinels, connections lead to the master, and are closed when the Sentinels report another one.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, in redis-py's format, with user, password, `/db`, and options
            in the query string. Or `redis+sentinel://`, in the format of `jobws.redis.sentinel.Sentinels`.

    Attributes:
        address: The URL without user, password and options, for log lines.
        db: The number of the database.
        master: The master's address that the Sentinels reported last; None before that, and without Sentinels.

    Raises:
        ConfigurationError: The URL cannot be parsed. The message never contains the password.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._sentinels: Sentinels | None = None
        self.master: Address | None = None
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        expected = "redis://[user:password@]host:port/db"
        try:
            if is_sentinel(url):
                expected = FORM
                self._sentinels = Sentinels(url)
                url = self._sentinels.url_at(Address("localhost", 6379))
            self._login = Login(url)
        except ValueError as error:
            raise ConfigurationError(f"cannot read the Redis URL ({error}); expected {expected}") from None
        self.db = self._login.db
        self.address = _without_login(url) if self._sentinels is None else self._sentinels.address

    async def locate(self) -> Address | None:
        """Ask the Sentinels for the master and return its address; None without Sentinels.

        If they report another one than before, `master` changes and the connections to the old one are closed.

        Raises:
            RedisUnavailableError: No Sentinel knows the master now.
            RedisRefusedError: The Sentinels refuse us.
        """
        if self._sentinels is None:
            return None
        master = await self._sentinels.master()
        if master != self.master:
            _log.info("the master of %s is %s", self.address, master)
            self.master = master
            for connection in list(self._connections):
                self._check(connection)
        return master

    async def watch(self) -> None:
        """Call `locate` every 5 s, until cancelled, so that connections to an old master are closed.

        Its errors are only logged, and connections stay open meanwhile. Without Sentinels, only wait.
        """
        if self._sentinels is None:
            await anyio.sleep_forever()
        silent = False
        while True:
            try:
                await self.locate()
                silent = False
            except (RedisUnavailableError, RedisRefusedError) as error:
                if not silent:
                    _log.warning("%s; staying with the master of before", error)
                silent = True
            await anyio.sleep(WATCH_SECONDS)

    def url_at(self, master: Address | None) -> str:
        """Return the URL, in redis-py's format, of the Redis at `master`, the address that `locate` returned."""
        return self._url if self._sentinels is None or master is None else self._sentinels.url_at(master)

    def connect_blocking(self, master: Address | None) -> LoggedIn:
        """Return a connection that is logged in. `master` is what `locate` returned.

        Blocks for at most a few times 3 s. Raises one of `jobws.redis.login.FAILURES`, or RedisUnavailableError if the
        server at the address `master` is no master.
        """
        connection = self._login.connect(master)
        try:
            if master is not None:
                _require_master(connection, master)
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        return connection

    def close_on_failover(self, connection: Connection) -> None:
        """Close this connection when the Sentinels report another master, or now if they already have."""
        self._connections.add(connection)
        self._check(connection)

    def _check(self, connection: Connection) -> None:
        if connection.master != self.master:
            connection.close(f"the Redis master moved to {self.master}")


def _require_master(connection: LoggedIn, master: Address) -> None:
    # Not ROLE, which an ACL can forbid. HELLO reports the role, too.
    reply = ask_blocking(connection, "HELLO", "2")
    role = dict(zip(reply[::2], reply[1::2], strict=False)).get(b"role") if isinstance(reply, list) else None
    if role != b"master":
        raise RedisUnavailableError(f"{master}, which the Sentinels name, is no master at the moment")


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}"


class Connection:
    """One connection to Redis, for one task at a time. Get one from `open`.

    A call that is cancelled, times out or fails closes the connection. Otherwise the rest of its reply would be taken
    for the reply to the next command.

    `master` is the address of the master; None without Sentinels. `received_bytes` is the size of all replies so far.
    """

    def __init__(self, connection: LoggedIn, master: Address | None = None, receive_bytes: int = RECEIVE_BYTES) -> None:
        self._connection = connection
        self._receive_bytes = receive_bytes
        self.master = master
        taken: socket.socket | None = connection._sock  # noqa: SLF001 - see the module's docstring
        if taken is None:
            raise RedisUnavailableError("the connection to Redis was closed while it was opened")
        self._socket = taken
        # redis-py's own reader is empty: under RESP2, Redis sends nothing after the reply to the login's last command.
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._socket.setblocking(False)
        self._tls = isinstance(taken, ssl.SSLSocket)
        self.closed = False
        self._why_closed = ""
        self.received_bytes = 0

    @classmethod
    async def open(cls, target: RedisTarget, receive_bytes: int = RECEIVE_BYTES) -> Self:
        """Return a new connection that is logged in. Each read from its socket takes at most `receive_bytes`.

        A thread opens the connection. Cancelling returns immediately, and the thread closes the connection as soon as
        it is open.

        Raises:
            RedisUnavailableError: Redis did not answer, or answered with an error that may pass.
            RedisRefusedError: Redis refuses the login, its certificate is not trusted, or a permission is missing.
        """
        master = await target.locate()
        opened: list[LoggedIn] = []
        abandoned = False

        def connect() -> None:
            opened.append(target.connect_blocking(master))
            if abandoned:
                opened[0].disconnect()  # type: ignore[no-untyped-call]

        try:
            await anyio.to_thread.run_sync(connect, abandon_on_cancel=True)
        except FAILURES as error:
            raise as_jobws_error(error, f"Redis at {target.address}") from None
        except BaseException:
            abandoned = True
            for late in opened:
                late.disconnect()  # type: ignore[no-untyped-call]
            raise
        connection = cls(opened[0], master, receive_bytes)
        target.close_on_failover(connection)
        return connection

    async def execute(self, *commands: Command, timeout_seconds: float) -> list[Reply]:
        """Send `commands` together and return their replies. An error reply is returned as a value, not raised.

        Other tasks run meanwhile, however fast Redis answers.

        Raises:
            RedisUnavailableError: The connection broke, or the replies took longer than `timeout_seconds`.
        """
        if not commands:
            await anyio.lowlevel.checkpoint()
            return []
        # Not fail_after, since its two generators take a tenth of what an event costs under little load.
        with anyio.CancelScope(deadline=anyio.current_time() + timeout_seconds):
            try:
                await self._send(b"".join([hiredis.pack_command(command) for command in commands]))  # type: ignore[arg-type]
                return await self._replies(len(commands))
            except (OSError, EOFError, anyio.ClosedResourceError, hiredis.HiredisError) as error:
                self.close(f"the connection to Redis broke: {error}")
                raise RedisUnavailableError(self._why_closed) from None
            except BaseException:
                self.close()
                raise
        raise RedisUnavailableError(f"Redis did not answer within {timeout_seconds:g} s")

    async def ask(self, *command: str | bytes | int, timeout_seconds: float) -> Reply:
        """Send one command and return its reply.

        Raises:
            RedisUnavailableError: Redis answered with an error, or `execute` raised this error.
        """
        (reply,) = await self.execute(command, timeout_seconds=timeout_seconds)
        if isinstance(reply, hiredis.ReplyError):
            raise RedisUnavailableError(f"Redis answered {command[0]!s} with an error: {reply}")
        return reply

    def close(self, why: str = "the connection to Redis was closed") -> None:
        """Close the socket. Idempotent, never waits. A task in `execute` gets `RedisUnavailableError(why)`."""
        if not self.closed:
            self.closed = True
            self._why_closed = why
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
            await anyio.lowlevel.checkpoint()  # bytes that TLS has already decrypted do not make a socket readable
        else:
            await anyio.wait_readable(self._socket)  # a reply never comes so early that recv would succeed now
        while True:
            while len(replies) < count:
                reply = self._reader.gets()
                if reply is _INCOMPLETE:
                    break
                replies.append(reply)
            else:
                return replies
            try:
                data = self._socket.recv(self._receive_bytes)
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
