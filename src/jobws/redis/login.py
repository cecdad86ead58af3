"""Connects and logs in with redis-py, which knows URLs, TLS and users. Turns its errors into sentences for the user.

All functions here block, so they run in a thread.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobws.errors import ConfigurationError, RedisRefusedError, RedisUnavailableError
from jobws.redis.server import HINT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LoggedIn: TypeAlias = redis.connection.AbstractConnection

CONNECT_TIMEOUT_SECONDS: Final = 3.0
FAILURES: Final = (redis.RedisError, OSError)
"""What `Login.connect` and the `ask_…` functions raise. `as_jobws_error` turns these into those of `jobws.errors`."""
# One object for all connections: making it takes 2 ms, since it reads redis-py's version from the files of its package.
_DRIVER: Final = redis.DriverInfo()
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class Address(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Login:
    """How to reach one Redis or Sentinel, from a URL in redis-py's format.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        username: Used if the URL contains no user. None means no other user.
        password: Used if the URL contains no password. None means no other password.

    Attributes:
        db: The number of the database.

    Raises:
        ValueError: The URL cannot be parsed. The message never contains the password.
        ConfigurationError: The URL names a file that cannot be read.
    """

    def __init__(self, url: str, username: str | None = None, password: str | None = None) -> None:
        try:
            self._pool = redis.ConnectionPool.from_url(
                url,
                username=username,
                password=password,
                protocol=2,
                driver_info=_DRIVER,
                socket_timeout=CONNECT_TIMEOUT_SECONDS,
                socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
                # redis-py would repeat a command without our knowledge. Reconnecting is the caller's decision.
                retry=Retry(NoBackoff(), 0),
            )
            self._options = self._pool.connection_kwargs
            str(self._options.get("host", "")).encode("idna")
            self._pool.connection_class(**self._options)  # an unknown option raises TypeError
        except (TypeError, redis.RedisError) as error:
            raise ValueError(str(error)) from None
        except ValueError as error:
            # urllib's messages quote the text before the first slash, which may be a part of a password.
            if str(error).startswith(("Invalid value for '", "Redis URL must specify")):
                raise
            raise ValueError("host or port is malformed; in a password write / ? # @ as %2F %3F %23 %40") from None
        self.db = int(self._options.get("db") or 0)
        for option in _FILES:
            if (name := self._options.get(option)) is not None:
                _check_readable(option, name)

    def connect(self, address: Address | None = None) -> LoggedIn:
        """Return a connection that is logged in, to `address` or, by default, to the host and port of the URL.

        Blocks for at most a few times 3 s. Raises one of `FAILURES`.
        """
        elsewhere = {} if address is None else address._asdict()
        connection: LoggedIn = self._pool.connection_class(**{**self._options, **elsewhere})
        connection.connect()  # type: ignore[no-untyped-call]
        return connection


def ask_blocking(connection: LoggedIn, *command: str) -> object:
    """Send one command and return its reply, undecoded. Raises one of `FAILURES`, also for an error reply."""
    connection.send_command(*command)  # type: ignore[no-untyped-call]
    return connection.read_response()


def ask_all_blocking(connection: LoggedIn, commands: Sequence[tuple[str | int, ...]]) -> Iterator[object]:
    """Send commands together and yield their replies as they come.

    An error reply is yielded as a RedisRefusedError. If the connection breaks, one of `FAILURES` is raised, after the
    replies that came before were yielded.
    """
    connection.send_packed_command(connection.pack_commands(commands))  # type: ignore[no-untyped-call]
    for _ in commands:
        try:
            yield connection.read_response()
        except redis.ResponseError as error:
            yield RedisRefusedError(str(error))


def as_jobws_error(error: Exception, who: str, hint: str = HINT) -> RedisRefusedError | RedisUnavailableError:
    """Return an exception of jobws for one of `FAILURES`.

    The result is a RedisRefusedError if Redis refuses for good, and a RedisUnavailableError if another attempt may
    help. `who` names the server in the message. `hint` says where the user can put a password.
    """
    cause = error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RedisRefusedError(
            f"the certificate of {who} is not trusted ({cause.verify_message}); "
            "?ssl_ca_certs=FILE in the URL names the authority that signed it"
        )
    if isinstance(error, (redis.AuthenticationError, redis.exceptions.NoPermissionError)):
        # Redis 6.2 reports this at the login, Redis 7.0 only at the first command.
        if str(error).startswith("Authentication required"):
            return RedisRefusedError(f"{who} wants a password: {hint}")
        return RedisRefusedError(f"{who} refuses the login: {error}")
    return RedisUnavailableError(f"{who} does not answer: {str(error).rstrip('.')}")


def _check_readable(option: str, name: str) -> None:
    try:
        Path(name).open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"cannot read {option} of the Redis URL, {name}: {error.strerror}") from None
