"""Starts the demo: a private Redis, a SPARQL endpoint, the bridge and a worker; then shows some jobs, and a flow."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

import jobws
from jobws.demo.counts import show_counts
from jobws.demo.flow import show_flow
from jobws.demo.invitation import greet, invite
from jobws.demo.show import show_persisted
from jobws.demo.sparql_endpoint import SparqlEndpoint
from jobws.demo.walk import SIZE, tasks_about, walk
from jobws.embedded import EmbeddedRedis
from jobws.errors import ConfigurationError, JobwsError
from jobws.server.bridge import Bridge
from jobws.server.serve import listening_socket, serve
from jobws.server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

_STOP_SECONDS: Final = 10


async def demo(
    root: Path | None,
    page: str | None,
    port: int,
    *,
    once: bool,
    console: Console,
    redis_server: str | None = None,
) -> int:
    """Start Redis, the endpoint, the bridge and the worker, and show the demo's jobs.

    If `once` is false, everything then stays up until this call is cancelled.

    Args:
        root: The directory that the jobs analyse; None for jobws's own source.
        page: The URL that the job of the queue `http` fetches; None for the bridge's OpenAPI description.
        port: The bridge's port; 0 takes a free port.
        once: Whether to end after the jobs.
        console: Where to show what happens.
        redis_server: The program to start as Redis; see `chosen` of `embedded.find_redis_server`.

    Returns:
        0 if every expected event and log line arrived, and the numbers of each queue; 1 otherwise.

    Raises:
        ConfigurationError: Redis, the endpoint, the bridge or the worker cannot be started.
        ClientError: The bridge refused a request, or the connection to it was lost.
    """
    # Warnings that queues are empty would not help here.
    logging.getLogger("jobws").setLevel(logging.ERROR)
    root = Path(jobws.__file__).parent if root is None else root
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis(binary=redis_server))
        endpoint = stack.enter_context(SparqlEndpoint())
        start_worker = partial(stack.enter_context, _worker(redis.url, root, endpoint.url))
        # Everything here is the viewer's own, so the page shows and does all that it can.
        everything = ("*",)
        settings = Settings(
            redis=redis.url, port=port, allow_actions=True, show_data=everything, show_stacktraces=everything
        )
        listener = listening_socket(settings.host, settings.port)
        started = _Started()
        failure: JobwsError | None = None
        complete = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(serve, Bridge(settings), listener, started))
            url = await started.url()
            if not once:
                greet(url, console)
            try:
                page = page or f"{url}/openapi.json"
                todo = tasks_about(root, page)
                complete = (await walk(url, todo, start_worker, console)).complete
                complete &= await show_flow(url, redis.url, page, console)
                await show_persisted(endpoint.url, SIZE, console)
                complete &= await show_counts(url, sorted({task.queue for task in todo}), console)
            except JobwsError as error:
                failure = error  # raised below, since the task group would wrap it in an exception group
            if once or failure is not None:
                tasks.cancel_scope.cancel()
            else:
                invite(url, redis.url, console)
    if failure is not None:
        raise failure
    return 0 if complete else 1


class _Started:
    """Lets a task wait for the bridge's URL. The server calls this object with the URL when it begins to serve."""

    def __init__(self) -> None:
        self._url = ""
        self._event = anyio.Event()

    def __call__(self, url: str) -> None:
        self._url = url
        self._event.set()

    async def url(self) -> str:
        """Wait until the bridge serves, and return its URL."""
        await self._event.wait()
        return self._url


@contextmanager
def _worker(redis_url: str, root: Path, endpoint: str) -> Iterator[None]:
    """Run the worker process until the end of the context. Block for a second or two until the worker is ready."""
    command = [sys.executable, "-m", "jobws.demo.worker", "--redis", redis_url, "--root", str(root)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [*command, "--sparql", endpoint], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                process.wait(_STOP_SECONDS)
                log.seek(0)
                raise ConfigurationError(f"the demo's worker did not start: {log.read().strip()}")
            yield
        finally:
            process.communicate(timeout=_STOP_SECONDS)  # the worker ends when its standard input ends
