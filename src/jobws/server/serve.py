"""Runs the bridge as a program: sockets, signals, the start-up report, and the order of the end."""

from __future__ import annotations

import errno
import gc
import logging
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from jobws.errors import ConfigurationError, RedisUnavailableError
from jobws.server.bridge import RESTART, Bridge
from jobws.server.own_log import own_log
from jobws.server.startup_report import report
from jobws.server.transport.acceptor import Transport
from jobws.server.websocket.hello import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.server.settings import Settings

_BACKLOG: Final = 4096

_log: Final = logging.getLogger(__name__)


def run(settings: Settings, started: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: All of them.
        started: Told the base URL once connections are accepted.

    Raises:
        ConfigurationError: It cannot start: a setting, the port, or a Redis that refuses us.
    """
    settings.check()
    bridge = Bridge(settings)
    listener = listening_socket(settings.host, settings.port)
    _relax_garbage_collector()
    with own_log(settings):
        anyio.run(partial(serve, bridge, listener, started), backend="trio")


def _relax_garbage_collector() -> None:
    """What is there now stays; and what comes is mostly freed by its reference count.

    With the default thresholds the collector took a quarter of the CPU at 1,000 connections. A look at what is young
    takes 30 ms at most, at what is of middle age (250,000 objects) 90, and at all that there is a third of a
    microsecond an object; that comes after 100 million objects only.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 5, 400)


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        ConfigurationError: The address cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except UnicodeError:
        raise ConfigurationError(f"cannot listen on {host}:{port}: that is no name of a host") from None
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise ConfigurationError(f"cannot listen on {host}:{port}: {reason}; choose another with --port") from None


async def serve(bridge: Bridge, listener: socket.socket, started: Callable[[str], None] | None) -> None:
    """Serve `bridge` on a bound socket, which it takes over, until a signal.

    At the end clients are told first (1012), then what is left is cut after `shutdown_seconds`.
    """
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        await report(bridge)
        waiting = False
    except RedisUnavailableError as error:
        _log.warning("%s; waiting for it", error)
        waiting = True
    stop = anyio.Event()
    transport = Transport(bridge.app, bridge.settings)
    async with bridge.running(), anyio.create_task_group() as tasks:
        await tasks.start(_stop_on_signal, stop, bridge)
        tasks.start_soon(transport.serve, listener, stop)
        _log.info("%s serves %s (WebSocket: %s/ws)", SERVER, url, url.replace("http", "ws", 1))
        if started is not None:
            started(url)
        async with anyio.create_task_group() as reporting:
            if waiting:
                reporting.start_soon(_report_later, bridge)
            await stop.wait()
            reporting.cancel_scope.cancel()  # Redis may never come
    _log.info("stopped")


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
    """Print the report once Redis has come. A refusal then is waited out too: the listeners say what is wrong."""
    while True:
        await anyio.sleep(1)
        try:
            await report(bridge)
        except (RedisUnavailableError, ConfigurationError):
            continue
        return
