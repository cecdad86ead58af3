"""The `logging.Handler`: turns a record of Python's logging into a line of the log that all programs share."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from jobws.errors import ConfigurationError, MissingExtraError, RedisUnavailableError
from jobws.logs.writer import BUFFER_BYTES, OWN_LOG, Writer
from jobws.protocol.log.records import DEFAULT_LIMIT_ENTRIES, DEFAULT_STREAM, LogRecord, to_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobws.redis.login import LoggedIn

DEFAULT_REDIS: Final = "redis://127.0.0.1:6379"
HINT: Final = "LogsHandler('redis://:password@host:port/db'), or JOBWS_REDIS in the environment"
# Of a longer traceback, such as that of a recursion, only the end is kept, since the end says what happened. All fields
# together must fit into 64 KiB.
TRACEBACK_CHARACTERS: Final = 16_000
_LEVELS: Final = ((logging.CRITICAL, "critical"), (logging.ERROR, "error"), (logging.WARNING, "warning"))
# The attributes of every record. Any other attribute came from `extra`.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_format_exception: Final = logging.Formatter().formatException
_job: Final[ContextVar[tuple[object, object]]] = ContextVar("jobws.logs.job", default=(None, None))


@contextmanager
def about_job(queue: str, job_id: str | int) -> Iterator[None]:
    """Mark what is logged in the `with` block as being about a job, unless the `extra` of a call names another one.

    The mark is a ContextVar: it also holds in tasks that begin in the block and in `asyncio.to_thread`, but not in
    other threads.

    Args:
        queue: The queue's label.
        job_id: The job's id.
    """
    before = _job.set((queue, job_id))
    try:
        yield
    finally:
        _job.reset(before)


class LogsHandler(logging.Handler):
    """Writes log records to the Redis stream that `/logs` and `jobws logs` show.

    What is logged inside of `with about_job(queue, job_id):`, or with `extra={"queue": …, "jobId": …}`, is about this
    job. The line's `fields` hold everything else in `extra`, the logger's name, and a traceback if there is one. The
    handler uses no formatter, since the parts of a record stay separate.

    A thread of the handler writes the lines, so the caller never waits for Redis and gets no error from it. While Redis
    is unavailable, the handler keeps the newest 10,000 lines (at most `buffer_bytes`). When Redis is back, a line says
    how many were dropped. If the connection breaks while lines are written, some of them may be written twice. `flush`,
    and the end of the program, wait at most 2 s for lines that are not written yet. After a fork, the child has a
    thread and a connection of its own. Call `flush` before `os._exit`.

    Args:
        redis: Where Redis is, in the format of `jobws serve --redis`. None means JOBWS_REDIS or REDIS_URL of the
            environment, or else redis://127.0.0.1:6379.
        source: The program's name. None means the name of the program's file without folder and suffix, as `worker` of
            `jobs/worker.py`; of a `__main__.py`, the name of its folder.
        level: Records below this level are not written.
        stream: The key of the stream.
        limit_entries: About how many lines the stream keeps.
        buffer_bytes: How much memory lines may take while Redis is unavailable; 16 MiB by default.

    Raises:
        MissingExtraError: redis-py is not installed.
        ConfigurationError: The URL is malformed, or `limit_entries` is less than 1. An unavailable Redis raises
            nothing.
    """

    def __init__(
        self,
        redis: str | None = None,
        *,
        source: str | None = None,
        level: int | str = logging.NOTSET,
        stream: str = DEFAULT_STREAM,
        limit_entries: int = DEFAULT_LIMIT_ENTRIES,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        if limit_entries < 1:
            raise ConfigurationError(
                f"a log that keeps {limit_entries} lines keeps nothing; limit_entries is at least 1"
            )
        self.source = source or _program()
        connect, explain = _redis(
            redis or os.environ.get("JOBWS_REDIS") or os.environ.get("REDIS_URL") or DEFAULT_REDIS
        )
        self._writer = Writer(connect, explain, self._dropped, stream, limit_entries, buffer_bytes)
        super().__init__(level)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record.

        Records of the thread that writes, and of the handler's own logger `jobws.logs`, are not written, since each
        failed attempt to write would produce another record. The records of `jobws.logs` go to standard error if the
        root logger has only handlers of this class, or none.
        """
        if record.name == OWN_LOG or self._writer.is_this_thread():
            others = [handler for handler in logging.getLogger().handlers if not isinstance(handler, LogsHandler)]
            if record.name == OWN_LOG and not others and logging.lastResort is not None:
                logging.lastResort.handle(record)  # otherwise no user would learn that the lines are not written
            return False
        return super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record to the writer. If this fails, print the error as handlers do (`logging.raiseExceptions`)."""
        try:
            self._writer.put(to_entry(self._line(record)))
        except Exception:  # noqa: BLE001 - a line of the log must not end the program
            self.handleError(record)

    def flush(self) -> None:
        """Wait at most 2 s until all earlier records are written. While Redis is unavailable, wait for one attempt."""
        self._writer.flush()

    def close(self) -> None:
        """Flush, then end the thread. Later records are dropped. Python calls this at the end of the program."""
        self._writer.close()
        super().close()

    def _line(self, record: logging.LogRecord) -> LogRecord:
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        queue, job_id = map(fields.pop, ("queue", "jobId"), _job.get())
        if record.name != "root":
            fields["logger"] = record.name
        if record.exc_info and record.exc_info[0] is not None:
            fields["traceback"] = _format_exception(record.exc_info)[-TRACEBACK_CHARACTERS:]
        if record.stack_info:
            fields["stack"] = record.stack_info[-TRACEBACK_CHARACTERS:]
        return LogRecord(
            int(record.created * 1000),
            _level(record.levelno),
            self.source,
            record.getMessage(),
            None if queue is None else str(queue),
            None if job_id is None else str(job_id),
            fields or None,
        )

    def _dropped(self, count: int, time_ms: int) -> dict[str, str]:
        message = f"{count:,} log lines were dropped here: Redis did not take them in time"
        return to_entry(LogRecord(time_ms, "warning", self.source, message, fields={"dropped": count}))


def _level(number: int) -> str:
    for least, name in _LEVELS:
        if number >= least:
            return name
    return "info" if number >= logging.INFO else "debug"


def _program() -> str:
    """Return the program's name: that of its file, without folder and suffix, or of the package if it is `__main__.py`.

    Return `python` if there is no such name, as in an interactive session or with `python -c`.
    """
    path = PurePath(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.stem == "__main__" else path.stem
    return "python" if name in ("", "-c", "-m") else name


def _redis(url: str) -> tuple[Callable[[], LoggedIn], Callable[[Exception], str]]:
    """Return two functions. The first one connects to Redis, and blocks until it is connected or has failed.

    The second one takes the exception that a connection or a write raised, and returns a sentence that explains it.
    """
    try:
        from jobws.redis.connection import RedisTarget
        from jobws.redis.login import FAILURES, as_jobws_error
    except ModuleNotFoundError as error:
        raise MissingExtraError("logs", "jobws.logs") from error
    target = RedisTarget(url)

    def explain(error: Exception) -> str:
        where = f"Redis at {target.address}"
        if isinstance(error, RedisUnavailableError):  # from the Sentinels; the message is a sentence already
            return str(error)
        return str(as_jobws_error(error, where, HINT) if isinstance(error, FAILURES) else f"{where} refuses: {error}")

    return partial(_connect, url), explain


def _connect(url: str) -> LoggedIn:
    from jobws.redis.connection import RedisTarget
    from jobws.redis.sentinel import is_sentinel

    target = RedisTarget(url)
    if not is_sentinel(url):
        return target.connect_blocking(None)
    import anyio

    return target.connect_blocking(anyio.run(target.locate, backend="trio"))
