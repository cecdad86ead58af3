"""The demo: a private Redis, a SPARQL endpoint, the bridge and a worker; and a walk through all of it."""

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
    """Start everything, show the walk, and stay up unless `once`.

    Args:
        root: The directory that the jobs look at; None: jobws's own source.
        page: What the job of the queue `http` fetches; None: the bridge's description of itself.
        port: Where the bridge listens; 0 takes a free port.
        once: End after the walk.
        console: Where to show it.
        redis_server: The program to start as Redis, as `embedded.find_redis_server` takes it.

    Returns:
        0 if every expected event arrived, 1 otherwise.

    Raises:
        ConfigurationError: Something cannot be started.
        ClientError: The walk was refused, or cut short.
    """
    # That its queues are empty is no news here.
    logging.getLogger("jobws").setLevel(logging.ERROR)
    root = Path(jobws.__file__).parent if root is None else root
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis(binary=redis_server))
        endpoint = stack.enter_context(SparqlEndpoint())
        start_worker = partial(stack.enter_context, _worker(redis.url, root, endpoint.url))
        settings = Settings(redis=redis.url, port=port)
        listener = listening_socket(settings.host, settings.port)
        started = _Started()
        failure: JobwsError | None = None
        complete = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(serve, Bridge(settings), listener, started))
            url = await started.url()
            try:
                todo = tasks_about(root, page or f"{url}/openapi.json")
                complete = (await walk(url, todo, start_worker, console)).complete
                await show_persisted(endpoint.url, SIZE, console)
            except JobwsError as error:
                failure = error  # raised in here it would come out in a group
            if once or failure is not None:
                tasks.cancel_scope.cancel()
            else:
                _invite(url, redis.url, console)
    if failure is not None:
        raise failure
    return 0 if complete else 1


class _Started:
    """Told the bridge's URL once it serves."""

    def __init__(self) -> None:
        self._url = ""
        self._event = anyio.Event()

    def __call__(self, url: str) -> None:
        self._url = url
        self._event.set()

    async def url(self) -> str:
        """Wait for the bridge's URL."""
        await self._event.wait()
        return self._url


@contextmanager
def _worker(redis_url: str, root: Path, endpoint: str) -> Iterator[None]:
    """The worker process, from when it is ready until the end of the context. Blocks for a second or two."""
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
            process.communicate(timeout=_STOP_SECONDS)  # it ends with its standard input


def _invite(url: str, redis_url: str, console: Console) -> None:
    lines = [
        "",
        "The demo stays up; Ctrl-C ends it.",
        f"  bridge   {url}",
        f"  Redis    {redis_url}",
        f'  submit   jobws submit techstack \'{{"path": "."}}\' --url {url}',
        f"  follow   jobws watch ID --url {url}",
        f"  logs     jobws logs -f --url {url}",
        f"  browser  open {url}/queues, and in its console:",
        f"           socket = new WebSocket('{url.replace('http', 'ws', 1)}/ws')",
        "           socket.onmessage = ({ data }) => console.log(JSON.parse(data))",
        "           socket.onopen = () => socket.send(JSON.stringify({ event: 'subscribe-queue', data: 'techstack' }))",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
