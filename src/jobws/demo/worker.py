"""A worker process: BullMQ's own Python `Worker` for each queue, with processors that do real work.

The process ends on SIGTERM and SIGINT. It also ends when its standard input ends, so that it never outlives its parent.
A job that is in progress then stays `active`, as after a crash, until BullMQ's check for stalled jobs gives it to
another worker.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from jobws.demo import analyzer, fetch, sparql, techstack
from jobws.demo.job import COMPLETED, FAILED, SOURCE, STARTED, JobError
from jobws.errors import ConfigurationError, JobwsError, MissingExtraError, RedisUnavailableError
from jobws.logs import LogsHandler, about_job
from jobws.logs.writer import EXIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bullmq import Job, Worker

    from jobws.demo.job import JsonObject, Progress

# BullMQ blocks for up to 10 s in one command, longer than redis-py's default time-out of 5 s.
_SOCKET_TIMEOUT_SECONDS: Final = 30
_CONNECT_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 1.0
# When to try again after a failure. With BullMQ's default of 15 s, queues would wait long after Redis is back.
_RETRY_MILLISECONDS: Final = 1_000

_log: Final = logging.getLogger(
    "jobws.demo.worker"
)  # not `__name__`, which is `__main__` when this module is the program


class Processor(Protocol):
    """Does the jobs of one queue. It blocks, so it runs in a thread, and BullMQ can renew the job's lock meanwhile."""

    def __call__(self, data: Mapping[str, object], *, progress: Progress) -> JsonObject:
        """Return the job's result. The message of an exception becomes the job's `failedReason`."""


def processors(root: Path, endpoint: str | None) -> dict[str, Processor]:
    """Return the processor of each queue, by the queue's name.

    Args:
        root: The directory that jobs may read.
        endpoint: The URL of the SPARQL endpoint. None means that each job of the queue `sparql` must name one.
    """
    return {
        "http": partial(fetch.process, settings=fetch.FetchSettings()),
        "sparql": partial(sparql.process, settings=sparql.SparqlSettings(endpoint)),
        "techstack": partial(techstack.process, settings=techstack.TechstackSettings(root)),
        "analyzer": partial(analyzer.process, settings=analyzer.AnalyzerSettings(root)),
    }


