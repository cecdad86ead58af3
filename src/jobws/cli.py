"""The command line: flags and environment to calls, errors to one line and an exit code."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import anyio
import cyclopts
from cyclopts import App, Parameter
from cyclopts.config import Env
from rich.console import Console

from jobws.embedded import EmbeddedRedis
from jobws.errors import ConfigurationError, JobwsError, MissingExtraError, RefusedError, ResponseError
from jobws.server.settings import Settings
from jobws.watch import watch as watch_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_URL: Final = "http://127.0.0.1:8787"
USAGE: Final = 2
UNREACHABLE: Final = 3
REFUSED: Final = 6
INTERRUPTED: Final = 130

app = App(name="jobws", help="The lifecycle of BullMQ jobs, live.", config=Env("JOBWS_", command=False))


@app.command
def serve(settings: Annotated[Settings, Parameter(name="*")] | None = None, *, embedded: bool = False) -> None:
    """Serve BullMQ's events to WebSocket clients.

    Args:
        settings: Every setting is a flag.
        embedded: Start a private Redis, gone with the bridge, and read that.
    """
    with _needs_extra("server", "jobws serve"):
        from jobws.server.serve import run as run_bridge
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr)
    chosen = settings or Settings()
    if embedded:
        with EmbeddedRedis() as server:
            run_bridge(replace(chosen, redis=server.url))
    else:
        run_bridge(chosen)


@app.command
def watch(
    job: Annotated[list[str], Parameter(negative=())],
    *,
    queue: str | None = None,
    url: str = DEFAULT_URL,
    timeout_seconds: float | None = None,
    expect: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show jobs until they end. Exit code: 0 completed, 1 failed, 4 unknown or removed, 5 time-out.

    Args:
        job: Ids of the jobs.
        queue: The label of their queue; without it, any queue that has such a job.
        url: The bridge.
        timeout_seconds: Give up after so long.
        expect: A job that does not exist yet is about to be added: wait for it.
    """
    call = partial(
        watch_jobs,
        url,
        list(dict.fromkeys(job)),
        queue=queue,
        expect=expect,
        timeout_seconds=timeout_seconds,
        console=Console(),
    )
    return anyio.run(call, backend="trio")


@app.command(name="demo")
def show_demo(*, root: Path = Path(), port: int = 8787, once: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Start a private Redis, the bridge and a worker, and follow a job from its subscription to its result.

    Args:
        root: The directory that the job analyses.
        port: Where the bridge listens; 0 takes a free port.
        once: End after the job; exit code 0 only if every event arrived.
    """
    with _needs_extra("demo", "jobws demo"):
        from jobws.demo.run import demo
    return anyio.run(partial(demo, root, 0 if once else port, once=once, console=Console()), backend="trio")


@contextmanager
def _needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Imports that only work with an extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, purpose) from error


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; an error is one line on standard error."""
    try:
        result: object = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        return INTERRUPTED
    except (cyclopts.CycloptsError, JobwsError) as error:
        print(f"jobws: {error}", file=sys.stderr)
        return _exit_code(error)
    return result if isinstance(result, int) else 0


def _exit_code(error: Exception) -> int:
    match error:
        case ConfigurationError() | ResponseError() | cyclopts.CycloptsError():
            return USAGE
        case RefusedError():
            return REFUSED
        case _:
            return UNREACHABLE
