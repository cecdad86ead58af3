"""The commands of `jobws`. Each turns flags and environment variables into a call."""

from __future__ import annotations

import json as json_module
import logging
import os
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path  # noqa: TC003 - cyclopts looks it up when it reads the command's types
from typing import Annotated, TypeAlias

import anyio
from cyclopts import App, Parameter
from cyclopts.config import Env
from cyclopts.validators import Number
from rich.console import Console

from jobws.cli.actions import pause, promote, remove, resume, retry
from jobws.cli.arguments import check_text, json_object, needs_extra, parse_json
from jobws.cli.credentials import DEFAULT_URL, Credentials, TokenFlags, Url
from jobws.cli.flags import Flags
from jobws.cli.follow import follow_logs
from jobws.cli.token import token
from jobws.cli.watch import UNKNOWN, line_of
from jobws.cli.watch import watch as watch_jobs
from jobws.client.rest import look_up
from jobws.client.rest import submit as submit_job
from jobws.embedded import ENVIRONMENT_VARIABLE, EmbeddedRedis
from jobws.errors import (
    ConfigurationError,
    ResponseError,
)

app = App(name="jobws", help="The lifecycle of BullMQ jobs, live.")
RedisServer: TypeAlias = Annotated[str | None, Parameter(env_var=ENVIRONMENT_VARIABLE)]


@app.command(config=Env("JOBWS_", command=False))
def serve(
    settings: Annotated[Flags, Parameter(name="*")] | None = None,
    *,
    embedded: bool = False,
    redis_server: RedisServer = None,
) -> None:
    """Serve BullMQ's events to WebSocket clients.

    Args:
        settings: Every setting is a flag.
        embedded: Start a private Redis that ends with the bridge, and read from it.
        redis_server: The program to start with --embedded. By default, the Valkey of `jobws[demo]`, or one on PATH.
    """
    with needs_extra("serve", "jobws serve"):
        from jobws.server.serve import run as run_bridge
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr)
    chosen = replace(settings or Flags(), jwt_secret=os.environ.get("JOBWS_JWT_SECRET"))
    if embedded:
        with EmbeddedRedis(binary=redis_server) as server:
            run_bridge(replace(chosen, redis=server.url))
    else:
        run_bridge(chosen)


