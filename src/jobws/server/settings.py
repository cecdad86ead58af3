"""Every setting of the bridge, with its default and its unit, in one class.

`jobws.cli.flags` derives the flags of `jobws serve` and the environment variables (`JOBWS_…`) from the settings. This
module needs no package of the extra `server`, so that the command line can show its help without the extra.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from jobws.bullmq.keys import DEFAULT_PREFIX
from jobws.errors import ConfigurationError
from jobws.protocol.log.records import DEFAULT_LIMIT_ENTRIES, DEFAULT_STREAM
from jobws.server.origins import check_origins
from jobws.server.token_settings import check_token_settings

KIB = 1024
MIB = 1024 * 1024

Texts: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a bridge, in groups. Sizes are in bytes, times in seconds."""

    # ---- Redis and queues ----

    redis: str = field(default="redis://127.0.0.1:6379", repr=False)  # it may hold a password
    """Where Redis is: redis://, rediss:// (TLS), unix://, or redis+sentinel://host:port,host:port/master-name/db."""
    queues: Texts = ("http", "sparql", "techstack", "analyzer")
    """A queue: name, prefix:name or label=prefix:name; repeatable. '*' finds all under the prefix, also later ones."""
    prefix: str = DEFAULT_PREFIX
    """BullMQ's key prefix of queues that name none."""
    discover_seconds: float = 5.0
    """How often '*' looks for new queues."""
    forget_seconds: float = 60.0
    """How long '*' knows a queue whose keys are gone and to which nobody is subscribed."""
    sweep_seconds: float = 30.0
    """How often watched jobs without an outcome are read again, since some ends are silent."""
    queue_stats_seconds: float = 1.0
    """How often a queue's numbers are read at most, while subscriptions want them."""

    # ---- address and access ----

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8787
    """Port to listen on; 0 takes a free one."""
    auth: bool = True
    """Without a key only loopback is served. With --no-auth everybody who can reach the port is served."""
    allow_actions: bool = False
    """Without a key, let everybody whom the bridge serves retry, promote and remove jobs, pause and resume queues."""
    page: bool = True
    """With --no-page there is no page at /, which shows queues, jobs and logs in a browser."""
    allowed_origins: Texts = ()
    """An origin whose pages may connect, besides the bridge's own, or https://*.example.com (one label); repeatable."""
    allowed_hosts: Texts = ()
    """A Host header that is served, besides loopback names; repeatable. With keys, without it every Host is served."""
    trusted_proxies: Texts = ()
    """An address, or a network as 10.0.0.0/8, whose proxy_header is believed; repeatable."""
    proxy_header: str = "x-forwarded-for"
    """The header with which these proxies name their client. Others are ignored."""
    root_path: str = ""
    """The path under which a proxy serves the bridge, for instance /live, whether the proxy takes it away or not."""
    metrics_listen: str = ""
    """An address of loopback and a port, as 127.0.0.1:9187, where /metrics is also served, without a token."""

    # ---- keys and tokens (docs/access.md) ----

    tokens_file: str | None = None
    """The file of static tokens, with a line `sha256-hex sub expiry|never scope…` for each."""
    jwt_secret_files: Texts = ()
    """A file with a secret of at least 32 bytes, for JWTs; repeatable. $JOBWS_JWT_SECRET is one more secret."""
    jwt_secret: str | None = field(default=None, repr=False)
    """A secret that verifies JWTs. `jobws serve` takes it from $JOBWS_JWT_SECRET; there is no flag for it."""
    jwks_file: str | None = None
    """A JSON Web Key Set with the public keys that verify JWTs."""
    jwks_url: str | None = None
    """The https URL of such a key set. It is fetched again every 5 minutes, and when a JWT names an unknown key."""
    jwt_audience: str | None = None
    """What the claim aud of a JWT must be; without it, JWTs must not have aud."""
    jwt_issuer: str | None = None
    """What the claim iss of a JWT must be; without it, JWTs must not have iss."""
    jwt_scope_claim: str = "scope"
    """The claim that lists the rights of a JWT."""
    jwt_leeway_seconds: float = 5.0
    """By how much the clock of those who make JWTs may be ahead."""
    revoked_file: str | None = None
    """A file with the `jti` of each JWT that is revoked, one in a line."""
    mint_secret_file: str | None = None
    """The secret that signs the tokens of ?withToken=1. By default, the only secret that there is."""
    mint_key_file: str | None = None
    """A private JSON Web Key that signs them instead."""
    mint_seconds: float = 900.0
    """How long these tokens are valid."""
    authenticate_seconds: float = 10.0
    """How long a WebSocket may take to send a token."""
    expiring_seconds: float = 60.0
    """How long before its token expires a WebSocket is told so."""
    grace_seconds: float = 25.0
    """How long after its token has expired a WebSocket may take to send a new one, before it is closed with 4001."""

    # ---- deciding elsewhere (docs/access.md) ----

    authorize_url: str | None = None
    """The https URL of a server that decides what clients may do; scopes are then not read."""
    authorize_secret_file: str | None = None
    """A file with the secret that this server gets, as Authorization: Bearer SECRET."""
    authorize_seconds: float = 1.0
    """How long it, or the function `authorize`, may take. No answer within this time is a no."""

    # ---- privacy (docs/privacy.md) ----

    redact: Texts = ()
    """QUEUE:FIELD or QUEUE:FIELD.path: what clients get as "[redacted]", as http:data.user.*; repeatable."""
    no_results: Texts = ()
    """A queue whose jobs' results and reasons of failure clients do not get, or '*'; repeatable."""
    show_data: Texts = ()
    """A queue whose jobs' data clients that look a job up over HTTP get, too, or '*'; repeatable."""
    show_stacktraces: Texts = ()
    """A queue of whose failed jobs they also get the stack traces, or '*'; repeatable."""

    # ---- logs ----

    logs_stream: str = DEFAULT_STREAM
    """The key of the stream of log lines that /logs reads and POST /logs writes to."""
    logs_limit_entries: int = DEFAULT_LIMIT_ENTRIES
    """How many lines that stream keeps, about."""
    own_log: bool = True
    """With --no-own-log the bridge's own log is on standard error alone, and not also in the stream of logs."""

    # ---- limits: sizes and counts ----

    max_message_bytes: int = 256 * KIB
    """Largest message that a client may send."""
    max_body_bytes: int = MIB
    """Largest body of an HTTP request."""
    max_result_bytes: int = 2 * MIB
    """A larger result is left out of its event, which then says so."""
    outbox_bytes: int = 4 * MIB
    """What may wait for one client before it counts as slow."""
    max_subscriptions: int = 1000
    """Subscriptions per connection, and items per list."""
    max_subscriptions_per_identity: int = 10_000
    """Subscriptions with tokens of the same holder; without keys, those from one address, as the following limits."""
    max_connections: int = 20_000
    """Open connections; further ones get 503. The limit of open files can lower it."""
    max_unauthenticated: int = 1000
    """With keys or an authorizer, WebSockets that sent no token yet, or one that the authorizer has not judged yet."""
    max_connections_per_identity: int = 200
    """Connections with tokens of the same holder."""
    max_connections_per_address: int = 500
    """Connections from one address, or from one /64 of IPv6; loopback and trusted proxies are not limited."""

    # ---- limits: rates ----

    burst_messages: int = 800
    """Messages that a client may send together; every 5 items of a list, and every 2 KiB, count as one more."""
    messages_per_second: float = 200.0
    """How fast a client's further messages are read."""
    requests_per_second: int = 600
    """How fast a holder's messages are read over all connections; a WebSocket or an HTTP request counts as 3."""
    requests_per_minute: int = 12_000
    """Messages and HTTP requests with tokens of the same holder. They count as for burst_messages."""
    post_bytes_per_minute: int = 64 * MIB
    """Bytes of bodies of HTTP requests with tokens of the same holder."""
    log_lines_per_minute: int = 60_000
    """Lines that requests with tokens of the same holder may write to the log."""
    failed_auths_per_minute: int = 10
    """Tokens of one address that may be refused a minute; after that further bad ones get 429."""
    frames_per_second: float = 1000.0
    """How fast control frames and fragments of less than 32 bytes are read."""
    slow_bytes_per_second: float = 4.0 * KIB
    """See slow_seconds."""

    # ---- timeouts and intervals ----

    slow_seconds: float = 30.0
    """A client that takes less than slow_bytes_per_second for so long, while frames wait, is closed with 4000."""
    ping_seconds: float = 20.0
    """Interval of the server's WebSocket pings."""
    silence_seconds: float = 45.0
    """A client that sent not one byte for so long is gone."""
    request_seconds: float = 5.0
    """How long a client may take to send the head of its request, and how long it may keep an idle HTTP connection."""
    send_seconds: float = 30.0
    """How long a client may take to take an HTTP response."""
    progress_ms: float = 100.0
    """A subscription gets a job's progress at most once in so many milliseconds, the latest; 0 sends every update."""
    join_seconds: float = 10.0
    """How long a subscription may wait for Redis before it is refused."""
    max_wait_seconds: float = 60.0
    """How long GET /jobs may be asked to wait for a job's end, and POST /events for news."""
    shutdown_seconds: float = 5.0
    """How long open connections may take to end at shutdown."""

    # ---- WebSockets ----

    permessage_deflate: bool = False
    """Let clients compress what they send, and get larger messages compressed."""
    direct: bool = True
    """With --no-direct WebSockets go through ASGI, as under other servers: slower."""

    @property
    def max_frame_bytes(self) -> int:
        """The size of the largest message that the server sends: an event, a log line, or the longest `ack`.

        The longest `ack` answers a request with as many subscriptions as a client may have.
        In an ack, a snapshot has at most 2 KiB of progress, 512 bytes of id, 256 characters of name and a few numbers.
        A log line has at most 64 KiB of message and 64 KiB of fields. As JSON, both may be six times as long.
        """
        return max(self.max_result_bytes + 64 * KIB, self.max_subscriptions * 4 * KIB, MIB)

    @property
    def has_keys(self) -> bool:
        """Whether there is a key, so that clients need a token."""
        keys = (self.tokens_file, self.jwt_secret, self.jwks_file, self.jwks_url)
        return bool(self.jwt_secret_files) or any(each is not None for each in keys)

    @property
    def needs_tokens(self) -> bool:
        """Whether clients need a token, since there is a key or the URL of an authorizer."""
        return self.has_keys or self.authorize_url is not None

    def check(self) -> None:
        """Check that the settings are valid and can be used together.

        Raises:
            ConfigurationError: A setting must be changed; the message says how.
        """
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"there is no port {self.port}; it must be 0 to 65535")
        if not self.logs_stream or self.logs_limit_entries < 1:
            raise ConfigurationError("logs_stream must name a key, and logs_limit_entries be at least 1")
        check_origins(self.allowed_origins)
        for each in self.trusted_proxies:
            try:
                ipaddress.ip_network(each, strict=False)
            except ValueError:
                raise ConfigurationError(
                    f"--trusted-proxy takes addresses and networks such as 10.0.0.0/8, not {each}"
                ) from None
        if self.proxy_header.lower() == "forwarded":
            raise ConfigurationError("--proxy-header forwarded is not read; let the proxy send X-Forwarded-For")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise ConfigurationError("--root-path begins with a slash and does not end with one, for instance /live")
        if self.requests_per_second < 1:
            raise ConfigurationError("requests_per_second must be at least 1")
        if min(self.requests_per_minute, self.post_bytes_per_minute, self.log_lines_per_minute) < 1:
            raise ConfigurationError("limits per minute must be at least 1")
        if self.queue_stats_seconds <= 0:
            raise ConfigurationError("queue_stats_seconds must be above 0")
        if not 0 <= self.progress_ms <= 10_000:
            raise ConfigurationError("progress_ms must be 0 to 10000")
        self.metrics_address()
        if self.auth and not self.needs_tokens and not is_loopback(self.host):
            raise ConfigurationError(
                f"without a key jobws listens on loopback only, not on {self.host}; "
                "--no-auth serves everybody who can reach the port"
            )
        if self.allow_actions and not self.auth and not self.allowed_hosts:
            raise ConfigurationError("--allow-actions with --no-auth needs --allow-host: the names that may be in Host")
        check_token_settings(self)

    def metrics_address(self) -> tuple[str, int] | None:
        """Return the address and the port of `metrics_listen`; None if it is empty.

        Raises:
            ConfigurationError: They are not an address of loopback and a port.
        """
        if not self.metrics_listen:
            return None
        host, _, port = self.metrics_listen.rpartition(":")
        if not (is_loopback(host) and port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ConfigurationError(
                "--metrics-listen takes an address of loopback and a port, as 127.0.0.1:9187, "
                f"not {self.metrics_listen}"
            )
        return host.strip("[]"), int(port)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether `host` is a loopback address or a name that always means one (RFC 6761 §6.3)."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")
