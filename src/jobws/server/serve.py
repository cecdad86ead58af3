"""Runs the bridge as a program: the listening socket, signals, the start-up report, and an orderly shutdown."""

from __future__ import annotations

import errno
import logging
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from jobws.errors import ConfigurationError, RedisUnavailableError
from jobws.server.bridge import RESTART, Bridge
from jobws.server.garbage import collect_garbage, no_other_collections
from jobws.server.own_log import own_log
from jobws.server.proxies import Addresses
from jobws.server.settings import is_loopback
from jobws.server.startup_report import report
from jobws.server.transport.acceptor import Transport
from jobws.server.transport.address_limit import AddressLimit
from jobws.server.websocket.hello import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.server.settings import Settings

_BACKLOG: Final = 4096

_log: Final = logging.getLogger(__name__)


def run(settings: Settings, started: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: The settings of the bridge.
        started: Called with the base URL once connections are accepted; None calls nothing.

    Raises:
        ConfigurationError: The bridge cannot start: a setting is wrong, the port is in use, or Redis refuses the
            bridge.
    """
    settings.check()
    bridge = Bridge(settings)
    listener = listening_socket(settings.host, settings.port)
    address = settings.metrics_address()
    metrics = None if address is None else listening_socket(*address, "--metrics-listen")
    with own_log(settings), no_other_collections():
        anyio.run(partial(serve, bridge, listener, started, metrics), backend="trio")


def listening_socket(host: str, port: int, flag: str = "--port") -> socket.socket:
    """Return a listening socket, bound to `host` and `port`. Error messages name `flag`, which sets the port.

    Raises:
        ConfigurationError: The socket cannot be bound to this address.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except UnicodeError:
        raise ConfigurationError(f"cannot listen on {host}:{port}: that is no name of a host") from None
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise ConfigurationError(f"cannot listen on {host}:{port}: {reason}; choose another with {flag}") from None


async def serve(
    bridge: Bridge,
    listener: socket.socket,
    started: Callable[[str], None] | None,
    metrics: socket.socket | None = None,
) -> None:
    """Serve `bridge` on `listener`, and its metrics on `metrics`, until SIGTERM or SIGINT. Both are closed at the end.

    `started`, if there is one, is called with the base URL once connections are accepted.

    At the end WebSockets are closed with 1012. Connections that are still open after `shutdown_seconds` are cut.
    """
    host, url = listener.getsockname()[0], _url(listener)
    try:
        await report(bridge)
        waiting = False
    except RedisUnavailableError as error:
        _log.warning("%s; waiting for it", error)
        waiting = True
    stop = anyio.Event()
    settings = bridge.settings
    # Twice as many as WebSockets, so that a client that has too many of these is told so, and requests are served.
    most = 2 * settings.max_connections_per_address
    addresses = AddressLimit(most, Addresses(settings).limited_client, bridge.limited)
    transport = Transport(bridge.app, settings, addresses, bridge.turns)
    async with bridge.running(), anyio.create_task_group() as tasks:
        await tasks.start(_stop_on_signal, stop, bridge)
        tasks.start_soon(transport.serve, listener, stop)
        _log.info("%s serves %s (WebSocket: %s/ws)", SERVER, url, url.replace("http", "ws", 1))
        if metrics is not None:
            tasks.start_soon(Transport(bridge.metrics_app, settings, addresses, bridge.turns).serve, metrics, stop)
            _log.info("metrics are at %s/metrics, without a token", _url(metrics))
        if settings.needs_tokens and not is_loopback(host):
            _log.warning(
                "tokens come to %s over plain HTTP, where others can read them; a proxy in front adds TLS", url
            )
        if started is not None:
            started(url)
        async with anyio.create_task_group() as beside:
            beside.start_soon(collect_garbage)
            if waiting:
                beside.start_soon(_report_later, bridge)
            await stop.wait()
            beside.cancel_scope.cancel()  # Redis may never answer
    _log.info("stopped")


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _stop_on_signal(
    stop: anyio.Event, bridge: Bridge, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            bridge.close_all(RESTART)
            stop.set()
            return


async def _report_later(bridge: Bridge) -> None:
    """Log the report when Redis answers. If Redis refuses the bridge, try again; the stream readers log the reason."""
    while True:
        await anyio.sleep(1)
        try:
            await report(bridge)
        except (RedisUnavailableError, ConfigurationError):
            continue
        return
