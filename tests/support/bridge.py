"""Bridges for tests, in this process or as a process of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import anyio

from jobws.bullmq.reading.schedule import USUAL_PAUSES, Pauses
from jobws.server.bridge import Bridge
from jobws.server.intervals import USUAL_INTERVALS, Intervals
from jobws.server.serve import listening_socket, serve
from jobws.server.settings import Settings
from tests.support import EVENTUALLY_SECONDS
from tests.support.started import PIPE, Started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobws.server.authorizer import Authorize


QUICK = Pauses(check_seconds=0.1, block_seconds=0.05)
"""Intervals with which streams are checked for lost entries ten times a second."""


class Live:
    """A bridge that runs in this process.

    Attributes:
        url: Its base URL.
    """

    def __init__(self, bridge: Bridge, url: str) -> None:
        self.bridge = bridge
        self.url = url

    async def ready(self) -> None:
        """Wait until the stream of every queue is read."""
        with anyio.fail_after(EVENTUALLY_SECONDS):
            await self.bridge.queues.scanned()
            await self.bridge.queues.wait_until_read(list(self.bridge.queues.by_label))


def routes_of(live: Live) -> list[Any]:
    """Return the routes of the bridge's app, also those of its WebSockets."""
    inner: Any = live.bridge.app
    while not hasattr(inner, "routes"):
        inner = getattr(inner, "_app", None) or inner.app
    routes: list[Any] = inner.routes
    return routes


@asynccontextmanager
async def live_bridge(
    redis_url: str,
    *,
    ready: bool = True,
    pauses: Pauses = USUAL_PAUSES,
    intervals: Intervals = USUAL_INTERVALS,
    authorize: Authorize | None = None,
    **settings: Any,
) -> AsyncIterator[Live]:
    """Serve a bridge on a free loopback port, as `jobws serve` does, until the end of the context.

    `ready` waits until the stream of every queue is read. `settings` are fields of `Settings`.
    """
    given = Settings(redis=redis_url, port=0, **settings)
    bridge = Bridge(given, intervals._replace(streams=pauses), authorize=authorize)
    listener = listening_socket("127.0.0.1", 0)
    urls: list[str] = []
    started = anyio.Event()

    def note(url: str) -> None:
        urls.append(url)
        started.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(serve, bridge, listener, note))
        with anyio.fail_after(EVENTUALLY_SECONDS):
            await started.wait()
        live = Live(bridge, urls[0])
        if ready:
            await live.ready()
        yield live
        tasks.cancel_scope.cancel()


quick_bridge = partial(live_bridge, pauses=QUICK)


class BridgeProcess:
    """`jobws serve` as a process. Use it as a context manager. Lines of its log are read when a test asks for them."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None, shell: str = "") -> None:
        """Start the process. `shell` is a command that a shell runs before it replaces itself with the bridge."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("JOBWS_", "REDIS_"))}
        env = {**clean, **(environment or {})}
        self._process: subprocess.Popen[str] | Started
        if shell:
            command = [
                "bash",
                "-c",
                f'{shell} && exec "$@"',
                "bash",
                sys.executable,
                "-m",
                "jobws",
                "serve",
                *arguments,
            ]
            self._process = subprocess.Popen(command, stderr=PIPE, text=True, env=env)
        else:
            self._process = Started("jobws", "serve", *arguments, env=env, stderr=PIPE)
        self.lines: list[str] = []
        self.url = ""

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def read_until(self, part: str) -> str:
        """Read the log up to a line that contains `part`, and return this line.

        Only the test's time limit ends the wait.
        """
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))
            if " serves http" in line:
                self.url = line.split(" serves ")[1].split(" ")[0]
            if part in line:
                return self.lines[-1]
        raise AssertionError(f"the log ended without {part!r}:\n" + "\n".join(self.lines))

    def started(self) -> str:
        """Wait until the bridge serves, and return its base URL."""
        self.read_until(" serves http")
        return self.url

    def wait(self) -> int:
        """Wait until the process has ended, and return its exit code. `lines` then has the whole log."""
        assert self._process.stderr is not None
        self.lines += self._process.stderr.read().splitlines()
        return self._process.wait()

    def terminate(self) -> int:
        """Send SIGTERM, wait, and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()
