"""Parses a URL of Sentinels, and asks them for the master.

All Sentinels are asked together, since one that was cut off still reports the old master. The answer with the newest
configuration wins, as among the Sentinels themselves.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode

import anyio
import anyio.to_thread

from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.redis.login import FAILURES, Address, Login, as_jobws_error, ask_blocking

FORM: Final = "redis+sentinel://[user:password@]host:port[,host:port…]/master-name[/db]"
TIMEOUT_SECONDS: Final = 3.0
# How long to wait for the other Sentinels after the first answer. One that is down must not delay the result for long.
OTHERS_SECONDS: Final = 0.3
# How many threads may ask. A thread whose Sentinel does not answer is abandoned, but lives for some more seconds.
MAX_THREADS: Final = 40

_URL: Final = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://(?:(?P<login>[^/?#]*)@)?(?P<hosts>[^/?#@]+)"
    r"/(?P<master>[^/?#]+)(?:/(?P<db>[0-9]*))?(?:\?(?P<query>[^#]*))?"
)
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:]+))(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORT: Final = 26379
HINT: Final = "?sentinel_username=…&sentinel_password=… in the URL"
"""Tells users where to put a password for Sentinels. Without a user name, `sentinel_password` is enough."""
_OWN_OPTIONS: Final = ("sentinel_username", "sentinel_password")


def is_sentinel(url: str) -> bool:
    """Whether the URL's scheme is `redis+sentinel` or `rediss+sentinel`."""
    return url.startswith(("redis+sentinel:", "rediss+sentinel:"))


class Sentinels:
    """The Sentinels of one master.

    Args:
        url: `redis+sentinel://[user:password@]host:port[,host:port…]/master-name[/db]`. The hosts are those of the
            Sentinels; user and password are for the master. With `rediss+sentinel`, master and Sentinels use TLS. The
            query string may contain `sentinel_username`, `sentinel_password`, and options of redis-py. The options of
            redis-py apply to the master only, except that `ssl_…` also applies to the Sentinels.

    Attributes:
        addresses: The host and port of each Sentinel.
        master_name: The name of the master.
        address: The URL without passwords and options, for log lines.

    Raises:
        ValueError: The URL cannot be parsed. The message never contains the password.
        ConfigurationError: The URL names a file that cannot be read.
    """

    def __init__(self, url: str) -> None:
        parts = _URL.fullmatch(url)
        if parts is None:
            raise ValueError("it has no hosts, no name of a master, or a db that is no number")
        self.addresses = [_parse_address(text) for text in parts["hosts"].split(",")]
        self.master_name = unquote(parts["master"])
        named = ",".join(map(str, self.addresses))
        self.address = f"{parts['scheme']}+sentinel://{named}/{parts['master']}" + (
            f"/{parts['db']}" if parts["db"] else ""
        )
        options = parse_qsl(parts["query"] or "", keep_blank_values=True)
        own = {name: value for name, value in options if name in _OWN_OPTIONS}
        for_both = urlencode([(name, value) for name, value in options if name.startswith("ssl_")])
        for_master = urlencode([(name, value) for name, value in options if name not in _OWN_OPTIONS])
        self._before_address = f"{parts['scheme']}://{parts['login'] + '@' if parts['login'] else ''}"
        self._after_address = f"/{parts['db'] or 0}" + (f"?{for_master}" if for_master else "")
        self._logins = [
            Login(
                f"{parts['scheme']}://{address}/?{for_both}", own.get("sentinel_username"), own.get("sentinel_password")
            )
            for address in self.addresses
        ]
        self._limiter: anyio.CapacityLimiter | None = None

    def url_at(self, address: Address) -> str:
        """Return the URL, in redis-py's format, of a master at `address`."""
        return f"{self._before_address}{address}{self._after_address}"

    async def master(self) -> Address:
        """Ask the Sentinels, and return the address of the master. Takes at most 3 s.

        Raises:
            RedisUnavailableError: No Sentinel answered, or no Sentinel has a master of this name.
            RedisRefusedError: A Sentinel refuses us, for instance our password, and no other one names a master.
        """
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(MAX_THREADS)
        with anyio.move_on_after(TIMEOUT_SECONDS) as scope:
            replies = _Replies(scope)
            async with anyio.create_task_group() as tasks:
                for address, login in zip(self.addresses, self._logins, strict=True):
                    tasks.start_soon(self._query_sentinel, address, login, self._limiter, replies)
        if replies.answers:
            return max(replies.answers)[1]
        for failure in replies.failures.values():
            if isinstance(failure, RedisRefusedError):
                raise failure
        if replies.unknown:
            raise RedisUnavailableError(f'the Sentinels of {self.address} know no master "{self.master_name}"')
        silent = f"gave no answer within {TIMEOUT_SECONDS:g} s"
        reasons = "; ".join(
            str(replies.failures.get(address, f"the Sentinel at {address} {silent}")) for address in self.addresses
        )
        raise RedisUnavailableError(f"no Sentinel tells the master: {reasons}")

    async def _query_sentinel(
        self, address: Address, login: Login, limiter: anyio.CapacityLimiter, replies: _Replies
    ) -> None:
        try:
            answer = await anyio.to_thread.run_sync(self._ask, login, abandon_on_cancel=True, limiter=limiter)
        except FAILURES as error:
            replies.failures[address] = as_jobws_error(error, f"the Sentinel at {address}", HINT)
            return
        if answer is None:
            replies.unknown = True
            return
        replies.answers.append(answer)
        replies.scope.deadline = min(replies.scope.deadline, anyio.current_time() + OTHERS_SECONDS)

    def _ask(self, login: Login) -> tuple[int, Address] | None:
        """Return the epoch of a Sentinel's configuration and the master's address, or None if it has no such master."""
        connection = login.connect()
        try:
            reply = ask_blocking(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master_name)
            if not (isinstance(reply, list) and len(reply) == 2):
                return None
            host, port = (bytes(part).decode() for part in reply)
            return _epoch(connection, self.master_name), Address(host, int(port))
        finally:
            connection.disconnect()  # type: ignore[no-untyped-call]


class _Replies:
    """The answers of the Sentinels so far.

    Waiting for more replies ends at the deadline of `scope`. The task that adds the first answer moves this deadline to
    at most OTHERS_SECONDS after it. Each item of `answers` is the epoch of a configuration and the master's address.
    `failures` has an error for each Sentinel that failed, by its address. `unknown` says that a Sentinel answered that
    it has no master of this name.
    """

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.answers: list[tuple[int, Address]] = []
        self.failures: dict[Address, RedisRefusedError | RedisUnavailableError] = {}
        self.unknown = False


def _epoch(connection: object, master_name: str) -> int:
    """Return the epoch of the Sentinel's configuration, or -1 if the Sentinel does not report it."""
    try:
        reply = ask_blocking(connection, "SENTINEL", "MASTER", master_name)  # type: ignore[arg-type]
    except FAILURES:
        return -1
    fields = dict(zip(reply[::2], reply[1::2], strict=False)) if isinstance(reply, list) else {}
    epoch = fields.get(b"config-epoch", b"")
    return int(epoch) if isinstance(epoch, bytes) and epoch.isdigit() else -1


def _parse_address(text: str) -> Address:
    parts = _ADDRESS.fullmatch(text)
    if parts is None or int(parts["port"] or 1) > 65535:
        raise ValueError("a host is malformed; in a password write / ? # @ as %2F %3F %23 %40")
    return Address(parts["v6"] or parts["host"], int(parts["port"] or _DEFAULT_PORT))
