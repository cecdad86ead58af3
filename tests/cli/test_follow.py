"""`jobws logs` as users see it: lines, colours, filters and exit codes."""

from __future__ import annotations

import io
import json
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
from rich.console import Console

from jobws.cli.follow import shown
from jobws.client import LogLine
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.command import Command

if TYPE_CHECKING:
    from tests.support.redis import Redis

TIME = 1795435729358  # 2026-11-23 12:08:49.358 in UTC

Logs = partial(Command, "logs")


async def lines_of(*arguments: str) -> list[str]:
    code, out, err = await Logs(*arguments).end()
    assert (code, err) == (0, "")
    return out.splitlines()


def add(redis: Redis, message: str, **fields: Any) -> None:
    redis.add_log(message, **{"source": "worker", "time": TIME, **fields})


async def test_the_last_lines_are_printed(redis: Redis) -> None:
    for number in range(60):
        add(redis, f"n {number}")
    add(redis, "no such page", level="error", queue="http", jobId="7", fields='{"attempt":3,"url":"a b","logger":"l"}')
    add(redis, "it failed\nbadly", fields='{"traceback":"Traceback:\\n  File x\\nKeyError\\n"}')
    async with live_bridge(redis.url) as live:
        lines = await lines_of("--url", live.url)
        assert len(lines) == 50 + 4
        assert lines[0] == "2026-11-23 12:08:49.358 INFO     worker n 12"
        assert lines[-6:] == [
            "2026-11-23 12:08:49.358 ERROR    worker http/7 no such page attempt=3 url=a b",
            "2026-11-23 12:08:49.358 INFO     worker it failed",
            *("    badly", "    Traceback:", "      File x", "    KeyError"),
        ]
        assert await lines_of("--url", live.url, "-n", "0") == []
        (line,) = await lines_of("--url", live.url, "--json", "--job", "7")
        assert line.startswith(
            f'{{"time":{TIME},"level":"error","source":"worker","message":"no such page","queue":"http"'
        )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--level", "warn"), "bce"),
        (("--source", "api"), "b"),
        (("--source", "api", "--source", "worker", "--tail", "2"), "de"),
        (("--queue", "http"), "cd"),
        (("--queue", "http", "--job", "2"), "d"),
        (("--job", "2"), "de"),
        (("--text", "LOUD"), "c"),
        (("--level", "error", "--queue", "nope"), ""),
    ],
)
async def test_filters(redis: Redis, arguments: tuple[str, ...], expected: str) -> None:
    add(redis, "a", level="debug")
    add(redis, "b", level="warning", source="api")
    add(redis, "c loud", level="error", queue="http", jobId="1")
    add(redis, "d", queue="http", jobId="2")
    add(redis, "e", level="critical", queue="sparql", jobId="2")
    redis.add_log("f", source="other")
    async with live_bridge(redis.url) as live:
        lines = await lines_of("--url", live.url, *arguments)
        messages = [line.split("worker ")[-1].split("api ")[-1].removesuffix(" loud")[-1] for line in lines]
        assert "".join(messages) == expected


async def test_it_follows_and_comes_back_with_nothing_twice_and_nothing_missed(redis: Redis) -> None:
    add(redis, "before")
    with BridgeProcess("--port", "0", "--redis", redis.url, "--no-own-log") as first:
        url = await anyio.to_thread.run_sync(first.started)
        logs = Logs("-f", "--source", "worker", "--url", url)
        assert (await logs.line()).endswith("worker before")
        add(redis, "live")
        assert (await logs.line()).endswith("worker live")
        await anyio.to_thread.run_sync(first.terminate)
    add(redis, "between")
    with BridgeProcess("--port", url.rpartition(":")[2], "--redis", redis.url) as second:
        await anyio.to_thread.run_sync(second.started)
        assert (await logs.line()).endswith("worker between")
        add(redis, "after")
        assert (await logs.line()).endswith("worker after")
        logs.process.send_signal(signal.SIGINT)
        assert await logs.end() == (130, "", "")


async def test_errors_are_one_line_with_its_exit_code(redis: Redis) -> None:
    code, _, err = await Logs("--url", "http://127.0.0.1:1").end()
    assert code == 3
    assert err == "jobws: no bridge at ws://127.0.0.1:1/logs: all attempts to connect to 127.0.0.1:1 failed\n"
    async with live_bridge(redis.url) as live:
        run = partial(Logs, "--url", live.url)
        sentence = "jobws: `level` must be one of debug, info, warning, error, critical\n"
        assert await run("--level", "loud").end() == (2, "", sentence)
        assert await run("--text", "\udcff").end() == (2, "", "jobws: text is no UTF-8 text\n")
        assert await run("--job", "1", "--job", "\udcff").end() == (2, "", "jobws: job 2 is no UTF-8 text\n")
        code, _, err = await run("--tail", "-1").end()
        assert (code, err) == (2, 'jobws: Invalid value "-1" for --tail. Must be >= 0.\n')


async def test_a_reader_that_has_read_enough_gets_no_complaint(redis: Redis) -> None:
    for number in range(3000):
        add(redis, f"n {number}")
    async with live_bridge(redis.url) as live:
        for arguments in ((), ("--json",)):
            logs = Logs("--url", live.url, "-n", "3000", *arguments)
            assert "n 0" in await logs.line()
            assert logs.process.stdout is not None
            logs.process.stdout.close()
            logs.process.stdout = None
            assert (await logs.end())[::2] == (1, "")


async def test_an_output_that_knows_few_characters(redis: Redis) -> None:
    add(redis, "é 💥")
    async with live_bridge(redis.url) as live:
        code, out, err = await Logs("--url", live.url, environment={"PYTHONIOENCODING": "ascii"}).end()
        assert (code, err) == (0, "")
        assert out.endswith("worker \\xe9 \\U0001f4a5\n")
        _, out, _ = await Logs("--url", live.url, "--json", environment={"PYTHONIOENCODING": "ascii"}).end()
        assert json.loads(out)["message"] == "é 💥"


async def test_without_redis_it_ends_and_does_not_wait_for_ever(redis: Redis) -> None:
    redis.client.set("jobws:logs", "no stream")
    async with live_bridge(redis.url, join_seconds=0.3) as live:
        expected = (3, "", "jobws: Redis does not answer; subscribe again later\n")
        assert await Logs("--url", live.url).end() == expected


def printed(line: LogLine, *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, color_system="standard" if terminal else None)
    console.print(shown(line), soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_colours_are_for_terminals() -> None:
    line = LogLine(TIME, "error", "worker", "no [bold]markup[/bold] http://x 12")
    assert "\x1b[31m" in printed(line, terminal=True)
    assert printed(line, terminal=False).endswith(" ERROR    worker no [bold]markup[/bold] http://x 12\n")


def test_what_a_line_holds_steers_no_terminal() -> None:
    evil = "\x1b]0;x\x07\r\u202e"
    line = LogLine(2**60, "info", evil, f"a{evil}\n{evil}b", evil, evil, {evil: evil, "traceback": evil, "n": [evil]})
    for terminal in (True, False):
        text = printed(line, terminal=terminal)
        assert "\x1b]" not in text
        assert not {"\x07", "\r", "\u202e"} & set(text)
        assert str(2**60) in text


def test_what_is_missing_stands_out() -> None:
    line = LogLine(TIME, "warning", "jobws", "1,200 lines are missing here", dropped=1200)
    assert "\x1b[33m 1,200 lines are missing here\x1b[0m" in printed(line, terminal=True)