class Service:
    """The workers of some queues.

    Args:
        redis_url: The URL of the Redis that has the queues.
        processors: The processor of each queue, by the queue's name.
        prefix: The prefix of the queues' keys.
    """

    def __init__(self, redis_url: str, processors: Mapping[str, Processor], prefix: str) -> None:
        self._processors = processors
        # redis-py uses the first of two equal options, so an option in the given URL is not overridden.
        timeout = f"{'&' if '?' in redis_url else '?'}socket_timeout={_SOCKET_TIMEOUT_SECONDS}"
        self._options = {"connection": redis_url + timeout, "prefix": prefix, "autorun": False}
        self._stopping = asyncio.Event()
        self._threads: set[threading.Thread] = set()

    def stop(self) -> None:
        """Let `run` return. Call this in the event loop in which `run` runs."""
        self._stopping.set()

    async def run(self) -> None:
        """Run a worker for each queue until `stop` is called. When all workers run, print `ready`.

        Raises:
            MissingExtraError: BullMQ's package is not installed.
            RedisUnavailableError: Redis does not accept a login within 5 s.
            ConfigurationError: Redis refuses the worker, or a worker ended by itself.
        """
        workers = [self._worker(queue) for queue in self._processors]
        stopped = asyncio.create_task(self._stopping.wait())
        runs: list[asyncio.Task[None]] = []
        try:
            connected = asyncio.create_task(_connected(workers))
            await asyncio.wait([stopped, connected], return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                connected.cancel()
                return
            await connected
            runs = [asyncio.create_task(worker.run()) for worker in workers]
            print("ready", flush=True)  # noqa: T201 - the parent waits for it
            await asyncio.wait([stopped, *runs], return_when=asyncio.FIRST_COMPLETED)
            if not stopped.done():
                raise ConfigurationError("a worker of BullMQ ended by itself; its traceback is above")
        finally:
            self._stopping.set()
            # `Worker.close` alone is not enough: in one of five runs it left a blocked read, and a traceback at the
            # end.
            for run in runs:
                run.cancel()
            closed = asyncio.create_task(_close(workers, runs))
            # Not without a limit, since closing would wait for a Redis that is gone.
            await asyncio.wait([closed], timeout=_STOP_SECONDS)

    def join(self) -> None:
        """Wait, at most 1 s, for jobs in progress to end the processes that they started. Call this after `run`."""
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _worker(self, queue: str) -> Worker:
        try:
            from bullmq import Worker
        except ImportError as error:
            raise MissingExtraError("demo", "the demo's worker") from error
        options = {**self._options, "runRetryDelay": _RETRY_MILLISECONDS}
        worker = Worker(queue, partial(self._process, self._processors[queue]), options)
        worker.on("error", partial(self._error, queue))
        return worker

    def _error(self, queue: str, error: Exception, *_job: object) -> None:
        if not self._stopping.is_set():
            _say(f"{queue}: {error}")

    async def _process(self, processor: Processor, job: Job, _token: str) -> JsonObject:
        loop = asyncio.get_running_loop()
        began = time.monotonic()

        async def update(value: float | JsonObject) -> None:
            await job.updateProgress(value)

        def progress(value: float | JsonObject) -> None:
            if self._stopping.is_set():
                raise JobError("the worker stops")
            asyncio.run_coroutine_threadsafe(update(value), loop).result()

        def work() -> JsonObject:
            if not isinstance(job.data, dict):
                raise JobError("a job's data must be a JSON object")
            return processor(job.data, progress=progress)

        level, message, reason = logging.INFO, COMPLETED, ""
        with about_job(job.queue.name, job.id):
            _log.info(STARTED, extra={"attempt": job.attemptsMade + 1})
            try:
                return await self._in_thread(work)
            except Exception as error:
                level, message, reason = logging.ERROR, FAILED, f": {error}"
                raise
            finally:
                if not self._stopping.is_set():
                    milliseconds = round((time.monotonic() - began) * 1000)
                    _log.log(level, "%s%s", message, reason, extra={"milliseconds": milliseconds})
                    _say(f"{job.queue.name}/{job.id} {message.removeprefix('job ')}{reason} ({milliseconds} ms)")

    async def _in_thread(self, work: Callable[[], JsonObject]) -> JsonObject:
        """Run `work` in a daemon thread, since one of asyncio's pool would delay the end of the process.

        Return what `work` returns, or raise what it raises.
        """
        done: Future[JsonObject] = Future()
        done.set_running_or_notify_cancel()

        def run() -> None:
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - every exception is the job's failure
                done.set_exception(error)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
        self._threads.add(thread)
        thread.start()
        return await asyncio.wrap_future(done)


async def _connected(workers: list[Worker]) -> None:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            for worker in workers:
                await worker.backend.waitUntilReady()
    # BullMQ's package retries for minutes, even after a refused password.
    except TimeoutError as error:
        raise RedisUnavailableError(
            f"no connection to Redis within {_CONNECT_SECONDS:.0f} s: is it there, and is the password right?"
        ) from error
    except Exception as error:
        raise ConfigurationError(f"Redis refuses the worker: {error}") from error


async def _close(workers: list[Worker], runs: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*runs, return_exceptions=True)
    await asyncio.gather(*(worker.close(force=True) for worker in workers), return_exceptions=True)


def _say(line: str) -> None:
    """Print one line. Control characters, which ids and errors may contain, are replaced."""
    print("".join(char if char.isprintable() else "\ufffd" for char in line), file=sys.stderr, flush=True)  # noqa: T201


@contextlib.contextmanager
def _logging_to(redis_url: str) -> Iterator[None]:
    logger, handler = logging.getLogger("jobws.demo"), LogsHandler(redis_url, source=SOURCE)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


async def _serve(service: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    threading.Thread(target=_stop_with_input, args=(loop, service), daemon=True).start()
    await service.run()


def _stop_with_input(loop: asyncio.AbstractEventLoop, service: Service) -> None:
    # Not `sys.stdin`: if a thread holds the lock of that when the interpreter ends, Python reports a fatal error.
    with contextlib.suppress(OSError):
        while os.read(0, 65536):
            pass
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(service.stop)
    time.sleep(3 * _STOP_SECONDS + EXIT_SECONDS)
    os._exit(1)  # the loop is blocked, and no parent is left that could end this process


def main() -> None:
    """Run `python -m jobws.demo.worker`."""
    parser = argparse.ArgumentParser(prog="python -m jobws.demo.worker", description=__doc__)
    parser.add_argument("--redis", metavar="URL", default=os.environ.get("JOBWS_REDIS"), help="default: $JOBWS_REDIS")
    parser.add_argument("--root", metavar="DIR", type=Path, required=True, help="the directory that jobs may read")
    parser.add_argument("--sparql", metavar="URL", help="the endpoint of the queue `sparql`")
    parser.add_argument("--queue", metavar="NAME", action="append", help="repeatable; default: all")
    parser.add_argument("--prefix", default="bull", help="BullMQ's prefix of the queues (default: bull)")
    arguments = parser.parse_args()
    if arguments.redis is None:
        parser.error("--redis URL or JOBWS_REDIS is required")
    known = processors(arguments.root, arguments.sparql)
    for queue in arguments.queue or ():
        if queue not in known:
            parser.error(f"no work for queue {queue!r}; there is work for {', '.join(known)}")
    service = Service(arguments.redis, {queue: known[queue] for queue in arguments.queue or known}, arguments.prefix)
    code = 0
    try:
        with _logging_to(arguments.redis):
            try:
                asyncio.run(_serve(service))
            finally:
                service.join()
    except JobwsError as error:
        _say(str(error))
        code = 2
    # Not `sys.exit`: connections that BullMQ's package left open would then report that their event loop is closed.
    os._exit(code)


if __name__ == "__main__":
    main()
