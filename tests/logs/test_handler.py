"""The handler: what a record becomes, and what happens if Redis goes away while lines are written."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from jobws.errors import ConfigurationError
from jobws.logs import LogsHandler, about_job
from jobws.logs.writer import BATCH_ENTRIES, BUFFER_ENTRIES
from jobws.protocol.nesting import MAX_LEVELS
from tests.support import eventually
from tests.support.nested import nested_list
from tests.support.sentinel import SentinelSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.redis import Redis

# The limit for a call. A caller that waited for Redis would wait for EXIT_SECONDS, 2 s. A busy machine may stop a
# thread for this long.
UNNOTICED_SECONDS = 1.5
AWAY_SECONDS = 10.0


@contextmanager
def logging_to(url: str, **options: Any) -> Iterator[tuple[logging.Logger, LogsHandler]]:
    """Yield a logger whose only handler is a LogsHandler."""
    logger = logging.getLogger("crawler.fetch")
    handler = LogsHandler(url, source="crawler", **options)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield logger, handler
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
        handler.close()


def entries(redis: Redis, stream: str = "jobws:logs") -> list[dict[str, str]]:
    found: Any = redis.client.xrange(stream)
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]


def messages(redis: Redis) -> list[str]:
    return [entry["message"] for entry in entries(redis)]


def test_a_record_becomes_an_entry(redis: Redis) -> None:
    before = time.time() * 1000
    with logging_to(redis.url) as (logger, handler):
        logger.warning("%d pages", 3, extra={"queue": "http", "jobId": 7, "pages": [1, 2], "where": {"a": None}})
        handler.flush()
        (entry,) = entries(redis)
    assert before - 1 <= int(entry.pop("time")) <= time.time() * 1000
    assert json.loads(entry.pop("fields")) == {"pages": [1, 2], "where": {"a": None}, "logger": "crawler.fetch"}
    assert entry == {"level": "warning", "source": "crawler", "message": "3 pages", "queue": "http", "jobId": "7"}


async def test_lines_inside_of_a_job_are_about_it(redis: Redis) -> None:
    """The mark holds in its task and threads that belong to it, and `extra` overrides it."""
    with logging_to(redis.url) as (logger, handler):

        async def work(job_id: int) -> None:
            with about_job("http", job_id):
                await anyio.lowlevel.checkpoint()
                await anyio.to_thread.run_sync(logger.info, "thread")
                logger.info("other", extra={"queue": "sparql"})
            logger.info("behind")

        async with anyio.create_task_group() as tasks:
            for job_id in (1, 2):
                tasks.start_soon(work, job_id)
        handler.flush()
        told = sorted((entry["message"], entry.get("queue"), entry.get("jobId")) for entry in entries(redis))
    assert told == [
        *(("behind", None, None), ("behind", None, None)),
        *(("other", "sparql", "1"), ("other", "sparql", "2"), ("thread", "http", "1"), ("thread", "http", "2")),
    ]


def test_levels_are_the_five_of_the_stream(redis: Redis) -> None:
    with logging_to(redis.url) as (logger, handler):
        for number in (5, 10, 19, 20, 25, 30, 40, 45, 50, 60):
            logger.log(number, "x")
        handler.flush()
        assert [entry["level"] for entry in entries(redis)] == [
            *("debug", "debug", "info", "info", "warning", "error", "error", "critical", "critical"),
        ]
        handler.setLevel("ERROR")
        logger.warning("left out")
        handler.flush()
        assert len(entries(redis)) == 9


def test_an_exception_comes_with_the_end_of_its_traceback(redis: Redis) -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError("at the bottom")
        if levels % 2:  # two functions in turn, since otherwise the traceback would say "repeated 98 more times"
            deep(levels - 1)
        deep(levels - 1)

    with logging_to(redis.url) as (logger, handler):
        for levels in (0, 300):
            try:
                deep(levels)
            except ValueError:
                logger.exception("it failed", stack_info=True)
        logger.error("nothing failed", exc_info=True)  # noqa: LOG014 - that is what is tested
        handler.flush()
        failed, long, plain = (json.loads(entry["fields"]) for entry in entries(redis))
    assert failed["traceback"].startswith("Traceback (most recent call last):\n")
    assert failed["traceback"].endswith("\nValueError: at the bottom")
    assert "test_handler.py" in failed["stack"]
    assert len(long["traceback"]) == 16_000
    assert long["traceback"].endswith("\nValueError: at the bottom")
    assert plain == {"logger": "crawler.fetch"}


def test_what_a_record_holds_may_be_anything(redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    circle: list[object] = []
    circle.append(circle)
    with logging_to(redis.url) as (logger, handler):
        logger.info("lone \ud800", extra={"queue": None, "jobId": ""})
        logger.info("x" * 100_000, extra={"circle": circle, "object": object()})
        logger.info("%d", "no number")
        handler.flush()
        lone, long = entries(redis)
    assert (lone["message"], "queue" in lone) == ("lone \ufffd", False)
    assert len(long["message"]) == 64 * 1024
    assert "TypeError: %d format: a real number is required" in capsys.readouterr().err


def test_fields_are_nested_as_deep_as_json_may_be(redis: Redis) -> None:
    with logging_to(redis.url) as (logger, handler):
        for levels in (MAX_LEVELS - 1, MAX_LEVELS, 100_000):
            logger.info("deep", extra={"deep": nested_list(levels)})
        handler.flush()
        found = [json.loads(entry["fields"]) for entry in entries(redis)]
    assert found == [
        {"deep": nested_list(MAX_LEVELS - 1), "logger": "crawler.fetch"},
        *({"truncated": True}, {"truncated": True}),
    ]


def test_the_stream_is_kept_short(redis: Redis) -> None:
    with logging_to(redis.url, stream="mine", limit_entries=100) as (logger, handler):
        for number in range(1000):
            logger.info("%d", number)
        handler.flush()
        kept = [entry["message"] for entry in entries(redis, "mine")]
    assert 100 <= len(kept) <= 200
    assert kept[-1] == "999"


@pytest.mark.thorough
def test_redis_is_away_for_ten_seconds(own_redis: Callable[..., Redis]) -> None:
    """Code that logs meanwhile does not notice, and all lines arrive in order."""
    redis = own_redis()
    with logging_to(redis.url) as (logger, handler):
        logger.info("0")
        handler.flush()
        redis.server.kill()
        slowest = 0.0
        lines = 500
        for number in range(1, lines + 1):
            began = time.monotonic()
            logger.info("%d", number)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(AWAY_SECONDS / lines)
            if number % 100 == 0:
                handler.flush()  # each one is an attempt that fails
        assert slowest < UNNOTICED_SECONDS
        redis.server.start()
        logger.info("%d", lines + 1)
        handler.flush()
        assert messages(redis) == [str(number) for number in range(1, lines + 2)]


def test_what_is_too_much_is_counted_and_reported(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    with logging_to(redis.url, limit_entries=100_000) as (logger, handler):
        redis.server.kill()
        logger.info("first")
        handler.flush()
        count = BUFFER_ENTRIES + 1000
        for number in range(count):
            logger.info("%d", number)
        redis.server.start()
        while True:
            handler.flush()
            if (kept := messages(redis)) and kept[-1] == str(count - 1):
                break
    # On a busy machine the thread takes a batch while lines are still being dropped, and then reports twice.
    reports = [message for message in kept if "dropped" in message]
    dropped = [int(report.split()[0].replace(",", "")) for report in reports]
    assert reports == [f"{each:,} log lines were dropped here: Redis did not take them in time" for each in dropped]
    assert reports
    assert kept[0] == "first"
    # The batch of the thread is older than what was dropped, and is written first.
    assert kept.index(reports[0]) <= BATCH_ENTRIES
    numbers = [int(message) for message in kept[1:] if message not in reports]
    assert numbers == sorted(numbers)
    assert len(numbers) + sum(dropped) == count
    assert numbers[-BUFFER_ENTRIES:] == list(range(count - BUFFER_ENTRIES, count))


def test_few_large_lines_are_bounded_too(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    with logging_to(redis.url, buffer_bytes=1_000_000) as (logger, handler):
        redis.server.kill()
        for number in range(100):
            logger.info("%d %s", number, "x" * 50_000)
        redis.server.start()
        while not messages(redis) or not messages(redis)[-1].startswith("99 "):
            handler.flush()
        kept = [message.split()[0] for message in messages(redis)]
        redis.client.delete("jobws:logs")
        for number in range(30):  # twice the limit, but never much together
            logger.info("%d %s", number, "x" * 50_000)
            handler.flush()
        assert [message.split()[0] for message in messages(redis)] == [str(number) for number in range(30)]
    assert 10 < len(kept) < 60
    assert kept[-15:] == [str(number) for number in range(85, 100)]


async def test_a_stalled_redis_stalls_no_event_loop(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    with logging_to(redis.url) as (logger, handler):
        logger.info("before")
        handler.flush()
        os.kill(redis.server.pid, signal.SIGSTOP)
        try:
            slowest = 0.0
            for number in range(100):
                began = anyio.current_time()
                logger.info("%d", number)
                await anyio.lowlevel.checkpoint()
                slowest = max(slowest, anyio.current_time() - began)
        finally:
            os.kill(redis.server.pid, signal.SIGCONT)
        assert slowest < UNNOTICED_SECONDS
        await eventually(lambda: messages(redis)[-1] == "99")
        assert messages(redis) == ["before", *map(str, range(100))]


def test_a_redis_that_refuses_is_reported_once_and_tried_again(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    redis.client.set("jobws:logs", "no stream")
    with logging_to(redis.url) as (logger, handler):
        logger.info("1")
        handler.flush()
        logger.info("2")
        handler.flush()
        redis.client.delete("jobws:logs")
        logger.info("3")
        handler.flush()
        assert messages(redis) == ["1", "2", "3"]
        redis.client.set("jobws:logs", "no stream")
        logger.info("4")
        handler.flush()  # the refusal came on a connection that had worked before
        handler.flush()
    assert [record.getMessage() for record in caplog.records if record.name == "jobws.logs"] == [
        f"Redis at {redis.url.replace(redis.url[8:].partition('@')[0] + '@', '')} refuses: WRONGTYPE Operation against "
        "a key holding the wrong kind of value; log lines wait for it, the newest 10,000 at most"
    ] * 2


def test_a_connection_that_was_closed_for_being_idle_is_no_news(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    with logging_to(redis.url) as (logger, handler):
        logger.info("1")
        handler.flush()
        redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
        logger.info("2")
        while messages(redis) != ["1", "2"]:
            handler.flush()
    assert caplog.records == []


def test_sentinels_that_do_not_answer_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    with logging_to("redis+sentinel://127.0.0.1:1/jobs") as (logger, handler):
        logger.info("1")
        handler.flush()
    (told,) = (record.getMessage() for record in caplog.records if record.name == "jobws.logs")
    assert told.startswith("no Sentinel tells the master: the Sentinel at 127.0.0.1:1 does not answer: ")
    assert told.endswith("; log lines wait for it, the newest 10,000 at most")


def test_it_can_be_set_up_by_a_configuration(redis: Redis) -> None:
    handler = {"class": "jobws.logs.LogsHandler", "redis": redis.url, "source": "api", "level": "WARNING"}
    loggers = {"configured": {"handlers": ["shared"], "propagate": False}}
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "handlers": {"shared": handler}, "loggers": loggers}
    )
    logger = logging.getLogger("configured")
    logger.warning("1")
    (made,) = logger.handlers
    made.close()
    logger.removeHandler(made)
    assert messages(redis) == ["1"]


def test_a_wrong_password_is_reported(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    with logging_to(redis.url.replace("redis://:", "redis://:wrong")) as (logger, handler):
        logger.info("1")
        handler.flush()
    (told,) = (record.getMessage() for record in caplog.records if record.name == "jobws.logs")
    assert "refuses the login: " in told
    assert "wrong" not in told


def test_what_the_writing_itself_logs_is_not_written(redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    """With the handler on the root logger, the warning would be written, fail, and cause another one.

    Other handlers get it once.
    """
    redis.client.set("jobws:logs", "no stream")
    handler = LogsHandler(redis.url, source="root")
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        root.warning("1")
        handler.flush()
        redis.client.delete("jobws:logs")
        handler.flush()
        assert [(entry["message"], "fields" in entry) for entry in entries(redis)] == [("1", False)]
        assert capsys.readouterr().err == ""
    finally:
        root.removeHandler(handler)
        handler.close()


def test_after_close_nothing_is_written_and_nothing_raised(redis: Redis) -> None:
    with logging_to(redis.url) as (logger, handler):
        logger.info("1")
        handler.close()
        began = time.monotonic()
        logger.info("late")
        handler.flush()  # as the end of the program does
        handler.close()
        assert time.monotonic() - began < UNNOTICED_SECONDS
    assert messages(redis) == ["1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"redis": "http://x"}, "cannot read the Redis URL (Redis URL must specify one of the following schemes"),
        ({"limit_entries": 0}, "a log that keeps 0 lines keeps nothing; limit_entries is at least 1"),
    ],
)
def test_a_setting_that_cannot_work_is_reported_at_once(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LogsHandler(**arguments)
    assert str(caught.value).startswith(sentence)


def test_the_environment_says_where_redis_is(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("JOBWS_REDIS", redis.url)
    handler = LogsHandler()
    handler.handle(logging.makeLogRecord({"msg": "found", "levelno": 20}))
    handler.close()
    assert messages(redis) == ["found"]


async def test_the_master_that_sentinels_name_gets_the_lines() -> None:
    with SentinelSet() as nodes:
        await nodes.complete()
        with logging_to(nodes.url(nodes.sentinel())) as (logger, handler):
            logger.info("1")
            handler.flush()
            assert messages(nodes.master) == ["1"]


def test_a_signal_handler_that_logs_while_the_thread_begins_starts_no_second_one(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads would take each other's lines."""
    begun: list[threading.Thread] = []

    class Interrupted(threading.Thread):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            begun.append(self)
            if len(begun) == 1:
                signal.raise_signal(signal.SIGUSR1)

    with logging_to(redis.url) as (logger, handler):
        before = signal.signal(signal.SIGUSR1, lambda *_: logger.info("in the signal handler"))
        monkeypatch.setattr(threading, "Thread", Interrupted)
        try:
            logger.info("interrupted")
        finally:
            signal.signal(signal.SIGUSR1, before)
        handler.flush()
    assert len(begun) == 1
    assert sorted(messages(redis)) == ["in the signal handler", "interrupted"]