@app.command
def watch(
    job: Annotated[list[str], Parameter(negative=())],
    *,
    queue: str | None = None,
    url: Url = DEFAULT_URL,
    credentials: Credentials = None,
    timeout_seconds: float | None = None,
    expect: Annotated[bool, Parameter(negative=())] = False,
    logs: Annotated[bool, Parameter(negative=())] = False,
    children: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show jobs until they end. Exit code: 0 completed, 1 failed, 4 unknown or removed, 5 time-out.

    If several jobs end differently, the exit code is the highest of theirs.

    Args:
        job: The ids of the jobs.
        queue: The label of their queue. By default, any queue that has such a job.
        url: The bridge.
        credentials: The token for the bridge.
        timeout_seconds: Stop after this time.
        expect: Wait for jobs that do not exist yet, since they are about to be added.
        logs: Also print the lines that workers write with `job.log()`.
        children: Also show all jobs below them in their flows. This needs --queue.
    """
    check_text(queue=queue, **{f"job {number}": each for number, each in enumerate(job, 1)})
    if timeout_seconds is not None and not timeout_seconds > 0:
        raise ConfigurationError("timeout_seconds must be above 0")
    call = partial(
        watch_jobs,
        url,
        list(dict.fromkeys(job)),
        queue=queue,
        expect=expect,
        timeout_seconds=timeout_seconds,
        console=Console(),
        logs=logs,
        children=children,
        token=(credentials or TokenFlags()).read(),
    )
    return anyio.run(call, backend="trio")


@app.command
def submit(
    queue: str,
    data: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    name: str | None = None,
    job_id: str | None = None,
    opts: str | None = None,
    idempotency_key: str | None = None,
    with_token: Annotated[bool, Parameter(negative=())] = False,
    url: Url = DEFAULT_URL,
    credentials: Credentials = None,
) -> None:
    """Add a job and print its id.

    Args:
        queue: The label of its queue.
        data: The job's data as JSON; '-' reads it from standard input.
        name: The job's name. By default, 'job'.
        job_id: The job's id. By default, the bridge makes one.
        opts: BullMQ's options as a JSON object, for instance '{"attempts": 3}'.
        idempotency_key: Submits to a queue with the same key and token holder, and no job id, add only one job.
        with_token: Also print a token that allows reading this job, in a second line.
        url: The bridge.
        credentials: The token for the bridge.
    """
    check_text(queue=queue, name=name, job_id=job_id)
    if idempotency_key is not None and not (idempotency_key.isascii() and idempotency_key.isprintable()):
        raise ConfigurationError("idempotency_key must be printable ASCII")
    call = partial(
        submit_job,
        url,
        queue,
        parse_json("data", sys.stdin.read() if data == "-" else data),
        (credentials or TokenFlags()).headers(),
        name=name,
        job_id=job_id,
        opts=None if opts is None else json_object("opts", opts),
        idempotency_key=idempotency_key,
        with_token=with_token,
    )
    submitted = anyio.run(call, backend="trio")
    print(submitted.job_id)
    if with_token:
        print(submitted.token)
    if submitted.existing:
        print(f"jobws: {submitted.queue}/{submitted.job_id} was there already, and is as it was", file=sys.stderr)


@app.command
def status(
    job: str,
    *,
    queue: str | None = None,
    url: Url = DEFAULT_URL,
    credentials: Credentials = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Print a job's state and result. Exit code: 0 found, 4 unknown.

    Args:
        job: The job's id.
        queue: The label of its queue. By default, every queue that has such a job.
        url: The bridge.
        credentials: The token for the bridge.
        json: Print everything that is known, one JSON object a line.
    """
    check_text(job=job, queue=queue)
    try:
        headers = (credentials or TokenFlags()).headers()
        jobs = anyio.run(partial(look_up, url, job, queue, headers, event=None, children=False), backend="trio")
    except ResponseError as error:
        if error.code != "unknown-job":
            raise
        print(f"jobws: {error}", file=sys.stderr)
        return UNKNOWN
    for each in jobs:
        print(json_module.dumps(each) if json else line_of(each))
    return 0


@app.command
def logs(
    *,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative=())] = False,
    level: str | None = None,
    source: Annotated[list[str] | None, Parameter(negative=())] = None,
    queue: Annotated[list[str] | None, Parameter(negative=())] = None,
    job: Annotated[list[str] | None, Parameter(negative=())] = None,
    text: str | None = None,
    tail: Annotated[int, Parameter(name=("--tail", "-n"), validator=Number(gte=0))] = 50,
    json: Annotated[bool, Parameter(negative=())] = False,
    url: Url = DEFAULT_URL,
    credentials: Credentials = None,
) -> None:
    """Print the last lines of the log that workers, APIs and the bridge share.

    Args:
        follow: Continue with new lines.
        level: The least severe level: debug, info, warning, error or critical.
        source: Only lines of this program; repeatable.
        queue: Only lines that name this queue, as the program that wrote them calls it; repeatable.
        job: Only lines about the job with this id; repeatable.
        text: Only lines whose message contains this text, in upper or lower case.
        tail: How many of the last lines to print.
        json: Print each line as a JSON object.
        url: The bridge.
        credentials: The token for the bridge.
    """
    names = {"source": source or [], "queue": queue or [], "job": job or []}
    for name, values in names.items():
        check_text(**{f"{name} {number}": value for number, value in enumerate(values, 1)})
    check_text(level=level, text=text)
    chosen = partial(follow_logs, url, level=level, source=names["source"], queue=names["queue"], job_id=names["job"])
    given = (credentials or TokenFlags()).read()
    call = partial(chosen, text=text, tail=tail, follow=follow, json=json, token=given, console=Console())
    anyio.run(call, backend="trio")


for command in (retry, promote, remove, pause, resume, token):
    app.command(command)


@app.command(name="demo")
def show_demo(
    *,
    root: Path | None = None,
    page: str | None = None,
    port: int = 8787,
    once: Annotated[bool, Parameter(negative=())] = False,
    redis_server: RedisServer = None,
) -> int:
    """Start a private Redis, the bridge and a worker, and follow jobs of four queues from their submit to their end.

    Args:
        root: The directory that the jobs analyse. By default, jobws's own source.
        page: The URL on this machine that the job of the queue http fetches. By default, a page of the bridge.
        port: The bridge's port; 0 takes a free port.
        once: End after the jobs. The exit code is 0 only if every event arrived.
        redis_server: The program to start as Redis. By default, the Valkey that comes with the demo.
    """
    with needs_extra("demo", "jobws demo"):
        for package in ("bandit", "bullmq", "rdflib"):  # the worker, which is another process, needs these packages
            import_module(package)
        from jobws.demo.run import demo
    call = partial(demo, root, page, 0 if once else port, once=once, console=Console(), redis_server=redis_server)
    return anyio.run(call, backend="trio")
